"""What a run tells of itself: progress within its bound, messages, results of steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bascule_api.conditions import StepState
from bascule_api.failures import FailureType
from bascule_api.progress import PROGRESS_LIMIT, Progress, StepProgress
from bascule_api.runs import StepStatus

_OVER = (StepState.SUCCEEDED, StepState.UNDONE)
MESSAGE_LIMIT = 1024


@dataclass
class StepRecord:
    """How one step stands; times are epoch seconds."""

    name: str
    state: StepState = StepState.PENDING
    started: int | None = None
    finished: int | None = None
    attempts: int = 0
    note: str = ""
    """What goes on, or the last error that is being waited out."""
    message: str = ""
    """What matters of the failure that ended it."""
    log: str = ""
    """Digest of its whole log."""

    def brief(self) -> StepProgress:
        return StepProgress(
            name=self.name, state=self.state, started=self.started, finished=self.finished, attempts=self.attempts
        )

    def full(self) -> StepStatus:
        return StepStatus(
            name=self.name,
            state=self.state,
            started_at=_time(self.started),
            finished_at=_time(self.finished),
            attempts=self.attempts,
            message=self.message[:MESSAGE_LIMIT],
            log=self.log or None,
        )


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def completed(steps: Sequence[StepRecord]) -> int:
    # A step that was looked at and is not needed is done; one that was never reached is not.
    skipped = (step.state == StepState.SKIPPED and step.finished is not None for step in steps)
    return sum(step.state in _OVER for step in steps) + sum(skipped)


def message_of(steps: Sequence[StepRecord]) -> str:
    """What goes on, for people: the steps that run, each with its trouble."""
    running = [step for step in steps if step.state == StepState.RUNNING]
    return "; ".join(f"{step.name}: {step.note}" if step.note else step.name for step in running)


def bounded(progress: Progress) -> Progress:
    """The progress within PROGRESS_LIMIT: facts go first, since the result tells them too, then lists."""
    if size(progress) <= PROGRESS_LIMIT:
        return progress
    slim = progress.model_copy(update={"facts": {}})
    if size(slim) <= PROGRESS_LIMIT:
        return slim
    compensation = progress.compensation
    if compensation is not None:
        compensation = compensation.model_copy(
            update={"left": [item[:256] for item in compensation.left[:5]], "last_error": compensation.last_error[:256]}
        )
    return slim.model_copy(update={"compensation": compensation})


def size(progress: Progress) -> int:
    """Bytes of a progress as JSON."""
    return len(json.dumps(progress.to_wire(), ensure_ascii=False).encode())


def failure_type(name: str) -> FailureType:
    """The type of a failure by its name on the wire; what is not in the list is our own trouble."""
    return FailureType(name) if name in set(FailureType) else FailureType.INTERNAL
