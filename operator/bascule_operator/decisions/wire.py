"""The status as it is written: bounded, and without what is empty."""

from __future__ import annotations

from typing import Any

from bascule_api.runs import LOG_CUT, RunStatus

STATUS_LIMIT = 32 * 1024
_LIMITS = ((16_384, 4096), (16_384, 1024), (8192, 1024), (4096, 1024), (2048, 256), (1024, 64), (0, 0))
"""Characters of the failed step's log and of a step's message, one after the other until it fits."""
_REQUIRED = frozenset({"message", "tenant", "revision"})
"""Fields that the schema of some object demands, however empty."""


def fit(status: RunStatus) -> RunStatus:
    """The status within its limit: a log's beginning gives way, then long messages of steps."""
    for log, message in _LIMITS:
        shortened = _shortened(_with_log(status, log), message)
        if len(shortened.model_dump_json(by_alias=True, exclude_none=True).encode()) <= STATUS_LIMIT:
            return shortened
    return _with_log(status, 0).model_copy(update={"steps": [], "history": []})


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
        # Empty objects stay: `handled: {}` says that nothing was asked for, its absence that it was lost.
        return {name: _dense(item) for name, item in value.items() if name in _REQUIRED or item not in ("", [])}
    if isinstance(value, list):
        return [_dense(item) for item in value]
    return value
