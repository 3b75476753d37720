"""The status as it is written: bounded, and without what is empty."""

from __future__ import annotations

from typing import Any

from bascule_api.runs import RunStatus

STATUS_LIMIT = 32 * 1024
_REQUIRED = frozenset({"message", "tenant", "revision"})
"""Fields that the schema of some object demands, however empty."""


def fit(status: RunStatus) -> RunStatus:
    """The status within its limit: long messages of steps are what gives way."""
    for limit in (4096, 1024, 256, 64, 0):
        shortened = _shortened(status, limit)
        if len(shortened.model_dump_json(by_alias=True, exclude_none=True).encode()) <= STATUS_LIMIT:
            return shortened
    return status.model_copy(update={"steps": [], "history": []})


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
