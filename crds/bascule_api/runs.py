"""What the three kinds have in common: the spec of a run's life and the whole status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from bascule_api.base import (
    ATOMIC,
    BY_TYPE,
    ApiModel,
    Digest,
    LongText,
    ObjectName,
    ShortText,
    Timeout,
)
from bascule_api.conditions import CompensationState, Condition, Phase, StepState, WaitKind
from bascule_api.failures import Failure
from bascule_api.schedules import Schedule, ScheduleStatus


class OnDelete(StrEnum):
    """When deletion undoes effects. Releases always run."""

    WHEN_UNFINISHED = "WhenUnfinished"
    """Undo only what an unfinished run did; a finished one keeps its effects."""
    ALWAYS = "Always"
    """Undo the effects of finished runs as well."""
    NEVER = "Never"
    """Undo nothing."""


class Trigger(StrEnum):
    """Why a run started."""

    REVISION = "Revision"
    """The spec changed in a field that runs depend on."""
    REQUEST = "Request"
    """The annotation `bascule.dev/requested-at` changed."""
    SCHEDULE = "Schedule"
    """The schedule was due."""


class CancelCause(StrEnum):
    """Why the operator cancels a run."""

    SUPERSEDED = "Superseded"
    """The spec changed; the run does not count as handled."""
    RESET = "Reset"
    """Somebody reset the run in Temporal: what goes on there instead of it is stopped."""
    REQUESTED = "Requested"
    """A person set the annotation `bascule.dev/cancel`."""
    DELETED = "Deleted"
    """The resource is being deleted."""
    MISSED = "Missed"
    """Nothing could be started within `spec.schedule.startingDeadline`: the run never began."""


class CompensationSpec(ApiModel):
    """How effects are taken back."""

    on_delete: OnDelete = OnDelete.WHEN_UNFINISHED
    """When deletion undoes effects: `WhenUnfinished`, `Always` or `Never`. Releases always run."""
    timeout: Timeout = Timeout("30m")
    """How long counterweights are retried before the compensation counts as failed."""


class RunSpec(ApiModel):
    """Fields that every kind's spec begins with."""

    suspend: bool = False
    """Pause at the next step boundary."""
    schedule: Schedule | None = None
    """Run when due instead of when applied."""
    timeout: Timeout = Timeout("2h")
    """Limit of a whole run, net of waiting at gates and of suspension."""
    compensation: CompensationSpec = CompensationSpec()
    """How effects are taken back."""


class ApprovalSpec(ApiModel):
    """A gate that a person opens with an Approval."""

    required: bool = False
    """Whether the run waits for an Approval."""
    not_requester: bool = False
    """Reserved: the approver must not be who requested the run."""
    timeout: Timeout = Timeout("24h")
    """How long the run waits before it fails and compensates."""


class ConfigMapReference(ApiModel):
    """A ConfigMap in the resource's own namespace."""

    name: ObjectName
    """Name of the ConfigMap."""


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
    """Temporal namespace of the workflow."""
    workflow_id: ShortText = ""
    """Id of the workflow."""
    run_id: ShortText = ""
    """Temporal's id of the execution; absent until it is known. It moves on when the run continues as new."""
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
    """When the run began."""
    finished_at: datetime | None = None
    """When the run ended, compensation included."""
    duration: ShortText = ""
    """From beginning to end."""
    waited: ShortText = ""
    """Time at gates and suspended, not counted by `spec.timeout`."""


class Handled(ApiModel):
    """Which requests have had their run."""

    request: ShortText = ""
    """Last value of the annotation `bascule.dev/requested-at` that was taken up."""
    cancel: ShortText = ""
    """Value of the annotation `bascule.dev/cancel` that was taken up; empty again once the annotation is removed."""
    scheduled_for: datetime | None = None
    """Last due time that was taken up."""
    reruns: Annotated[list[datetime], Field(max_length=10, json_schema_extra=ATOMIC)] = []
    """When requested re-runs of the last hour were taken up."""


