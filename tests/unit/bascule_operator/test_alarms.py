"""Alarms ring once, when they are due by the wall's clock, whatever somebody does to that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bascule_operator.alarms import LONGEST_SECONDS, Alarms

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Wall:
    """A clock that a test puts, and what rang."""

    def __init__(self) -> None:
        self.now = START
        self.rung: list[str] = []
        self.alarms: Alarms[str] = Alarms(self.rung.append, lambda: self.now)

    def after(self, seconds: float) -> list[str]:
        """What rings when the clock is put so much further."""
        self.now += timedelta(seconds=seconds)
        self.rung.clear()
        self.alarms.ring_due()
        return list(self.rung)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_each_rings_once_when_it_is_due_the_earliest_first() -> None:
    wall = Wall()
    for key, seconds in (("c", 30), ("a", 10), ("b", 20)):
        wall.alarms.set(key, at(seconds))
    assert wall.after(9.9) == []
    assert wall.after(0.1) == ["a"]
    assert wall.after(20) == ["b", "c"]
    assert wall.after(1000) == []
    assert len(wall.alarms) == 3


def test_set_to_the_same_time_again_it_does_not_ring_again() -> None:
    wall = Wall()
    wall.alarms.set("a", at(10))
    assert wall.after(10) == ["a"]
    wall.alarms.set("a", at(10))
    assert wall.after(1) == []
    wall.alarms.set("a", at(20))
    assert wall.after(10) == ["a"]


def test_the_last_time_that_was_set_counts() -> None:
    wall = Wall()
    wall.alarms.set("a", at(10))
    wall.alarms.set("a", at(30))
    wall.alarms.set("b", at(10))
    wall.alarms.set("b", None)
    assert wall.after(20) == []
    assert wall.after(10) == ["a"]


def test_one_set_into_the_past_rings_at_once() -> None:
    wall = Wall()
    wall.alarms.set("a", at(-1_000_000))
    assert wall.after(0) == ["a"]


def test_a_clock_that_is_put_back_rings_later_and_not_twice() -> None:
    wall = Wall()
    wall.alarms.set("a", at(60))
    wall.alarms.set("b", at(120))
    assert wall.after(60) == ["a"]
    assert wall.after(-3600) == []
    assert wall.after(3660) == ["b"]


def test_a_clock_that_is_put_forward_is_noticed_soon() -> None:
    wall = Wall()
    wall.alarms.set("a", at(86_400))
    assert wall.alarms.ring_due() == LONGEST_SECONDS
    assert wall.after(86_400) == ["a"]
    assert wall.alarms.ring_due() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(1, 50))), max_size=400))
def test_whatever_was_set_each_rings_at_its_last_time_alone(changes: list[tuple[str, int | None]]) -> None:
    wall, last = Wall(), dict[str, int]()
    for key, seconds in changes:
        wall.alarms.set(key, None if seconds is None else at(seconds))
        last = {name: due for name, due in last.items() if name != key} | ({key: seconds} if seconds else {})
    assert len(wall.alarms._heap) <= 2 * len(last) + 65
    for second in range(1, 51):
        assert sorted(set(wall.after(1))) == sorted(key for key, due in last.items() if due == second)


async def test_one_that_is_set_while_all_sleep_is_heard() -> None:
    heard = asyncio.Event()
    alarms: Alarms[str] = Alarms(lambda _: heard.set(), lambda: datetime.now(UTC))
    alarms.set("later", datetime.now(UTC) + timedelta(days=1))
    running = asyncio.create_task(alarms.run())
    await asyncio.sleep(0)
    alarms.set("now", datetime.now(UTC))
    async with asyncio.timeout(20):
        await heard.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
