"""What a canary concludes from its tries: a lag is no verdict, a lost packet no proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bascule_workers.in_step import canary
from bascule_workers.in_step.gate import Clock


@dataclass
class Tries:
    """Tries at a clock of their own: each takes no time, each pause takes its time."""

    through: Callable[[float], bool]
    """Whether a try at that second gets through."""
    at: float = 0.0
    all: list[bool] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.at += seconds

    def __call__(self) -> str:
        self.all.append(self.through(self.at))
        return "" if self.all[-1] else "timed out"


@pytest.mark.parametrize(
    ("through", "reached", "words"),
    [
        pytest.param(lambda at: False, "false", "5 tries in a row failed", id="it never gets through"),
        pytest.param(lambda at: True, "true", "got through 20 s after its start", id="it always gets through"),
        pytest.param(lambda at: at < 9, "false", "after 18 that got through at its start", id="isolation lags behind"),
        pytest.param(lambda at: at > 1, "true", "got through", id="the pod's network is late, and then open"),
        pytest.param(lambda at: at > 3.5, "true", "at try 4 of the last", id="it opens again"),
        pytest.param(lambda at: at < 25, "true", "of the last", id="isolation comes too late to count"),
    ],
)
def test_who_must_not_get_out(through: Callable[[float], bool], reached: str, words: str) -> None:
    tries = Tries(through)
    report = canary.kept_in(tries, tries.clock)
    assert report.results == {"reached": reached}
    assert words in report.message
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("through", "reached", "words"),
    [
        pytest.param(lambda at: True, "true", "got through", id="at once"),
        pytest.param(lambda at: at > 30, "true", "got through", id="late"),
        pytest.param(lambda at: False, "false", "did not get through in 60 s: timed out", id="never"),
    ],
)
def test_who_may_get_out(through: Callable[[float], bool], reached: str, words: str) -> None:
    tries = Tries(through)
    report = canary.let_out(tries, tries.clock)
    assert report.results == {"reached": reached}
    assert words in report.message


def test_the_last_tries_are_enough_of_them() -> None:
    tries = Tries(lambda at: False)
    canary.kept_in(tries, tries.clock)
    assert tries.all[-canary.LAST_TRIES :] == [False] * canary.LAST_TRIES
    assert len(tries.all) > canary.LAST_TRIES


def test_a_port_that_nobody_listens_at_says_why() -> None:
    assert "refused" in canary.connected("127.0.0.1", 1)