class ProgressStatus(ApiModel):
    """How far the run is."""

    completed: Annotated[int, Field(ge=0)] = 0
    """Steps that are done."""
    total: Annotated[int, Field(ge=0)] = 0
    """Steps in all."""
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of the steps that are done."""
    summary: Annotated[str, StringConstraints(max_length=64)] = ""
    """In short, for tables: `2/6 build`."""
    message: ShortText = ""
    """What goes on, for people."""


class Blocked(ApiModel):
    """What keeps a wanted run from starting."""

    reason: ShortText
    """Reason of the condition Reconciling or Stalled."""
    since: datetime
    """Since when something keeps it from starting; after five minutes the resource counts as rejected."""


class StepStatus(ApiModel):
    """One step of the run."""

    name: ShortText
    """Name of the step."""
    state: StepState = StepState.PENDING
    """How the step stands."""
    started_at: datetime | None = None
    """When its first attempt began."""
    finished_at: datetime | None = None
    """When it ended."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """How often it was tried."""
    message: LongText = ""
    """What matters of a failed step's last lines."""
    log: Digest | None = None
    """Digest of the full log, an OCI artifact."""


class WaitingFor(ApiModel):
    """What the run waits for."""

    gate: ShortText
    """Name of the gate."""
    kind: WaitKind
    """What is waited for."""
    subject: ShortText = ""
    """Digest of what is to be approved."""
    detail: LongText = ""
    """What is waited for, for people."""
    since: datetime | None = None
    """Since when."""
    until: datetime | None = None
    """When waiting ends at the latest."""


class CompensationScope(StrEnum):
    """What an undo workflow takes back. Releases always run."""

    RELEASES = "Releases"
    """Nothing: releases only."""
    RUN = "Run"
    """What the last run did by itself."""
    ALL = "All"
    """What all runs did that still stands."""


class CompensationStatus(ApiModel):
    """How taking back stands."""

    state: CompensationState
    """How taking back stands."""
    scope: CompensationScope | None = None
    """What the undo workflow takes back; absent where the run itself does."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """Which attempt this is."""
    completed: Annotated[int, Field(ge=0)] = 0
    """Counterweights that are done."""
    total: Annotated[int, Field(ge=0)] = 0
    """Counterweights in all."""
    last_error: LongText = ""
    """What the last failing counterweight said."""
    deadline: datetime | None = None
    """Until when it is tried."""
    left: Annotated[list[ShortText], Field(max_length=50, json_schema_extra=ATOMIC)] = []
    """What could not be taken back, each as a reference that a person can look up."""
    workflow_id: ShortText = ""
    """Workflow that takes back what a run left; absent where the run itself does."""
    run_id: ShortText = ""
    """Temporal's id of that workflow's execution; absent until it is known."""


class PastRun(ApiModel):
    """One line of the history."""

    number: int
    """Number of the run."""
    revision: ShortText
    """Revision that it carried out."""
    trigger: Trigger
    """Why it started."""
    phase: Phase
    """How it ended."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    summary: ShortText = ""
    """What came of it, in one line."""


class RunStatus(ApiModel):
    """The status that every kind shares."""

    observed_generation: int = -1
    """Generation that this status speaks of; -1: never seen."""
    phase: Phase | None = None
    """Where the resource's current run stands."""
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=BY_TYPE)] = []
    """What holds of the resource; Ready, Reconciling and Stalled follow kstatus."""
    run: RunRecord | None = None
    """The current or last run."""
    handled: Handled | None = None
    """Which requests have had their run."""
    blocked: Blocked | None = None
    schedule: ScheduleStatus | None = None
    """How the schedule stands."""
    progress: ProgressStatus | None = None
    """How far the run is."""
    steps: Annotated[list[StepStatus], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """The steps of the run, in order."""
    waiting_for: WaitingFor | None = None
    """What the run waits for, while it waits."""
    compensation: CompensationStatus | None = None
    """How taking back stands."""
    failure: Failure | None = None
    """Why the run failed."""
    history: Annotated[list[PastRun], Field(max_length=5, json_schema_extra=ATOMIC)] = []
    """The last five runs, newest first."""

    def leaner(self, step: int) -> Self:
        """The status with less of what people can do without, where it would grow too large: step 1 to 3, the last
        leaving least."""
        return self

    @property
    def takes_all_back(self) -> bool:
        """Whether a run that did not succeed, and settled, took back all that it had made."""
        return True

    @property
    def stands(self) -> bool:
        """Whether something that finished runs made stands, which deletion undoes with `onDelete: Always`."""
        return False

    @property
    def keeps(self) -> bool:
        """Whether runs kept something for undoing, which goes with the resource whatever deletion undoes."""
        return False

    @property
    def may_hold(self) -> bool:
        """Whether a run whose undoing failed may still hold something that is nobody else's to give back, such as a
        copy of a login or a cordoned node."""
        return False

    @property
    def recorded(self) -> bool:
        """Whether the record that undoing works from is there."""
        return True
