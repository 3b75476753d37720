"""When the records that undoing works from change: of what an intent, an end and an undo leave in the status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bascule_api.base import ApiModel
from bascule_api.conditions import CompensationState
from bascule_api.runs import RunSpec, RunStatus

Effects = TypeVar("Effects", bound=ApiModel)
Spec = TypeVar("Spec", bound=RunSpec)


def is_over(status: RunStatus) -> bool:
    return status.run is not None and status.run.outcome is not None


def is_another(old: RunStatus, new: RunStatus) -> bool:
    """Whether the new status speaks of another run."""
    return old.run is not None and new.run is not None and old.run.number != new.run.number


def in_history(status: RunStatus, number: int) -> bool:
    return any(past.number == number for past in status.history)


def is_new_intent(old: RunStatus, new: RunStatus) -> bool:
    """Whether this write is the intent of a run."""
    if new.run is None or new.run.outcome is not None or new.run.run_id:
        return False
    return old.run is None or (old.run.number, old.run.revision) != (new.run.number, new.run.revision)


def is_undone(old: RunStatus, new: RunStatus) -> bool:
    """Whether this write tells that an undo workflow is done."""
    undo = old.compensation
    return (
        undo is not None
        and undo.state is CompensationState.RUNNING
        and new.compensation is not None
        and new.compensation.workflow_id == undo.workflow_id != ""
    )


def on_record(recorded: Effects | None, spec: Any, kind: type[Spec], intended: Callable[[Spec], Effects]) -> Effects:
    """What undoing works from: the record, or what the spec intends where there is none yet.

    Raises TypeError without either: the intent of an undo would not have come to its start.
    """
    if recorded is not None:
        return recorded
    if not isinstance(spec, kind):
        raise TypeError("an undo is started with a record only")
    return intended(spec)
