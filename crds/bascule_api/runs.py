"""What the three kinds have in common: the spec of a run's life and the whole status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import ATOMIC, BY_TYPE, ApiModel, Digest, Duration, LongText, ShortText
from bascule_api.conditions import CompensationState, Condition, Phase, StepState, WaitKind


class OnDelete(StrEnum):
    """When deletion undoes effects. Releases always run."""

    WHEN_UNFINISHED = "WhenUnfinished"
    ALWAYS = "Always"
    NEVER = "Never"


class Trigger(StrEnum):
    """Why a run started."""

    REVISION = "Revision"
    REQUEST = "Request"
    SCHEDULE = "Schedule"


class CancelCause(StrEnum):
    """Why the operator cancels a run."""

    SUPERSEDED = "Superseded"
    """The spec changed; the run does not count as handled."""
    REQUESTED = "Requested"
    """A person set the annotation `bascule.dev/cancel`."""
    DELETED = "Deleted"


class Schedule(ApiModel):
    """With a schedule nothing runs when applied: only when due, or when requested."""

    cron: Annotated[str, StringConstraints(min_length=9, max_length=128)]
    """Five fields, as in crontab(5)."""
    time_zone: Annotated[str, StringConstraints(max_length=64)] = "Etc/UTC"
    """IANA name of the time zone."""
    starting_deadline: Duration = Duration("1h")
    """How late a due run may still start."""


class CompensationSpec(ApiModel):
    """How effects are taken back."""

    on_delete: OnDelete = OnDelete.WHEN_UNFINISHED
    """When deletion undoes effects: `WhenUnfinished`, `Always` or `Never`. Releases always run."""
    timeout: Duration = Duration("30m")
    """How long counterweights are retried before the compensation counts as failed."""


class RunSpec(ApiModel):
    """Fields that every kind's spec begins with."""

    suspend: bool = False
    """Pause at the next step boundary."""
    schedule: Schedule | None = None
    """Run when due instead of when applied."""
    timeout: Duration = Duration("2h")
    """Limit of a whole run, net of waiting at gates and of suspension."""
    compensation: CompensationSpec = CompensationSpec()
    """How effects are taken back."""


class ApprovalSpec(ApiModel):
    """A gate that a person opens with an Approval."""

    required: bool = False
    """Whether the run waits for an Approval."""
    not_requester: bool = False
    """Reserved: the approver must not be who requested the run."""
    timeout: Duration = Duration("24h")
    """How long the run waits before it fails and compensates."""


class RunRecord(ApiModel):
    """The current or last run."""

    number: Annotated[int, Field(ge=0)]
    """Counts this resource's runs from 1."""
    revision: ShortText
    """Revision of the spec that the run carries out."""
    trigger: Trigger
    tenant: ShortText
    """Tenant under which the run was started; its compensation stays there."""
    temporal_namespace: ShortText = ""
    workflow_id: ShortText = ""
    run_id: ShortText = ""
    """Temporal's id of the execution; absent until it is known."""
    version: ShortText = ""
    """Semver and build id of the code that runs it."""
    url: Annotated[str, StringConstraints(max_length=1024)] = ""
    """The run in Temporal's UI."""
    progress_number: Annotated[int, Field(ge=0)] = 0
    """Number of the last progress seen; never decreases within a run."""
    cancel_cause: CancelCause | None = None
    """Why the run is being cancelled; written before the cancellation is sent."""
    cancel_reason: ShortText = ""
    """What the person who cancelled it gave as the reason."""
    suspended: bool = False
    """The state of `spec.suspend` that the run was last told."""
    outcome: Phase | None = None
    """Succeeded, Failed or Cancelled once the run is over; never changes after that."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: ShortText = ""
    waited: ShortText = ""
    """Time at gates and suspended, not counted by `spec.timeout`."""


class Handled(ApiModel):
    """Which requests have had their run."""

    request: ShortText = ""
    """Last value of the annotation `bascule.dev/requested-at` that was taken up."""
    cancel: ShortText = ""
    """Value of the annotation `bascule.dev/cancel` that was taken up; empty again once the annotation is removed."""
    scheduled_for: datetime | None = None
    reruns: Annotated[list[datetime], Field(max_length=10, json_schema_extra=ATOMIC)] = []
    """When requested re-runs of the last hour were taken up."""


class ScheduleStatus(ApiModel):
    """How the schedule stands."""

    next: datetime | None = None
    last: datetime | None = None
    missed: Annotated[int, Field(ge=0)] = 0


class ProgressStatus(ApiModel):
    """How far the run is."""

    completed: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    message: ShortText = ""


class Blocked(ApiModel):
    """What keeps a wanted run from starting."""

    reason: ShortText
    """Reason of the condition Reconciling or Stalled."""
    since: datetime
    """Since when something keeps it from starting; after five minutes the resource counts as rejected."""


class StepStatus(ApiModel):
    """One step of the run."""

    name: ShortText
    state: StepState = StepState.PENDING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: Annotated[int, Field(ge=0)] = 0
    message: LongText = ""
    """What matters of a failed step's last lines."""
    log: Digest | None = None
    """Digest of the full log, an OCI artifact."""


