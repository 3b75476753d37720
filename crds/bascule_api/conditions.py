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
    """Nothing runs yet: waiting for a tenant, a Procedure, Temporal, an earlier run's compensation, or its schedule."""
    RUNNING = "Running"
    """A step is being carried out."""
    WAITING = "Waiting"
    """The run waits at a gate; `status.waitingFor` says for what."""
    SUSPENDED = "Suspended"
    """Paused at a step boundary by `spec.suspend`."""
    COMPENSATING = "Compensating"
    """What the run did is being taken back."""
    SUCCEEDED = "Succeeded"
    """The run did all it should."""
    FAILED = "Failed"
    """A step failed for good; `status.failure` says which and why."""
    CANCELLED = "Cancelled"
    """The run was cancelled: by annotation, by deletion, or since the spec changed."""
    REJECTED = "Rejected"
    """No run could start: the resource or what it refers to is wrong."""

    @property
    def terminal(self) -> bool:
        """Whether a run in this phase never changes phase again."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class StepState(StrEnum):
    """State of one step of a run."""

    PENDING = "Pending"
    """Not begun."""
    RUNNING = "Running"
    """Being carried out."""
    SUCCEEDED = "Succeeded"
    """Done."""
    FAILED = "Failed"
    """Failed for good."""
    SKIPPED = "Skipped"
    """Never reached, because the run ended before; or not needed, and its message says why."""
    CANCELLED = "Cancelled"
    """Stopped, because the run was cancelled."""
    UNDONE = "Undone"
    """Succeeded first, then taken back by its counterweight."""


class CompensationState(StrEnum):
    """How the compensation of a run stands."""

    NOTHING_TO_DO = "NothingToDo"
    """The run had no effect that had to be taken back."""
    RUNNING = "Running"
    """Effects are being taken back."""
    SUCCEEDED = "Succeeded"
    """All effects are taken back."""
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
    """A person's decision."""
    SOAK = "Soak"
    """Time to pass."""
    WINDOW = "Window"
    """A maintenance window to open."""
    CHECK = "Check"
    """A health check to pass."""
    POLICY = "Policy"
    """The policy decision point, which gives no answer."""
    CAPACITY = "Capacity"
    """Room among the tenant's concurrent runs or in its quota."""
    LEASE = "Lease"
    """Another run that publishes to the same repository, or patches the same target."""
    DISRUPTION = "Disruption"
    """A disruption budget that lets no pod be evicted."""
    AUDIT = "Audit"
    """The audit sink, which takes no record."""


class ConditionType(StrEnum):
    """Types of conditions. Absent means: not known yet, or does not apply."""

    READY = "Ready"
    """True only when the run of the current revision succeeded. Absent while that run waits for its schedule: for
    kstatus the resource is current then, and `kubectl wait --for=condition=Ready` still waits for the run. Positive
    polarity."""
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
    OBJECTIVES_MET = "ObjectivesMet"
    """DRDrill: whether the last drill met its objectives; Unknown when it was inconclusive. Positive polarity."""
    SCHEDULED = "Scheduled"
    """With `spec.schedule`: whether runs will start when due; False while `spec.suspend` is set, or something is known
    to be in the way. `status.schedule.next` says when. Positive polarity."""
    RUN_HEALTHY = "RunHealthy"
    """False when the run's code fails again and again, or somebody paused it in Temporal; absent otherwise."""


