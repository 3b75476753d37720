"""PatchCampaign: plan → per wave: approval → window → per target: cordon → drain → patch → reboot → verify → uncordon →
soak → gates."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import Field, StringConstraints

from bascule_api import revisions
from bascule_api.base import (
    ATOMIC,
    ApiModel,
    Column,
    Digest,
    DnsLabel,
    Duration,
    Kind,
    ObjectName,
    Parameters,
    Resource,
    ShortText,
    Timeout,
    rules,
)
from bascule_api.fleets import Inventory, NodeTargets, Share, SizeShare, TargetPhase, Window
from bascule_api.gates import Gate, HttpCheck
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunInput, RunResult, UndoInput
from bascule_api.runs import ApprovalSpec, ConfigMapReference, LabelSelector, RunSpec, RunStatus

MAX_TARGETS = 5_000
"""Targets of one campaign, at most."""
BATCH_LIMIT = 50
"""Targets of one child workflow, at most."""
IN_PROGRESS_LIMIT = 10
FAILURES_LIMIT = 20
NAMES_LIMIT = 10
CELLS_LIMIT = 256
STANDING_LIMIT = 4
"""Finished runs whose patches are remembered; the oldest is forgotten first."""
KEPT_LIMIT = 4 * 1024
"""Bytes of `targets`, `drain` and `rollback` together as JSON, at most: the status keeps them for undoing."""


class Mode(StrEnum):
    """How far a campaign goes."""

    APPLY = "Apply"
    """The plan is carried out."""
    PLAN = "Plan"
    """The plan is made and shown; nothing is touched."""


class Targets(ApiModel):
    """What is patched: nodes of the cluster, or hosts of an inventory."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.nodes) != has(self.inventory)", "set exactly one of targets.nodes and targets.inventory")
        )
    }
    nodes: NodeTargets | None = None
    """Nodes of this cluster, within the Tenant's `spec.nodeSelector`; never those of the control plane."""
    inventory: Inventory | None = None
    """Hosts listed in a ConfigMap, reached over SSH."""


class PatchStep(ApiModel):
    """A Procedure that is carried out once per target."""

    procedure: ObjectName
    """A Procedure with the use `PatchCampaign/patch`, or `PatchCampaign/rollback`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    timeout: Timeout | None = None
    """Limit of one attempt; default: the Procedure's."""
    files: ConfigMapReference | None = None
    """A ConfigMap of the resource's namespace whose keys are files at `/bascule/source`, such as a playbook; pinned at
    the start of a run. Never for a Procedure with the securityProfile `Host`."""


class Verify(ApiModel):
    """What a target has to pass after its patch, besides being Ready."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.procedure) != has(self.http)", "set exactly one of verify.procedure and verify.http"),
        )
    }
    procedure: ObjectName | None = None
    """A Procedure with the use `PatchCampaign/verify`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    http: HttpCheck | None = None
    """A request to the target, asked from the tenant's steps namespace."""
    timeout: Timeout = Timeout("10m")
    """How long a target has to become Ready and to pass."""


class Drain(ApiModel):
    """How pods leave a node before it is patched, as `kubectl drain` does it: through the Eviction API, with
    PodDisruptionBudgets respected. Pods of DaemonSets and mirror pods stay."""

    enabled: bool = True
    """Whether nodes are drained. Hosts of an inventory never are."""
    timeout: Timeout = Timeout("15m")
    """How long a node may take before it counts as failed."""
    grace_period: Duration | None = None
    """How long pods have to end; default: each pod's own."""
    force: bool = False
    """Whether pods that no controller brings back are evicted too; else they fail the target."""
    delete_empty_dir_data: bool = False
    """Whether pods with emptyDir volumes are evicted too; else they fail the target."""
    pod_selector: LabelSelector | None = None
    """Pods to evict; default: all."""


class Wave(ApiModel):
    """A group of targets that are patched before the next group."""

    name: Annotated[DnsLabel, StringConstraints(max_length=40)]
    """Name of the wave, unique in the list; its step is `wave-<name>`, and its gate has the same name."""
    size: SizeShare | None = None
    """How many of all targets are patched once this wave is over: a number, or a percentage, rounded up. Rises from
    wave to wave. Only the last wave may leave it out: it takes the rest."""
    max_parallel: Share = 1
    """How many targets are worked on at a time: a number, or a percentage of the wave, rounded up."""
    soak: Duration = Duration("0s")
    """How long to wait after the wave before its gates are asked."""
    approval: ApprovalSpec = ApprovalSpec()
    """Whether a person has to agree before the wave begins."""