class WaitingFor(ApiModel):
    """What the run waits for."""

    gate: ShortText
    kind: WaitKind
    subject: ShortText = ""
    """Digest of what is to be approved."""
    detail: LongText = ""
    since: datetime | None = None
    until: datetime | None = None


class CompensationStatus(ApiModel):
    """How taking back stands."""

    state: CompensationState
    attempt: Annotated[int, Field(ge=0)] = 0
    completed: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0
    last_error: LongText = ""
    deadline: datetime | None = None
    left: Annotated[list[ShortText], Field(max_length=50, json_schema_extra=ATOMIC)] = []
    """What could not be taken back, each as a reference that a person can look up."""


class FailureType(StrEnum):
    """What kind of failure ended a run."""

    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a failure's name, no secret
    SECRET_NOT_USABLE = "SecretNotUsable"  # noqa: S105 - a failure's name, no secret
    BUILD_FAILED = "BuildFailed"
    TEST_FAILED = "TestFailed"
    STEP_FAILED = "StepFailed"
    STEP_TIMED_OUT = "StepTimedOut"
    REGISTRY_REFUSED = "RegistryRefused"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    SIGNING_FAILED = "SigningFailed"
    VERIFICATION_FAILED = "VerificationFailed"
    POLICY_DENIED = "PolicyDenied"
    RUN_TIMED_OUT = "RunTimedOut"
    APPROVAL_REJECTED = "ApprovalRejected"
    APPROVAL_TIMED_OUT = "ApprovalTimedOut"
    INTERNAL = "Internal"


class Failure(ApiModel):
    """Why the run failed."""

    step: ShortText = ""
    type: FailureType
    message: LongText
    retryable: bool = False
    """Whether a new request without a change may succeed."""


class PastRun(ApiModel):
    """One line of the history."""

    number: int
    revision: ShortText
    trigger: Trigger
    phase: Phase
    started_at: datetime | None = None
    finished_at: datetime | None = None
    summary: ShortText = ""


class RunStatus(ApiModel):
    """The status that every kind shares."""

    observed_generation: int = -1
    """Generation that this status speaks of; -1: never seen."""
    phase: Phase | None = None
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=BY_TYPE)] = []
    run: RunRecord | None = None
    handled: Handled | None = None
    blocked: Blocked | None = None
    schedule: ScheduleStatus | None = None
    progress: ProgressStatus | None = None
    steps: Annotated[list[StepStatus], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    waiting_for: WaitingFor | None = None
    compensation: CompensationStatus | None = None
    failure: Failure | None = None
    history: Annotated[list[PastRun], Field(max_length=5, json_schema_extra=ATOMIC)] = []
    """The last five runs, newest first."""
