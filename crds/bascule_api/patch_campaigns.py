"""PatchCampaign: plan → per wave: approval → window → per target: cordon → drain → patch → reboot → verify → uncordon →
soak → gates."""

from __future__ import annotations

from bascule_api import revisions
from bascule_api.base import (
    ApiModel,
    Column,
    Kind,
    Resource,
)
from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_api.patch_campaign_status import (
    PatchCampaignEffects,
    PatchCampaignStatus,
    PlanStatus,
    TargetsStatus,
    WaveStatus,
)
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunInput, RunResult, UndoInput


class PatchCampaign(Resource):
    """A fleet patched in waves: canary, staged, all. Stops by itself when it should, and leaves no node behind."""

    spec: PatchCampaignSpec
    status: PatchCampaignStatus | None = None

    @property
    def revision(self) -> str:
        return revisions.revision(self.spec, REVISION_FIELDS)


REVISION_FIELDS = (
    "mode",
    "targets",
    "patch",
    "rollback",
    "verify",
    "drain",
    "waves",
    "gates",
    "failure_policy",
    "windows",
)


# Messages


class PreviousRun(ApiModel):
    """A run that this one continues: same revision, it did not succeed, and what it patched stands."""

    number: int
    workflow_id: str
    run_id: str = ""


class PatchCampaignInput(RunInput):
    """Input of the workflow `PatchCampaign`."""

    spec: PatchCampaignSpec
    procedures: dict[str, PinnedProcedure]
    """Pinned Procedures by name, for every step of the run and its counterweights."""
    node_selector: dict[str, str] = {}
    """The Tenant's: every node of the campaign carries these labels, whatever the spec's selector says."""
    continues: list[PreviousRun] = []
    """Runs whose patched targets are skipped, the latest first: the unbroken chain of runs of this revision that did
    not succeed. The memo `patched` of each says which targets it patched by itself, besides those that it skipped."""


class PatchCampaignResult(RunResult):
    """What the workflow `PatchCampaign` did, as far as it came."""

    plan: PlanStatus | None = None
    targets: TargetsStatus | None = None
    waves: list[WaveStatus] = []


class PatchCampaignUndoInput(UndoInput):
    """Input of the workflow `PatchCampaignUndo`.

    Releases: every node and host that the run still holds (by the label `bascule.dev/run`, and by its Leases), its
    Jobs, its copies. Undo: the rollback, on what the run held when it ended, on what it patched (its memo `patched`, if
    Temporal still knows it), and on `effects.standing`.
    """

    effects: PatchCampaignEffects
    """`standing` has only what is to be rolled back too."""
    workflow_id: str = ""
    """Workflow of the run itself."""
    workflow_run_id: str = ""
    node_selector: dict[str, str] = {}
    """The Tenant's as it was when the run began."""
    procedures: dict[str, PinnedProcedure] = {}
    """The rollback's Procedure as it is now; empty where it cannot be used."""
    unpinned: dict[str, str] = {}
    """Those that cannot be used, by name, with the reason: what they would take back is left and told."""


KIND = Kind(
    kind="PatchCampaign",
    plural="patchcampaigns",
    short_names=("pcamp",),
    model=PatchCampaign,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Progress", ".status.progress.summary"),
        Column("Patched", ".status.targets.summary"),
        Column("Waiting-For", ".status.waitingFor.kind"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Run", ".status.run.number", "integer", priority=1),
        Column("Next", ".status.schedule.next", priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Workflow", ".status.run.url", priority=1),
    ),
)
