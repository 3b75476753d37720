"""Phases, condition types and reasons: closed lists, each with its meaning.

Ready, Reconciling and Stalled follow kstatus.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import ApiModel, Message


class Phase(StrEnum):
    """Where the resource's current run stands."""

    PENDING = "Pending"
    """Nothing runs yet: waiting for a tenant, a Procedure, Temporal, or an earlier run's compensation."""
    RUNNING = "Running"
    """A step is being carried out."""
    WAITING = "Waiting"
    """The run waits at a gate; `status.waitingFor` says for what."""
    SUSPENDED = "Suspended"
    """Paused at a step boundary by `spec.suspend`."""
    COMPENSATING = "Compensating"
    """What the run did is being taken back."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    """No run could start: the resource or what it refers to is wrong."""

    @property
    def terminal(self) -> bool:
        """Whether a run in this phase never changes phase again."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class StepState(StrEnum):
    """State of one step of a run."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    """Never reached, because the run ended before."""
    CANCELLED = "Cancelled"
    UNDONE = "Undone"
    """Succeeded first, then taken back by its counterweight."""


class CompensationState(StrEnum):
    """How the compensation of a run stands."""

    NOTHING_TO_DO = "NothingToDo"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """The deadline passed; `left` lists what remains."""
    FORCED = "Forced"
    """A person let go by `bascule.dev/force-delete`."""

    @property
    def settled(self) -> bool:
        return self in (CompensationState.NOTHING_TO_DO, CompensationState.SUCCEEDED, CompensationState.FORCED)


class WaitKind(StrEnum):
    """What a run can wait for."""

    APPROVAL = "Approval"
    SOAK = "Soak"
    WINDOW = "Window"
    CHECK = "Check"
    POLICY = "Policy"
    CAPACITY = "Capacity"
    LEASE = "Lease"
    DISRUPTION = "Disruption"
    AUDIT = "Audit"


class ConditionType(StrEnum):
    """Types of conditions. Absent means: not known yet, or does not apply."""

    READY = "Ready"
    """True only when the run of the current revision succeeded. Positive polarity."""
    RECONCILING = "Reconciling"
    """True while work goes on towards the spec; absent otherwise. Abnormal-true polarity."""
    STALLED = "Stalled"
    """True when nothing more happens without a change or a request; absent otherwise. Abnormal-true polarity."""
    COMPENSATED = "Compensated"
    """Whether what the last run did has been taken back; absent when nothing had to be. Positive polarity."""
    VERIFIED = "Verified"
    """Whether what the run claims was checked independently. Positive polarity."""
    PUBLISHED = "Published"
    """ImageBuild: whether the tags still point at this build; False when a later build took one over."""
    RUN_HEALTHY = "RunHealthy"
    """False when Temporal reports that the run's code fails again and again; absent otherwise."""


class Reason(StrEnum):
    """Reasons of conditions. What ends a wait or a stall is said in the condition's message."""

    # Ready, Reconciling, Stalled
    TENANT_NOT_FOUND = "TenantNotFound"
    """No Tenant claims this namespace."""
    TENANT_AMBIGUOUS = "TenantAmbiguous"
    """Two or more Tenants claim this namespace."""
    TENANT_NOT_READY = "TenantNotReady"
    PROCEDURE_NOT_FOUND = "ProcedureNotFound"
    PROCEDURE_FORBIDDEN = "ProcedureForbidden"
    """The Procedure is not offered to this tenant, or not for this use."""
    PARAMETERS_INVALID = "ParametersInvalid"
    SPEC_INVALID = "SpecInvalid"
    TEMPORAL_UNAVAILABLE = "TemporalUnavailable"
    STARTING = "Starting"
    PROGRESSING = "Progressing"
    WAITING = "Waiting"
    SUSPENDED = "Suspended"
    COMPENSATING = "Compensating"
    SUPERSEDED = "Superseded"
    """The spec changed; the run of the earlier revision is being cancelled."""
    RERUN_THROTTLED = "RerunThrottled"
    SCHEDULED = "Scheduled"
    SUCCEEDED = "Succeeded"
    STEP_FAILED = "StepFailed"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    RUN_LOST = "RunLost"
    """Temporal no longer knows the run, or ended it without compensation."""
    COMPENSATION_FAILED = "CompensationFailed"
    DELETING = "Deleting"
    # Compensated
    NOTHING_TO_DO = "NothingToDo"
    FORCED = "Forced"
    # Verified
    SIGNATURE_VERIFIED = "SignatureVerified"
    VERIFICATION_FAILED = "VerificationFailed"
    # Published
    TAGS_CURRENT = "TagsCurrent"
    TAG_MOVED = "TagMoved"
    # RunHealthy
    WORKFLOW_TASK_FAILING = "WorkflowTaskFailing"
    # Tenant
    NAMESPACE_REGISTERED = "NamespaceRegistered"
    TEMPORAL_NAMESPACE_TAKEN = "TemporalNamespaceTaken"
    """An older Tenant has the same Temporal namespace."""
    STEPS_NAMESPACE_MISSING = "StepsNamespaceMissing"


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    status: ConditionStatus
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    message: Message = ""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    last_transition_time: datetime
