"""Messages between the workflows and the activities of a PatchCampaign. No secret value is ever in one."""

from __future__ import annotations

from bascule_api.base import ApiModel
from bascule_api.failures import FailureType
from bascule_api.fleets import Inventory, NodeTargets, Target, TargetPhase, Window
from bascule_api.gates import Gate, HttpCheck, Verdict
from bascule_api.patch_campaign_specs import Drain, Targets, Wave
from bascule_api.patch_campaign_status import Patched
from bascule_api.patch_campaigns import PatchCampaignInput, PreviousRun
from bascule_api.procedures import PinnedProcedure
from bascule_workers.messages import ProcedureRequest, SourcePin, StepRequest

KEEP_SECONDS = 3600
"""How long a finished Job stays if nobody deletes it: for as long as a worker may need to come back and read it."""

# Planning


class PlanRequest(StepRequest):
    """Activity `patch_campaign.plan`: which target is patched in which wave."""

    nodes: NodeTargets | None = None
    inventory: Inventory | None = None
    node_selector: dict[str, str] = {}
    """The Tenant's."""
    order: str
    """What the order of the targets hangs on, besides their names and zones."""
    waves: list[Wave]
    procedures: dict[str, str] = {}
    """Name to hash of the pinned Procedures: part of what the plan's digest covers."""
    continues: list[PreviousRun] = []
    files: dict[str, str] = {}
    """ConfigMaps of the resource's namespace to copy, by what they are for: `patch`, `rollback`."""
    gates: list[Gate] = []
    windows: list[Window] = []
    """To be checked before anything is touched, as the gates are."""


class PlannedWave(ApiModel):
    """A wave with its targets, in their order."""

    name: str
    targets: list[Target]


class Plan(ApiModel):
    """Which target is patched in which wave."""

    digest: str
    waves: list[PlannedWave]
    skipped: list[str] = []
    """Names of targets that continued runs patched; they are in no wave."""
    artifact: str = ""
    """`repository@digest` of the whole plan, where it is kept."""
    note: str = ""
    """What people should know, such as that a continued run's record is gone."""
    files: dict[str, SourcePin] = {}
    """What was copied, by what it is for."""

    @property
    def total(self) -> int:
        """All targets, with those that are skipped."""
        return len(self.skipped) + sum(len(wave.targets) for wave in self.waves)


# At a target


class TargetRequest(StepRequest):
    """What every activity at a target begins with. The step is the wave's.

    All of them raise TargetRefusedError for a node that the tenant may not patch, and all but `acquire` and `release`
    TargetGoneError for one that is no longer there, or was made again since `acquire`.
    """

    target: Target
    node: bool = True
    """Whether it is a node of this cluster; else a host of an inventory."""
    node_selector: dict[str, str] = {}
    """The Tenant's, asked again at each activity: a node that does not match is refused (TargetRefused)."""
    since: int = 0
    """When the phase began, in epoch seconds."""


class AcquireRequest(TargetRequest):
    """`patch_target.acquire`: take the target's Lease, then cordon the node. Raises TargetGoneError.

    NotYet(Lease) while another run holds it.
    """


class Acquired(ApiModel):
    boot_id: str = ""
    """Before the patch."""
    cordoned: bool = False
    """Whether this run cordoned it; False: somebody else had, and it stays so."""


class DrainRequest(TargetRequest):
    """`patch_target.drain`: evict the node's pods, until `since` is longer ago than `drain.timeout`.

    NotYet(Disruption) names the pod that stays, and why. Raises DrainBlockedError for pods that may not be evicted
    (bare, emptyDir), as the policy says, and when the time is up.
    """

    drain: Drain


class TargetJobRequest(TargetRequest, ProcedureRequest):
    """`patch_target.run_procedure`: a Procedure's Job at the target, or about it."""

    keep_seconds: int = KEEP_SECONDS
    use: str
    """`patch`, `rollback`, `reboot`, `verify`: which Job of the target this is."""
    boot_id: str = ""
    """Of the node before: so that a Job whose node was rebooted under it is told apart from one that failed."""
    ssh_login: bool = False
    """Whether the run's Secret holds an SSH key for hosts."""


class JobReport(ApiModel):
    """What the Procedure reported."""

    results: dict[str, str] = {}

    @property
    def reboot_required(self) -> bool:
        return self.results.get("rebootRequired", "").lower() == "true"


class BootRequest(TargetRequest):
    """`patch_target.rebooted`: wait for another boot id and Ready. NotYet until then."""

    boot_id: str
    """Before the reboot."""


class ReadyRequest(TargetRequest):
    """`patch_target.ready`: the node is there and Ready. NotYet until then."""


class HttpCheckRequest(TargetRequest):
    """`patch_target.check_http`: a Job of the tenant's asks the target until it passes or time is up."""

    check: HttpCheck
    timeout_seconds: int


