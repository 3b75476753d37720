"""What can go wrong outside, and whether trying again can help. Translation from the clients' errors happens in
`connections`; nothing above it sees an error of kopf, kubernetes or temporalio.
"""

from __future__ import annotations


class OperatorError(Exception):
    """Something failed. `retryable`: whether the same call may succeed later without a change."""

    retryable = True


class TemporalError(OperatorError):
    """Temporal could not be asked."""

    @property
    def words(self) -> str:
        """What Temporal does instead, for people; the same at every attempt."""
        return "does not answer"


class TemporalUnavailableError(TemporalError):
    """Temporal does not answer, or not for this namespace yet."""


class NotTakenUpError(TemporalUnavailableError):
    """Temporal holds what the run has to answer, and no worker has taken it up yet."""

    @property
    def words(self) -> str:
        return "holds it, but no worker has taken it up"


class TemporalRefusedError(TemporalError):
    """Temporal answered and said no: a bad argument, a missing permission."""

    @property
    def words(self) -> str:
        return f"refuses ({self})"


class TemporalCredentialsError(TemporalError):
    """What Temporal demands of its clients cannot be shown: a Secret is missing, unreadable or contradicts itself."""

    @property
    def words(self) -> str:
        return f"cannot be asked ({self})"


class NamespaceMissingError(OperatorError):
    """Temporal answers, but does not know the namespace."""


class RunMissingError(OperatorError):
    """Temporal knows the namespace, but not the run."""


class UpdateRejectedError(OperatorError):
    """The run looked at an update and would not have it. `type`: of the failure that it gave."""

    retryable = False

    def __init__(self, message: str, type: str) -> None:  # noqa: A002 - Temporal's own name for it
        super().__init__(message)
        self.type = type


class AlreadyStartedError(OperatorError):
    """A run with this id was started before, by us or by somebody else."""


class ApiUnavailableError(OperatorError):
    """The API server does not answer, or asks to be left alone for a while."""


class ApiRefusedError(OperatorError):
    """The API server refused the request: a missing right, a schema, an admission policy."""


class NotLeadingError(OperatorError):
    """This operator did not renew its Lease in time, and another may lead by now: it must not act."""


class LeadershipLostError(OperatorError):
    """Another operator leads."""

    retryable = False


class ConflictError(OperatorError):
    """The object changed since it was observed: look again and decide again."""


class GoneError(OperatorError):
    """The object is not there (any more)."""