class FailureAction(StrEnum):
    """What happens to patched targets when a campaign fails. Nodes are always released."""

    HALT = "Halt"
    """They stay patched."""
    ROLLBACK_WAVE = "RollbackWave"
    """Those of the wave that failed are rolled back."""
    ROLLBACK_ALL = "RollbackAll"
    """All that this run patched are rolled back, the last first."""


class FailurePolicy(ApiModel):
    """When a campaign stops by itself, and what then happens."""

    max_failures: Share = 0
    """How many targets may fail: a number, or a percentage of all targets, rounded up. One more stops the campaign."""
    action: FailureAction = FailureAction.HALT
    """What happens to patched targets then. A target that failed is always rolled back, if there is a rollback."""


class PatchCampaignSpec(RunSpec):
    """What to patch, how, in which order, and when to stop."""

    model_config = RunSpec.model_config | {
        "json_schema_extra": rules(
            (
                "self.failurePolicy.action == 'Halt' || has(self.rollback)",
                "failurePolicy.action needs a rollback: set spec.rollback, or Halt",
            ),
            (
                "self.waves.all(w, has(w.size) || w == self.waves[size(self.waves) - 1])",
                "only the last wave may leave out its size",
            ),
            (
                "self.waves.map(w, w.name).all(n, self.waves.filter(w, w.name == n).size() == 1)",
                "the names of waves must differ",
            ),
            (
                "!has(self.drain.podSelector) || !has(self.targets.inventory)",
                "hosts of an inventory are not drained: leave out drain.podSelector",
            ),
        )
    }
    mode: Mode = Mode.APPLY
    """`Apply`, or `Plan` to see which target is in which wave before anything is touched."""
    targets: Targets
    """What is patched."""
    patch: PatchStep
    """What is done on each target."""
    rollback: PatchStep | None = None
    """What takes the patch back on a target."""
    verify: Verify | None = None
    """What a target has to pass after its patch. Nodes have to be Ready in any case."""
    drain: Drain = Drain()
    """How pods leave a node before it is patched."""
    waves: Annotated[list[Wave], Field(min_length=1, max_length=16, json_schema_extra=ATOMIC)] = [Wave(name="fleet")]
    """Groups of targets, one after the other."""
    gates: Annotated[
        list[Gate],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """What has to hold after each wave before the next one begins, and after the last before the campaign succeeds."""
    failure_policy: FailurePolicy = FailurePolicy()
    """When the campaign stops by itself, and what then happens."""
    windows: Annotated[list[Window], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """When targets may be begun; what has begun is brought to its end. None: at any time."""


# Status


class TargetInProgress(ApiModel):
    """A target that is being worked on."""

    name: Annotated[str, StringConstraints(max_length=253)]
    """Name of the node or host."""
    phase: TargetPhase
    """What goes on there."""
    since: datetime | None = None
    """Since when."""
    message: ShortText = ""
    """What is waited for, such as the pod that may not be evicted."""


class FailedTarget(ApiModel):
    """A target that could not be patched."""

    name: Annotated[str, StringConstraints(max_length=253)]
    """Name of the node or host."""
    phase: TargetPhase
    """In which phase it failed."""
    message: ShortText = ""
    """Why."""
    rolled_back: bool = False
    """Whether its rollback was carried out."""


class TargetsStatus(ApiModel):
    """How the targets stand. Counts are exact; names are capped."""

    total: Annotated[int, Field(ge=0)] = 0
    """Targets in all."""
    patched: Annotated[int, Field(ge=0)] = 0
    """Targets that this run patched and that stay patched."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Targets that failed."""
    skipped: Annotated[int, Field(ge=0)] = 0
    """Targets that need nothing: patched by the run that this one continues, or gone meanwhile."""
    rolled_back: Annotated[int, Field(ge=0)] = 0
    """Targets whose patch was taken back."""
    summary: Annotated[str, StringConstraints(max_length=64)] = ""
    """In short, for tables: `12/40, 1 failed`."""
    in_progress: Annotated[list[TargetInProgress], Field(max_length=IN_PROGRESS_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first of those that are being worked on."""
    failures: Annotated[list[FailedTarget], Field(max_length=FAILURES_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first of those that failed."""


class WaveState(StrEnum):
    """How a wave stands."""

    PENDING = "Pending"
    """Not begun."""
    WAITING = "Waiting"
    """Waits for an approval or a window."""
    RUNNING = "Running"
    """Its targets are being patched."""
    SOAKING = "Soaking"
    """Its targets are patched; time passes."""
    CHECKING = "Checking"
    """Its gates are being asked."""
    SUCCEEDED = "Succeeded"
    """Done, and all gates passed."""
    FAILED = "Failed"
    """Too many targets failed, or a gate did not pass."""
    SKIPPED = "Skipped"
    """Never begun."""
    ROLLING_BACK = "RollingBack"
    """Its targets are being rolled back."""
    ROLLED_BACK = "RolledBack"
    """Its targets were rolled back."""


class WaveStatus(ApiModel):
    """How a wave stands."""

    name: ShortText
    """Name of the wave."""
    state: WaveState = WaveState.PENDING
    """How it stands."""
    total: Annotated[int, Field(ge=0)] = 0
    """Targets of the wave."""
    patched: Annotated[int, Field(ge=0)] = 0
    """Targets that were patched, or need nothing."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Targets that failed."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    names: Annotated[list[ShortText], Field(max_length=NAMES_LIMIT, json_schema_extra=ATOMIC)] = []
    """The first targets of the wave, in their order."""
    cells: Annotated[str, StringConstraints(max_length=CELLS_LIMIT)] = ""
    """A picture of the wave, one character per target in their order (`CELLS` of bascule_api.fleets); with more than
    256 targets each stands for as many as it takes, and shows the one that matters most."""


class PlanStatus(ApiModel):
    """Which target is patched in which wave, fixed before anything is touched."""

    digest: Digest
    """Of the plan and of the pinned Procedures: what an Approval approves."""
    artifact: Annotated[str, StringConstraints(max_length=400)] = ""
    """`repository@digest` of the whole plan as JSON, where the Tenant has a place for artifacts."""


class Patched(ApiModel):
    """What a finished run patched and what still stands."""

    run: Annotated[int, Field(ge=1)]
    """Number of the run."""
    workflow_id: ShortText
    """Its workflow, whose memo `patched` says which targets they are."""
    run_id: ShortText = ""
    """Temporal's id of its last execution."""
    count: Annotated[int, Field(ge=0)] = 0
    """How many there are."""


class PatchCampaignEffects(ApiModel):
    """The closed record that undoing works from, written by the operator and checked against the nodes."""

    rollback: PatchStep | None = None
    """What takes the patch back on a target."""
    targets: Targets | None = None
    """What was patched, for finding it again."""
    drain: Drain = Drain()
    """How pods leave a node before it is rolled back."""
    node_selector: Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=16)] = {}
    """The Tenant's as the run has it: what is given back is given back wherever the Tenant may patch by now."""
    standing: Annotated[list[Patched], Field(max_length=STANDING_LIMIT, json_schema_extra=ATOMIC)] = []
    """What finished runs patched and what still stands, the latest first."""


_LEANER = ((3, 10, 128, 256), (1, 5, 64, 256), (0, 2, 32, 0))
"""Names of each wave, targets in progress (twice as many that failed), characters of what is said of each, and cells
of a wave's picture."""
T = TypeVar("T", TargetInProgress, FailedTarget)


def _shorter(targets: list[T], most: int, words: int) -> list[T]:
    return [target.model_copy(update={"message": target.message[:words]}) for target in targets[:most]]


class PatchCampaignStatus(RunStatus):
    """How the campaign stands."""

    plan: PlanStatus | None = None
    """Which target is patched in which wave."""
    targets: TargetsStatus | None = None
    """How the targets stand."""
    waves: Annotated[list[WaveStatus], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """How the waves stand."""
    effects: PatchCampaignEffects | None = None
    """What undoing works from; written with the intent of a run."""

    def leaner(self, step: int) -> Self:
        names, targets, words, cells = _LEANER[step - 1]
        told = self.targets
        if told is not None:
            update = {
                "in_progress": _shorter(told.in_progress, targets, words),
                "failures": _shorter(told.failures, 2 * targets, words),
            }
            told = told.model_copy(update=update)
        waves = [
            wave.model_copy(update={"names": wave.names[:names], "cells": wave.cells[:cells]}) for wave in self.waves
        ]
        return self.model_copy(update={"targets": told, "waves": waves})

    @property
    def takes_all_back(self) -> bool:
        # Nodes are released in any case; what becomes of patches, failurePolicy says.
        return False

    @property
    def stands(self) -> bool:
        # Without a rollback there is nothing that could take a patch back.
        return self.effects is not None and self.effects.rollback is not None and bool(self.effects.standing)

    @property
    def may_hold(self) -> bool:
        # Nodes, Leases and copies of keys, whatever may become of the patches.
        return self.effects is not None

    @property
    def recorded(self) -> bool:
        return self.effects is not None


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
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Workflow", ".status.run.url", priority=1),
    ),
)