class Reason(StrEnum):
    """Reasons of conditions. What ends a wait or a stall is said in the condition's message."""

    # Ready, Reconciling, Stalled
    TENANT_NOT_FOUND = "TenantNotFound"
    """No Tenant claims this namespace."""
    TENANT_AMBIGUOUS = "TenantAmbiguous"
    """Two or more Tenants claim this namespace."""
    TENANT_NOT_READY = "TenantNotReady"
    """The Tenant is not Ready; its own condition says why."""
    PROCEDURE_NOT_FOUND = "ProcedureNotFound"
    """There is no Procedure of that name."""
    PROCEDURE_FORBIDDEN = "ProcedureForbidden"
    """The Procedure is not offered to this tenant, or not for this use."""
    TARGETS_FORBIDDEN = "TargetsForbidden"
    """A campaign asks for nodes that its tenant may not patch: the Tenant has no `spec.nodeSelector`, the selector
    contradicts it, or it asks for the control plane."""
    DRILLS_FORBIDDEN = "DrillsForbidden"
    """The tenant may not rehearse: `spec.drills.enabled` of the Tenant is not set; or a drill asks for the backup of a
    namespace that is not the tenant's."""
    PARAMETERS_INVALID = "ParametersInvalid"
    """A parameter is missing, unknown, or not of the type, enum or pattern that the Procedure asks for."""
    SPEC_INVALID = "SpecInvalid"
    """The spec is not what this version understands; the message names the field."""
    TEMPORAL_UNAVAILABLE = "TemporalUnavailable"
    """Temporal does not answer. It is tried again; nothing is lost."""
    STARTING = "Starting"
    """A run is decided upon and its workflow is being started."""
    PROGRESSING = "Progressing"
    """The run goes on."""
    WAITING = "Waiting"
    """The run waits; `status.waitingFor` says for what."""
    SUSPENDED = "Suspended"
    """`spec.suspend` is set."""
    COMPENSATING = "Compensating"
    """What the run did is being taken back."""
    SUPERSEDED = "Superseded"
    """The spec changed; the run of the earlier revision is being cancelled."""
    RERUN_THROTTLED = "RerunThrottled"
    """Runs were requested too often; the message says when the next may start."""
    SCHEDULED = "Scheduled"
    """Runs start when the schedule is due; `status.schedule.next` says when that is."""
    SUCCEEDED = "Succeeded"
    """The run did all it should."""
    STEP_FAILED = "StepFailed"
    """A step failed for good; `status.failure` says which and why."""
    TIMED_OUT = "TimedOut"
    """The run took longer than `spec.timeout`."""
    APPROVAL_REJECTED = "ApprovalRejected"
    """A person rejected what the run asked approval for."""
    APPROVAL_TIMED_OUT = "ApprovalTimedOut"
    """Nobody approved in time."""
    CANCELLED = "Cancelled"
    """The run was cancelled."""
    RUN_LOST = "RunLost"
    """Temporal no longer knows the run, or ended it without compensation."""
    COMPENSATION_FAILED = "CompensationFailed"
    """Not everything could be taken back in time; `status.compensation.left` lists what remains. A new
    `bascule.dev/requested-at` tries again."""
    DELETING = "Deleting"
    """The resource is being deleted, and what it did is being taken back."""
    # Compensated
    NOTHING_TO_DO = "NothingToDo"
    """There was nothing to take back."""
    FORCED = "Forced"
    """A person let go of what was left by `bascule.dev/force-delete`."""
    # Verified
    SIGNATURE_VERIFIED = "SignatureVerified"
    """The signature, and what the platform attested, were verified by a step of its own, which holds no private key."""
    TARGETS_VERIFIED = "TargetsVerified"
    """Every target that the campaign patched passed `spec.verify`, and was Ready where it is a node; all gates
    passed."""
    VERIFICATION_FAILED = "VerificationFailed"
    """ImageBuild: what was fetched anew did not verify, and no tag was moved. PatchCampaign: a gate did not pass."""
    # ObjectivesMet
    OBJECTIVES_MET = "ObjectivesMet"
    """All required probes passed, and RTO and RPO are within `spec.objectives`."""
    OBJECTIVES_MISSED = "ObjectivesMissed"
    """The recovery failed, took too long, or brought back data that are too old; `status.drill` has the figures. Ready
    says so as well: the drill is over, and only a change or another drill mends it."""
    INCONCLUSIVE = "Inconclusive"
    """Whether the objectives are met could not be told; `status.drill` says why. Ready says so as well."""
    # Published
    TAGS_CURRENT = "TagsCurrent"
    """The tags point at this build's image."""
    TAG_MOVED = "TagMoved"
    """A later build moved a tag; `status.published.tags` says which."""
    # RunHealthy
    WORKFLOW_TASK_FAILING = "WorkflowTaskFailing"
    """Temporal reports that the run's code fails again and again; a fixed worker lets it go on."""
    PAUSED_IN_TEMPORAL = "PausedInTemporal"
    """Somebody paused the workflow in Temporal, past `spec.suspend`; nothing goes on until it is taken back there."""
    # Tenant
    NAMESPACE_REGISTERED = "NamespaceRegistered"
    """The tenant's Temporal namespace is there, with its retention and search attributes."""
    TEMPORAL_NAMESPACE_TAKEN = "TemporalNamespaceTaken"
    """An older Tenant has the same Temporal namespace."""
    NODE_SELECTOR_OVERLAPS = "NodeSelectorOverlaps"
    """An older Tenant may patch some of the same nodes: no label tells the two `spec.nodeSelector` apart."""
    STEPS_NAMESPACE_MISSING = "StepsNamespaceMissing"
    """The steps namespace is not there; `bascule tenant manifests` prints it."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    """It holds."""
    FALSE = "False"
    """It does not hold."""
    UNKNOWN = "Unknown"
    """It is not decided yet."""


class Condition(ApiModel):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """Type of the condition."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, in one word from a closed list."""
    message: Message = ""
    """Why, for people, with the remedy."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Generation of the resource that the condition speaks of."""
    last_transition_time: datetime
    """When the status last changed."""
