"""What can go wrong in a step. Every error knows its type and whether trying again can help.

Translation to Temporal's errors happens in `interceptors` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bascule_api.failures import FailureType


class WorkerError(Exception):
    """A step could not be carried out. The message is for people: it names what is wrong and the remedy."""

    type = FailureType.INTERNAL
    retryable = False
    new_job = False
    """Whether trying again needs a new Job, since the last one is over."""
    log = ""
    """Digest of the step's whole log, where it is kept."""
    log_end: str = ""
    """The end of the step's log, where whole ones are not kept."""
    results: Mapping[str, str] = MappingProxyType({})
    """What the step's container reported although it failed."""
    abrupt: bool = False
    """Whether the step's container did not end by itself."""


class SourceNotFoundError(WorkerError):
    """The repository, commit, folder or ConfigMap does not exist."""

    type = FailureType.SOURCE_NOT_FOUND


class SourceUnreachableError(WorkerError):
    """The git server does not answer."""

    type = FailureType.SOURCE_UNREACHABLE
    retryable = True


class SourceRefusedError(WorkerError):
    """The git server answers, and refuses."""

    type = FailureType.SOURCE_REFUSED


class SecretMissingError(WorkerError):
    """A Secret that the spec names does not exist."""

    type = FailureType.SECRET_MISSING


class SecretNotUsableError(WorkerError):
    """A Secret is not meant for this use, or lacks a key."""

    type = FailureType.SECRET_NOT_USABLE


class PlanRefusedError(WorkerError):
    """A campaign's plan cannot be carried out."""

    type = FailureType.PLAN_REFUSED


class StepFailedError(WorkerError):
    """The container of a step ended with an error, or could not be run."""

    type = FailureType.STEP_FAILED

    def __init__(self, message: str, kind: FailureType | None = None, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.type = kind or type(self).type
        self.retryable = self.new_job = retryable


class StepTimedOutError(WorkerError):
    """A step took longer than it may."""

    type = FailureType.STEP_TIMED_OUT


class JobLostError(WorkerError):
    """The platform took the Job's pod away: an eviction, a drained or lost node, a deletion."""

    type = FailureType.STEP_FAILED
    retryable = True
    new_job = True
    abrupt = True


class RegistryRefusedError(WorkerError):
    """The registry answers, and refuses."""

    type = FailureType.REGISTRY_REFUSED


class RegistryUnavailableError(WorkerError):
    """The registry does not answer, or is in trouble itself."""

    type = FailureType.REGISTRY_UNAVAILABLE
    retryable = True


class SbomFailedError(WorkerError):
    """The bill of materials could not be made."""

    type = FailureType.SBOM_FAILED

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class SigningFailedError(WorkerError):
    """The key cannot sign."""

    type = FailureType.SIGNING_FAILED


class VerificationFailedError(WorkerError):
    """What the run claims is not so."""

    type = FailureType.VERIFICATION_FAILED


class PolicyDeniedError(WorkerError):
    """The policy decision point refused the step, or did not answer."""

    type = FailureType.POLICY_DENIED


class ApiUnavailableError(WorkerError):
    """The Kubernetes API server does not answer, or refuses for now."""

    retryable = True

    def __init__(self, message: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """Of the answer; 0: there was none."""


class TargetRefusedError(WorkerError):
    """A node is not one that the tenant may patch (any more), or belongs to the control plane."""

    type = FailureType.TARGET_REFUSED


class TargetGoneError(WorkerError):
    """A node is no longer there, or another one has its name by now."""

    type = FailureType.TARGET_GONE


class TargetTakenError(WorkerError):
    """Another run works on the target."""

    retryable = True

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} works on it")
        self.holder = holder


class DrainBlockedError(WorkerError):
    """Pods may not be evicted from a node, or did not leave it in time."""

    type = FailureType.DRAIN_BLOCKED


class TemporalUnavailableError(WorkerError):
    """Temporal does not answer."""

    retryable = True


class LeaseTakenError(WorkerError):
    """Another holds the lease."""

    retryable = True

    def __init__(self, holder: str) -> None:
        super().__init__(f"the lease is held by {holder}")
        self.holder = holder


class LeaseLostError(WorkerError):
    """The lease could not be renewed in time; what it guards must stop."""

    retryable = True


class ManifestsRefusedError(WorkerError):
    """A drill's manifests are malformed, or reach out of its namespace."""

    type = FailureType.MANIFESTS_REFUSED


class DrillNamespaceTakenError(WorkerError):
    """The namespace that a drill would use is somebody else's."""

    type = FailureType.DRILL_NAMESPACE_TAKEN


class EnvironmentFailedError(WorkerError):
    """What a drill applied was refused, or did not become ready in time."""

    type = FailureType.ENVIRONMENT_FAILED
