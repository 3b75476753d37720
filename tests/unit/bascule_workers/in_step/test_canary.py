"""What a canary concludes from its tries: a lag is no verdict, a lost packet no proof."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from bascule_workers.in_step import canary
from bascule_workers.in_step.clock import Clock


class AtOnce(Executor):
    """Carries out what it is given there and then."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@dataclass
class Tries:
    """Tries at a clock of their own: each takes no time, each pause takes its time."""

    through: Callable[[float], bool]
    """Whether a try at that second gets through."""
    networked: Callable[[float], bool] = lambda at: True
    """Whether the DNS answers at that second."""
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

    def within(self) -> str:
        return "" if self.networked(self.at) else "unreachable"

    def kept_in(self) -> canary.Report:
        return canary.kept_in(self, self.within, self.clock, AtOnce())


@pytest.mark.parametrize(
    ("through", "reached", "words"),
    [
        pytest.param(lambda at: False, "false", "5 tries in a row failed: timed out", id="it never gets through"),
        pytest.param(lambda at: True, "true", "got through 20 s after its start", id="it always gets through"),
        pytest.param(lambda at: at < 9, "false", "after 36 that got through at its start", id="isolation lags behind"),
        pytest.param(lambda at: at > 0.8, "true", "at try 4 of the last", id="it opens again"),
        pytest.param(lambda at: at < 22, "true", "of the last", id="isolation comes too late to count"),
        pytest.param(lambda at: at < 20.6, "true", "at try 1 of the last", id="one of the last is enough"),
    ],
)
def test_who_must_not_get_out(through: Callable[[float], bool], reached: str, words: str) -> None:
    report = Tries(through).kept_in()
    assert report.results == {"reached": reached}
    assert words in report.message
    assert report.exit_code == 0


@pytest.mark.parametrize("opens", [0.5, 3.0, 9.0])
def test_a_network_that_is_late_proves_nothing_before_it_is_there(opens: float) -> None:
    late = Tries(lambda at: at >= opens, lambda at: at >= opens)
    assert late.kept_in().results == {"reached": "true"}


def test_without_a_dns_it_waits_as_long_as_a_network_may_be_late() -> None:
    tries = Tries(lambda at: False, lambda at: False)
    report = tries.kept_in()
    assert report.results == {"reached": "false"}
    assert report.message.endswith("timed out; nor did the DNS answer")
    assert tries.at >= canary.LATE_SECONDS
    assert Tries(lambda at: at >= 9, lambda at: False).kept_in().results == {"reached": "true"}


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


def test_the_last_tries_are_enough_of_them_and_apart() -> None:
    tries = Tries(lambda at: False)
    tries.kept_in()
    assert tries.all == [False] * (1 + canary.LAST_TRIES)
    assert tries.at == canary.LAST_TRIES * canary.PAUSE_SECONDS


def test_a_port_that_nobody_listens_at_says_why() -> None:
    assert "refused" in canary.connected("127.0.0.1", 1)


def test_the_dns_is_the_first_server_that_is_configured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert canary.dns_reached("search a b\n\nnameserver 127.0.0.1\nnameserver 192.0.2.1\n", port) == ""
    assert "refused" in canary.dns_reached("nameserver 127.0.0.1\n", port)
    assert canary.dns_reached("options ndots:5\nnameserver\n") == "no server is configured"


def test_real_tries_do_not_wait_for_each_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(canary.LAST_TRIES) as pool:
        port = server.getsockname()[1]
        report = canary.kept_in(lambda: canary.connected("127.0.0.1", 1), lambda: "", Clock(), pool)
        through = canary.let_out(lambda: canary.connected("127.0.0.1", port), Clock())
    assert (report.results, through.results) == ({"reached": "false"}, {"reached": "true"})
    assert "refused" in report.message
