"""Messages between operator and workflows that every kind shares: input, progress, result, desired state."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from bascule_api.approvals import Decision
from bascule_api.base import ApiModel
from bascule_api.conditions import CompensationState, Phase, StepState, WaitKind
from bascule_api.failures import Failure
from bascule_api.runs import CompensationSpec, CompensationStatus, StepStatus

PROGRESS_LIMIT = 8 * 1024
"""Bytes of a progress as JSON, at most."""


class RunIdentity(ApiModel):
    """Which run of which resource: the memo `run` of every workflow.

    "Already started" is success only if it matches.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    number: int
    revision: str
    tenant: str


class TenantFacts(ApiModel):
    """What a run needs to know of its tenant, as it was when the run started."""

    name: str
    steps_namespace: str
    service_account: str


class Desired(ApiModel):
    """Signal `desired`: whether the run should be suspended. The highest sequence wins."""

    sequence: int
    suspended: bool


class HandoverStep(ApiModel):
    """How one step stood when the run continued as new; times are epoch seconds."""

    name: str
    state: StepState = StepState.PENDING
    started: int | None = None
    finished: int | None = None
    attempts: int = 0
    note: str = ""
    message: str = ""
    log: str = ""


class Handover(ApiModel):
    """What a run that continues as new hands on to its next execution: what all kinds need, and the kind's own."""

    progress_number: int
    """Of the last progress told: the next execution's numbers go on from there."""
    started: float
    """Epoch seconds at which the first execution began; `spec.timeout` counts from there."""
    waited_seconds: float = 0
    """Time at gates and suspended in all executions before."""
    desired: Desired
    steps: list[HandoverStep] = []
    facts: dict[str, Any] = {}
    counterweights: list[str] = []
    """Names of what has to be registered again before anything else happens."""
    state: dict[str, Any] = {}


class RunInput(ApiModel):
    """What every workflow's input begins with. No secret value is ever in it."""

    run: RunIdentity
    tenant: TenantFacts
    timeout_seconds: int
    compensation: CompensationSpec = CompensationSpec()
    suspended: bool = False
    """Whether the run starts suspended."""
    handover: Handover | None = None
    """What an earlier execution of the run handed on; absent in the first."""


class ApprovalMessage(ApiModel):
    """Update `approval`, whose id is the Approval's uid: a person's decision on a gate of one run.

    It is rejected with a failure of type `Stale` unless resource, run, gate and subject are what the run waits for.
    """

    uid: str
    """Uid of the resource."""
    run: int
    gate: str
    subject: str
    decision: Decision
    approver: str
    groups: list[str] = []
    reason: str = ""


class StepProgress(ApiModel):
    """One step, short: times are epoch seconds."""

    name: str
    state: StepState = StepState.PENDING
    started: int | None = None
    finished: int | None = None
    attempts: int = 0


class WaitingProgress(ApiModel):
    gate: str
    kind: WaitKind
    subject: str = ""
    detail: str = ""
    since: int | None = None
    until: int | None = None


class CompensationProgress(ApiModel):
    state: CompensationState
    completed: int = 0
    total: int = 0
    last_error: str = ""
    deadline: int | None = None
    left: list[str] = []


class Progress(ApiModel):
    """The memo `progress`: one small value, upserted once per activation when it really changed."""

    number: Annotated[int, Field(ge=1)]
    """Rises by one with each change, never decreases within a run."""
    phase: Phase
    steps: list[StepProgress] = []
    completed: int = 0
    total: int = 0
    message: str = ""
    """At most 256 characters: what goes on, for people."""
    waiting: WaitingProgress | None = None
    compensation: CompensationProgress | None = None
    version: str = ""
    """Semver and build id of the worker that runs it."""
    facts: dict[str, Any] = {}
    """What is already known of the result, by the names of the result's fields (bounded)."""


class RunResult(ApiModel):
    """The memo `result`, upserted as the run closes, whatever its outcome; a completed workflow returns it as well."""

    phase: Phase
    """Succeeded, Failed or Cancelled."""
    progress_number: int
    steps: list[StepStatus] = []
    failure: Failure | None = None
    compensation: CompensationStatus
    waited_seconds: int = 0
    version: str = ""

    @property
    def words(self) -> str:
        """What came of a run that did not fail, in one line."""
        return str(self.phase).lower()


class UndoInput(ApiModel):
    """What the input of every undo workflow begins with: a run is over, and what it left is to be taken back.

    Its memo `run` is the run's; it tells its progress as a run does, in phase Compensating.
    """

    run: RunIdentity
    tenant: TenantFacts
    """As it is now: only the name and the Temporal namespace are those of the run's start."""
    attempt: Annotated[int, Field(ge=1)]
    """Counts the undo workflows of one run."""
    timeout_seconds: int
    undo: bool = True
    """Whether effects are taken back as well; else releases only."""
    abandoned: bool = True
    """Whether the run was ended by others (terminated, reset, timed out, lost), so that an activity of it may still be
    at work: then the undo waits a moment before it looks at what there is."""
    final: bool = False
    """Whether the resource goes, forced or not: then copies of logins that its runs kept for undoing go as well."""


class UndoResult(ApiModel):
    """The memo `result` of an undo workflow, which completes whatever came of it; also what it returns."""

    progress_number: int
    compensation: CompensationStatus
    """Succeeded, NothingToDo, or Failed with what is left."""
    version: str = ""
