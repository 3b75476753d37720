"""How times, spans and steps are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bascule_api.conditions import StepState
from bascule_api.progress import StepProgress
from bascule_api.runs import StepStatus


def at(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def stamp(when: datetime | None) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else ""


def length(span: timedelta) -> str:
    """A time span as people write it: `2m13s`."""
    seconds = max(0, round(span.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def step_words(step: str) -> str:
    """`test-smoke` as people say it: test smoke."""
    return f"test {step.removeprefix('test-')}" if step.startswith("test-") else f"step {step}"


def in_short(completed: int, total: int, steps: Sequence[StepStatus | StepProgress]) -> str:
    """How far a run is, for a column of a table: `2/6 build`."""
    live = [step.name for step in steps if step.state in (StepState.RUNNING, StepState.FAILED)]
    more = f" +{len(live) - 1}" if len(live) > 1 else ""
    return f"{completed}/{total}{' ' + live[0][:40] if live else ''}{more}" if total else ""
