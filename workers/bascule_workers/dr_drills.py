"""Messages between the workflows and the activities of a DRDrill. No secret value is ever in one.

Times are epoch seconds, as servers recorded them; 0: not yet, or not known.
"""

from __future__ import annotations

from enum import StrEnum

from bascule_api.base import ApiModel
from bascule_api.dr_drill_specs import DRDrillSpec, Isolation, Manifests, Probe, VeleroRestore
from bascule_api.dr_drill_status import DrillStatus, PastDrill, SearchedKind
from bascule_api.procedures import PinnedProcedure
from bascule_workers.messages import Left, ProcedureRequest, StepRequest


class DrillRequest(StepRequest):
    """What every activity of a drill begins with."""

    namespace: str
    """The drill's: `names.drill_namespace`."""


# Planning


class PlanDrillRequest(DrillRequest):
    """`dr_drill.plan`: fetch the manifests, validate them as a whole, and keep them in the run's copy.

    Raises ManifestsRefusedError naming document and field, PlanRefusedError for a condition of a probe that cannot be
    evaluated; Source…Error where they cannot be had.
    """

    manifests: Manifests | None = None
    procedures: dict[str, str] = {}
    """Name to hash of the pinned Procedures: part of what the plan's digest covers."""
    order: str
    """The spec's revision: part of what the plan's digest covers."""
    probes: list[Probe] = []
    """Those of the spec: their conditions are read before anything is made."""


class DrillPlan(ApiModel):
    """What a run is going to do, fixed before anything is made."""

    digest: str
    """`sha256:…` of manifests, Procedures and spec: what an Approval approves."""
    revision: str = ""
    """The commit, or the ConfigMap's digest."""
    before: int = 0
    """Objects to apply before the restore."""
    after: int = 0
    """Objects to apply after it."""
    services: list[str] = []
    """Names of the Services among them."""


# The environment


class ProvisionRequest(DrillRequest):
    """`dr_drill.provision`: the namespace with its labels, the worker's RoleBinding, quota, limits, isolation, CA.

    NotYet while the API server does not let the worker in yet. Raises DrillNamespaceTakenError.
    """

    isolation: Isolation
    namespace_labels: dict[str, str] = {}
    quota: dict[str, str] = {}


class Moment(ApiModel):
    """When something came to its end."""

    at: int


class IsolationRequest(DrillRequest):
    """`dr_drill.isolated`: from two pods of the drill's namespace, the same connection out of it: the one that may must
    get through, the other must not. Made anew at every call that found none running."""


class IsolationReport(ApiModel):
    enforced: bool
    message: str
    at: int


class ApplyStage(StrEnum):
    BEFORE_RESTORE = "BeforeRestore"
    AFTER_RESTORE = "AfterRestore"


class ApplyRequest(DrillRequest):
    """`dr_drill.apply`: server-side apply of the stage's manifests, then wait until all are ready (kstatus).

    NotYet(Check) names what is not ready yet, and why. Raises EnvironmentFailedError when `since` is longer ago than
    the timeout, when an object is refused, or failed for good.
    """

    stage: ApplyStage
    since: int
    timeout_seconds: int


class Applied(ApiModel):
    """All of the stage is ready."""

    objects: int
    at: int
    """When the last of them became ready, by its own conditions."""


# The restore


class RestoreRequest(DrillRequest, ProcedureRequest):
    """`dr_drill.restore`: a Procedure's Job in the drill's namespace, the only pod that may reach out of it.

    Raises StepFailedError of type RestoreFailed, or of the type that the Procedure's result `failure` says
    (`BackupNotFound`).
    """

    secret: bool = False
    """Whether the run's Secret holds keys for the place of the backup: they are copied into a Secret of the drill's
    namespace for as long as the Job needs it."""
    environment_secret: str = ""


class VeleroRequest(DrillRequest):
    """`dr_drill.restore_by_velero`. NotYet(Check) says how far it is. Raises StepFailedError of type RestoreFailed,
    BackupNotFound, BackupForbidden."""

    velero: VeleroRestore
    tenant_namespaces: list[str]
    since: int
    timeout_seconds: int


class Restored(ApiModel):
    recovery_point: int = 0
    """What the restore claims; 0: nothing."""
    started: int = 0
    finished: int = 0
    backup: str = ""
    """What was restored: the Procedure's result `backup`, or the Velero Backup's name."""
    message: str = ""


class RemoveVeleroRequest(DrillRequest):
    """`dr_drill.remove_velero`: delete the run's Restores in Velero's namespace. Bears finding none."""


# Probes


class ProbeRequest(DrillRequest):
    """`dr_drill.probe`: a Job in the drill's namespace asks until the probe passes or its time is up; one by Procedure
    is a Job per attempt. NotYet(Check) says what it saw last; its `cursor` comes back."""

    probe: Probe
    procedure: PinnedProcedure | None = None
    recovery_point: int = 0
    since: int
    """When the probe began: its timeout counts from there."""


class ProbeReport(ApiModel):
    passed: bool
    at: int = 0
    """When it passed (or gave up), by the Job's own record."""
    data_as_of: int = 0
    """What the probe says it saw data up to; 0: it does not say."""
    message: str = ""


# The end


class TeardownRequest(DrillRequest):
    """`dr_drill.teardown`: count, delete the namespace, wait until it is gone, count again.

    Found by name and by the label `bascule.dev/run`; a namespace of that name without the label is not the run's, and
    stays. NotYet names what holds it: the finalizers of its objects, as the namespace's own conditions tell; they are
    never stripped. The counts before come back through `cursor`.
    """


class TornDown(Left):
    """`items`: what is still there."""

    searched: list[SearchedKind] = []
    started: int = 0
    finished: int = 0


class ReportRequest(DrillRequest):
    """`dr_drill.report`: render the drill's report and keep it as an OCI artifact. `digest` is empty where the Tenant
    has no place for artifacts."""

    spec: DRDrillSpec
    drill: DrillStatus
    history: list[PastDrill] = []
    approvals: list[str] = []
    """Who approved what, a line each."""
    procedures: dict[str, str] = {}
    """Name to hash of the pinned Procedures."""
    plan: DrillPlan | None = None
    revision: str = ""
    workflow_id: str = ""
    workflow_run_id: str = ""
    started: int = 0
    finished: int = 0
    failure: str = ""
    """Why the run failed, where it did."""
    version: str = ""
    """Of the worker's code."""


class Reported(ApiModel):
    digest: str = ""
    repository: str = ""
    """Where it is kept."""
    note: str = ""
    """Why there is none."""
