"""What a failed activity means for its step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from bascule_api.base import ApiModel
    from bascule_api.failures import Failure, FailureType
    from bascule_workers.plans.progress import failure_type


class Ended(Exception):  # noqa: N818 - not an error of the workflow's code: how a run's story ends
    """The run fails."""

    def __init__(self, failure: Failure, results: Mapping[str, str] | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.results = results or {}
        """What the step that failed reported nevertheless."""


class Continued(Exception):  # noqa: N818 - not an error: the story goes on in another execution
    """The run's story has come to a point from which another execution goes on with this state."""

    def __init__(self, state: ApiModel) -> None:
        super().__init__("the run continues as new")
        self.state = state


class BugError(Exception):
    """The workflow's code let something escape that Temporal would take for the run's own end.

    With this the workflow task fails instead: nothing ends, nothing is left behind, and mended code goes on.
    """


@contextmanager
def bugs_end_nothing() -> Iterator[None]:
    """Failures and timeouts that escape the code are bugs like all others."""
    try:
        yield
    except (FailureError, TimeoutError) as error:
        raise BugError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Trouble:
    """Why an activity failed, and whether trying again can help."""

    type: FailureType
    message: str
    retryable: bool
    new_job: bool = False
    log: str = ""
    log_end: str = ""
    results: Mapping[str, str] = field(default_factory=dict)

    def next_attempt(self, job_attempt: int) -> dict[str, Any]:
        """What changes in the request for another attempt."""
        return {"note": "", "job_attempt": job_attempt + 1 if self.new_job else job_attempt}


def trouble_of(error: ActivityError) -> Trouble:
    """The trouble in an activity's error. A worker that died or shut down is the platform's trouble."""
    cause = error.cause
    match cause:
        case ApplicationError():
            details = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
            return Trouble(
                type=failure_type(cause.type or ""),
                message=cause.message,
                retryable=not cause.non_retryable,
                new_job=bool(details.get("new_job") or details.get("newJob")),
                log=str(details.get("log") or ""),
                log_end=str(details.get("log_end") or details.get("logEnd") or ""),
                results=details.get("results") or {},
            )
        case exceptions.TimeoutError():
            return Trouble(FailureType.STEP_FAILED, "its worker went away or took too long", retryable=True)
        case exceptions.CancelledError():
            return Trouble(FailureType.STEP_FAILED, "its worker shut down", retryable=True)
    return Trouble(FailureType.INTERNAL, str(cause or error), retryable=True)
