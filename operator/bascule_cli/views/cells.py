"""How each phase of a target looks: a sign and a colour in terminals, a shape and a class in drawings. Pure.

Signs and shapes differ from each other without any colour.
"""

from __future__ import annotations

from bascule_api.fleets import CELLS, TargetPhase
from bascule_api.patch_campaign_status import WaveState

LETTERS: dict[TargetPhase, str] = {phase: letter for letter, phase in CELLS.items()}
"""The letters of `status.waves[].cells`; what is under way keeps them everywhere."""

_SIGNS = {
    TargetPhase.PENDING: "·",
    TargetPhase.PATCHED: "■",
    TargetPhase.FAILED: "✗",
    TargetPhase.SKIPPED: "○",
    TargetPhase.ROLLED_BACK: "↶",
}
_STYLES = {
    TargetPhase.PENDING: "dim",
    TargetPhase.ROLLING_BACK: "bold yellow",
    TargetPhase.PATCHED: "green",
    TargetPhase.FAILED: "bold red",
    TargetPhase.SKIPPED: "dim",
    TargetPhase.ROLLED_BACK: "yellow",
}
_UNDER_WAY = "bold cyan"
_WORDS = {TargetPhase.ROLLING_BACK: "rolling back", TargetPhase.ROLLED_BACK: "rolled back"}

_WAVES = {
    WaveState.PENDING: ("·", ".", "dim"),
    WaveState.WAITING: ("◔", "?", "magenta"),
    WaveState.RUNNING: ("▸", ">", "cyan"),
    WaveState.SOAKING: ("◔", "?", "cyan"),
    WaveState.CHECKING: ("▸", ">", "cyan"),
    WaveState.SUCCEEDED: ("✓", "+", "green"),
    WaveState.FAILED: ("✗", "x", "red"),
    WaveState.SKIPPED: ("-", "-", "dim"),
    WaveState.ROLLING_BACK: ("↶", "<", "yellow"),
    WaveState.ROLLED_BACK: ("↶", "<", "yellow"),
}
"""Sign, sign in ASCII, and style."""


def sign(phase: TargetPhase, *, ascii_only: bool = False) -> str:
    """One character for a target."""
    return LETTERS[phase] if ascii_only else _SIGNS.get(phase, LETTERS[phase])


def style(phase: TargetPhase) -> str:
    return _STYLES.get(phase, _UNDER_WAY)


def word(phase: TargetPhase) -> str:
    """The phase in a legend: `rolled back`."""
    return _WORDS.get(phase, phase.lower())


def wave_sign(state: WaveState, *, ascii_only: bool = False) -> str:
    return _WAVES[state][1 if ascii_only else 0]


def wave_style(state: WaveState) -> str:
    return _WAVES[state][2]


def wave_word(state: WaveState) -> str:
    return {WaveState.ROLLING_BACK: "Rolling back", WaveState.ROLLED_BACK: "Rolled back"}.get(state, str(state))
