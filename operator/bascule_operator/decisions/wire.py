"""The status as it is written: bounded, and without what is empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bascule_api.failures import LOG_CUT
from bascule_api.runs import RunStatus

STATUS_LIMIT = 32 * 1024


@dataclass(frozen=True)
class _Room:
    """What a status may have of what grows."""

    log: int
    """Characters of the failed step's log."""
    words: int
    """Characters of a step's message."""
    step: int = 0
    """How lean the kind's own part is."""
    left: int = 50
    """References to what is left."""


_ROOMS = (
    _Room(16_384, 4096),
    _Room(16_384, 1024),
    _Room(8192, 1024, step=1),
    _Room(4096, 1024, step=1),
    _Room(2048, 256, step=2, left=20),
    _Room(1024, 64, step=2, left=20),
    _Room(0, 0, step=3, left=5),
)
"""One after the other until the status fits."""
_LAST_WORDS = 256
"""Characters of each condition's and failure's message where nothing else helped."""
_REQUIRED = frozenset({"message", "tenant", "revision", "request"})
"""Fields that the schema of some object demands, however empty; and `handled.request`, which says then that nothing was
asked for, while without `handled` that would be lost. No empty object is written: applied over one with fields, the API
server makes null of it, which is none, and refuses the whole status."""


def fit(status: RunStatus) -> RunStatus:
    """The status within its limit: a log's beginning gives way, then what people can do without."""
    for room in _ROOMS:
        told = _within(status, room)
        if _size(told) <= STATUS_LIMIT:
            return told
    told = told.model_copy(update={"steps": [], "history": told.history[:1]})
    return told if _size(told) <= STATUS_LIMIT else _in_few_words(told)


def _size(status: RunStatus) -> int:
    return len(status.model_dump_json(by_alias=True, exclude_none=True).encode())


def _within(status: RunStatus, room: _Room) -> RunStatus:
    told = _shortened(_with_log(status, room.log), room.words)
    undo = told.compensation
    if undo is not None and len(undo.left) > room.left:
        left = [*undo.left[: room.left - 1], f"and {len(undo.left) - room.left + 1} more"]
        told = told.model_copy(update={"compensation": undo.model_copy(update={"left": left})})
    return told.leaner(room.step) if room.step else told


def _in_few_words(status: RunStatus) -> RunStatus:
    update: dict[str, Any] = {
        "conditions": [item.model_copy(update={"message": item.message[:_LAST_WORDS]}) for item in status.conditions]
    }
    if status.failure is not None:
        update["failure"] = status.failure.model_copy(update={"message": status.failure.message[:_LAST_WORDS]})
    if status.compensation is not None:
        error = status.compensation.last_error[:_LAST_WORDS]
        update["compensation"] = status.compensation.model_copy(update={"last_error": error})
    return status.model_copy(update=update)


def _with_log(status: RunStatus, limit: int) -> RunStatus:
    """The status with at most that many characters of the failed step's log: the end, and that there was more."""
    failure = status.failure
    if failure is None or len(failure.log) <= limit:
        return status
    log = LOG_CUT + failure.log[-(limit - len(LOG_CUT)) :] if limit else ""
    return status.model_copy(update={"failure": failure.model_copy(update={"log": log})})


def _shortened(status: RunStatus, limit: int) -> RunStatus:
    if all(len(step.message) <= limit for step in status.steps):
        return status
    steps = [step.model_copy(update={"message": step.message[:limit]}) for step in status.steps]
    return status.model_copy(update={"steps": steps})


def wire(status: RunStatus) -> dict[str, Any]:
    """The status as it is written."""
    return dense(fit(status).to_wire())


def dense(status: dict[str, Any]) -> dict[str, Any]:
    """The status without what is empty."""
    found: dict[str, Any] = _dense(status)
    return found


def _dense(value: Any) -> Any:
    if isinstance(value, dict):
        found = {name: _dense(item) for name, item in value.items()}
        return {name: item for name, item in found.items() if name in _REQUIRED or item not in ("", [], {})}
    if isinstance(value, list):
        return [_dense(item) for item in value]
    return value