class StopTargetRequest(TargetRequest):
    """`patch_target.stop`: stop the target's Jobs that are at work. NotYet while one is still ending."""

    finished_too: bool = False
    """Whether those that are over go as well: then the same can be carried out once more."""


class ReleaseTargetRequest(TargetRequest):
    """`patch_target.release`: stop the target's Jobs, uncordon the node if this run cordoned it, take the marks off,
    give the Lease back. Bears finding nothing, whoever the node belongs to."""

    keep_jobs: bool = False
    """Whether finished Jobs stay for a while, with their logs: those of a target that failed."""


# A batch: the child workflow `PatchBatch`


class TargetReport(ApiModel):
    """How a target stands, short."""

    index: int
    """Within the wave."""
    phase: TargetPhase
    since: int = 0
    message: str = ""
    failed_in: TargetPhase | None = None
    """Set as soon as it has failed, also while it is being taken back."""
    type: FailureType | None = None
    """Of a failure."""
    rolled_back: bool = False
    dirty: bool = False
    """Whether its patch began and may stand, although the target counts as failed."""
    held: bool = False
    """Whether it could not be released."""


class BatchReport(ApiModel):
    """Signal `report` of a child to its parent: the targets that changed since the last one. At once for a failure,
    else at most every 2 s, and seldom enough that the parent's history stays small."""

    wave: str
    batch: int
    number: int
    """Rises with each report of a batch; an older one is ignored."""
    targets: list[TargetReport]


class BatchInput(ApiModel):
    """Input of the child workflow `PatchBatch`."""

    campaign: PatchCampaignInput
    """As far as the batch needs it."""
    wave: str
    batch: int
    indices: list[int]
    """Of the targets, within the wave."""
    targets: list[Target]
    max_parallel: int
    rollback: bool = False
    """Whether the targets are to be rolled back instead of patched."""
    timeout_seconds: int = 0
    """Of a rollback: how long it is tried. Without a rollback in the spec, targets are only released."""
    may_fail: int = 0
    """How many targets may fail. With one more, no other is begun; until then the parent hears of each at once."""
    closes_at: int = 0
    """Epoch seconds from which on no target is begun; 0: never."""
    reports: int = 0
    """About how many reports the batch may make."""
    files: dict[str, SourcePin] = {}


class Halt(ApiModel):
    """Signal `halt` to a batch: bring to its end what has begun, and begin no more. The rest is handed back."""

    releases_only: bool = False
    """Whether a cancellation that follows takes no patch back."""


class BatchResult(ApiModel):
    """How the targets of a batch ended. Those that are Pending were not begun: the parent may hand them out anew."""

    targets: list[TargetReport]


# Gates


class WindowRequest(StepRequest):
    """`patch_campaign.window`: whether a target may be begun now."""

    windows: list[Window]
    now: int
    """Epoch seconds, as the run's own clock has it: it sleeps by that one until a window opens."""


class WindowState(ApiModel):
    open: bool
    changes_at: int
    """Epoch seconds: when it closes, or opens next; 0: never."""
    name: str = ""
    """Which window, for people."""


class GateRequest(StepRequest):
    """`patch_campaign.gate`: a Job of the tenant's asks the gate until it has a verdict. The step is the wave's.

    NotYet(Check) says how it stands: `2 of 3 passed, last 0.004`. Its `cursor` comes back with the next call.
    """

    gate: Gate
    header: str = ""
    """`SecretUse.field` of the Secret whose header is sent; empty: none."""
    procedure: PinnedProcedure | None = None
    timeout_seconds: int
    """Of the Job of an HTTP or Prometheus gate: `measurements.longest`."""


class GateReport(ApiModel):
    verdict: Verdict
    message: str
    """What was measured: `3 of 3 passed, last 0.002`."""


# Taking back after the run's end


class HeldRequest(StepRequest):
    """`patch_campaign.held`: the targets that the run still holds, by label and Leases, and what was patched."""

    targets: Targets | None = None
    """What the campaign was about."""
    node_selector: dict[str, str] = {}
    records: list[Patched] = []
    """Runs whose memo `patched` says what is to be rolled back."""
    files: dict[str, str] = {}
    """As in PlanRequest: for rolling back after the run's end."""


class RollBackRequest(StepRequest):
    """A counterweight that the workflow carries out by itself, in batches: targets of a wave are rolled back."""

    wave: str
    patched: bool = True
    """Whether those go back that were patched; else those only that failed, and could not be rolled back then."""


class ReleaseHeldRequest(StepRequest):
    """A counterweight that the workflow carries out by itself: whatever the run still holds is given back."""


class Held(ApiModel):
    held: list[Target]
    """To roll back (if there is a rollback) and to release."""
    patched: list[Target]
    """What the run, and what `effects.standing` says, patched: to roll back."""
    unknown: list[str] = []
    """What could not be found out, each a line for `left`."""
    files: dict[str, SourcePin] = {}
