"""Whose logs are meant. Pure."""

from __future__ import annotations

from bascule_api.conditions import StepState
from bascule_api.runs import RunStatus, StepStatus


def chosen(status: RunStatus, step: str | None) -> list[StepStatus]:
    """The steps whose logs are asked for; unnamed: those that run, else those that failed, else all that ran."""
    if step is not None:
        return [found for found in status.steps if found.name == step]
    for states in ((StepState.RUNNING,), (StepState.FAILED,)):
        found = [item for item in status.steps if item.state in states]
        if found:
            return found
    return [item for item in status.steps if item.log or item.message]
