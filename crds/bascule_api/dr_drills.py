"""DRDrill: plan → approval → provision → isolate → restore → probes → teardown (always) → report."""

from __future__ import annotations

from bascule_api import revisions
from bascule_api.base import Column, Kind, Resource
from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drill_status import DRDrillStatus, DrillStatus, PastDrill
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunInput, RunResult, UndoInput


class DRDrill(Resource):
    """A disaster recovery plan that is rehearsed: restored into a namespace of its own, probed, measured, and torn
    down."""

    spec: DRDrillSpec
    status: DRDrillStatus | None = None

    @property
    def revision(self) -> str:
        return revisions.revision(self.spec, REVISION_FIELDS)


REVISION_FIELDS = (
    "environment",
    "restore",
    "disaster",
    "approval",
    "probes",
    "objectives",
)


# Messages


class DRDrillInput(RunInput):
    """Input of the workflow `DRDrill`."""

    spec: DRDrillSpec
    procedures: dict[str, PinnedProcedure]
    """Pinned Procedures by name."""
    tenant_namespaces: list[str] = []
    """The Tenant's: whose backups it may restore."""
    quota: dict[str, str] = {}
    """`hard` of the ResourceQuota of the drill's namespace."""
    history: list[PastDrill] = []
    """Earlier drills, newest first: the report shows their trend."""


class DRDrillResult(RunResult):
    """What the workflow `DRDrill` found, as far as it came."""

    drill: DrillStatus | None = None

    @property
    def words(self) -> str:
        return self.drill.words if self.drill else super().words


class DRDrillUndoInput(UndoInput):
    """Input of the workflow `DRDrillUndo`: the drill's namespace (by the label `bascule.dev/run`), Velero's Restores of
    the run, its Jobs and its copies. There is nothing but releases."""


KIND = Kind(
    kind="DRDrill",
    plural="drdrills",
    short_names=("drd",),
    model=DRDrill,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Progress", ".status.progress.summary"),
        Column("Verdict", ".status.drill.verdict"),
        Column("RTO", ".status.drill.rto"),
        Column("RPO", ".status.drill.rpo"),
        Column("Waiting-For", ".status.waitingFor.kind"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Next", ".status.schedule.next", priority=1),
        Column("Run", ".status.run.number", "integer", priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Workflow", ".status.run.url", priority=1),
    ),
)
