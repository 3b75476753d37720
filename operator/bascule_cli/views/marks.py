"""Marks and colours of steps and phases: the same in every view."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from bascule_api.conditions import Phase, StepState


@dataclass(frozen=True)
class Glyphs:
    """The signs that trees are drawn with."""

    branch: str
    last: str
    waits: str
    marks: dict[StepState, str]

    def mark(self, state: StepState) -> str:
        return self.marks[state]


UNICODE = Glyphs(
    branch="├─ ",
    last="└─ ",
    waits="◔",
    marks={
        StepState.PENDING: "·",
        StepState.RUNNING: "▸",
        StepState.SUCCEEDED: "✓",
        StepState.FAILED: "✗",
        StepState.SKIPPED: "-",
        StepState.CANCELLED: "■",
        StepState.UNDONE: "↶",
    },
)
ASCII = Glyphs(
    branch="|- ",
    last="`- ",
    waits="?",
    marks={
        StepState.PENDING: ".",
        StepState.RUNNING: ">",
        StepState.SUCCEEDED: "+",
        StepState.FAILED: "x",
        StepState.SKIPPED: "-",
        StepState.CANCELLED: "#",
        StepState.UNDONE: "<",
    },
)

_STEPS = {
    StepState.PENDING: "dim",
    StepState.RUNNING: "cyan",
    StepState.SUCCEEDED: "green",
    StepState.FAILED: "red",
    StepState.SKIPPED: "dim",
    StepState.CANCELLED: "yellow",
    StepState.UNDONE: "yellow",
}
_PHASES = {
    Phase.PENDING: "dim",
    Phase.RUNNING: "cyan",
    Phase.WAITING: "magenta",
    Phase.SUSPENDED: "magenta",
    Phase.COMPENSATING: "yellow",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.CANCELLED: "yellow",
    Phase.REJECTED: "red",
}


def step_style(state: StepState) -> str:
    return _STEPS[state]


def phase(value: Phase | None) -> Text:
    """The phase in its colour; a resource that nobody has looked at has none."""
    return Text(str(value), _PHASES[value]) if value else Text("-", "dim")
