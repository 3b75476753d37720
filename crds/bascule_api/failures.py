"""Why a run failed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from bascule_api.base import (
    ApiModel,
    LongText,
    ShortText,
)


class FailureType(StrEnum):
    """What kind of failure ended a run."""

    SOURCE_NOT_FOUND = "SourceNotFound"
    """The commit, branch, folder or ConfigMap does not exist."""
    SOURCE_UNREACHABLE = "SourceUnreachable"
    """The git server did not answer."""
    SOURCE_REFUSED = "SourceRefused"
    """The git server refused us; or the source is too large, or has links that point outside or submodules that the
    Procedure does not allow."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a failure's name, no secret
    """A Secret that the spec names does not exist."""
    SECRET_NOT_USABLE = "SecretNotUsable"  # noqa: S105 - a failure's name, no secret
    """A Secret lacks the label `bascule.dev/use`, the annotation `bascule.dev/host`, or a key."""
    PLAN_REFUSED = "PlanRefused"
    """A campaign's plan cannot be carried out: no targets, too many, waves that do not rise or leave a rest, hosts that
    are listed twice or malformed. Or a condition of a drill's probe cannot be evaluated."""
    TOO_MANY_FAILURES = "TooManyFailures"
    """More targets failed than `failurePolicy.maxFailures` allows."""
    GATE_FAILED = "GateFailed"
    """A gate did not pass."""
    GATE_INCONCLUSIVE = "GateInconclusive"
    """It could not be told whether a gate passes."""
    TARGET_REFUSED = "TargetRefused"
    """A node is not one that the tenant may patch (any more), or belongs to the control plane."""
    DRAIN_BLOCKED = "DrainBlocked"
    """Pods did not leave a node in time, or may not be evicted."""
    REBOOT_TIMED_OUT = "RebootTimedOut"
    """A node did not come back with a new boot id in time."""
    TARGET_NOT_READY = "TargetNotReady"
    """A target was not Ready, or did not pass `verify`, in time after its patch."""
    TARGET_GONE = "TargetGone"
    """A node is no longer there."""
    BUILD_FAILED = "BuildFailed"
    """The Containerfile, or a command in it, failed."""
    TEST_FAILED = "TestFailed"
    """A test did not pass."""
    STEP_FAILED = "StepFailed"
    """A step's container failed."""
    STEP_TIMED_OUT = "StepTimedOut"
    """A step took longer than its timeout."""
    REGISTRY_REFUSED = "RegistryRefused"
    """A registry refused us."""
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    """A registry did not answer."""
    SBOM_FAILED = "SbomFailed"
    """The bill of materials could not be made."""
    SIGNING_FAILED = "SigningFailed"
    """The image could not be signed, or what is attested of it."""
    VERIFICATION_FAILED = "VerificationFailed"
    """Signature, bill of materials or provenance, fetched anew, did not verify."""
    MANIFESTS_REFUSED = "ManifestsRefused"
    """A manifest of a drill's environment is malformed, of a kind that is not allowed, or reaches out of the drill's
    namespace; the message names the document and the field."""
    DRILL_NAMESPACE_TAKEN = "DrillNamespaceTaken"
    """The namespace that the drill would use is somebody else's."""
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    """What a drill applied was refused, or did not become ready in time."""
    BACKUP_NOT_FOUND = "BackupNotFound"
    """There is no such backup, or none that is complete; or it is empty, or not one that this restore understands."""
    BACKUP_UNREACHABLE = "BackupUnreachable"
    """The place where the backup is did not answer."""
    BACKUP_FORBIDDEN = "BackupForbidden"
    """The backup holds more than the tenant's namespaces."""
    RESTORE_FAILED = "RestoreFailed"
    """The restore failed."""
    POLICY_DENIED = "PolicyDenied"
    """The policy decision point refused the step."""
    RUN_TIMED_OUT = "RunTimedOut"
    """The run took longer than `spec.timeout`."""
    APPROVAL_REJECTED = "ApprovalRejected"
    """A person rejected it."""
    APPROVAL_TIMED_OUT = "ApprovalTimedOut"
    """Nobody decided in time."""
    RUN_LOST = "RunLost"
    """Temporal ended the run, or does not know it any more: it could not compensate by itself."""
    INTERNAL = "Internal"
    """A fault of Bascule's own."""


LOG_CUT = "[what came before was not kept: the Tenant has no spec.artifacts]\n"
"""Begins the end of a log of which there was more."""


class Failure(ApiModel):
    """Why the run failed."""

    step: ShortText = ""
    """Name of the step that failed."""
    type: FailureType
    """What kind of failure it is."""
    message: LongText
    """What happened, for people, with the remedy."""
    retryable: bool = False
    """Whether a new request without a change may succeed."""
    log: Annotated[str, StringConstraints(max_length=16_384)] = ""
    """The end of the failed step's log, where its Tenant has no place for whole ones; says so if there was more."""
