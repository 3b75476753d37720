"""The queue: serial per key, bounded over all, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bascule_operator.queue import Queue


class Lab:
    """A queue whose handler is held until the test lets it go on."""

    def __init__(self, concurrency: int = 2) -> None:
        self.now = 0.0
        self.queue: Queue[str, int] = Queue(concurrency, max, clock=lambda: self.now)
        self.served: list[tuple[str, int | None]] = []
        self.running: set[str] = set()
        self.most = 0
        self.answers: dict[str, list[float | Exception | None]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[tuple[str, int]] = []

    async def handle(self, key: str, news: int | None) -> float | None:
        assert key not in self.running, "a key is served once at a time"
        self.running.add(key)
        self.most = max(self.most, len(self.running))
        self.served.append((key, news))
        try:
            await self.gate.wait()
        finally:
            self.running.discard(key)
        answers = self.answers.get(key)
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def failed(self, key: str, error: BaseException, count: int) -> float | None:
        self.failures.append((key, count))
        return 0.0

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(5000):
            if holds():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"never came: {self.served}")

    async def drain(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)


async def serve(lab: Lab, play: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.create_task(lab.queue.run(lab.handle, lab.failed))
    await play()
    lab.gate.set()
    await lab.queue.close(5)
    await task


async def test_a_key_added_while_it_is_served_is_served_once_more() -> None:
    lab = Lab()

    async def play() -> None:
        lab.gate.clear()
        lab.queue.add("a")
        await lab.drain()
        lab.queue.add("a", 1)
        lab.queue.add("a", 3)
        lab.queue.add("a", 2)
        await lab.drain()
        assert lab.served == [("a", None)]
        lab.gate.set()
        await lab.drain()

    await serve(lab, play)
    assert lab.served == [("a", None), ("a", 3)]


async def test_no_more_keys_than_allowed_are_served_at_once_and_all_are_served() -> None:
    lab = Lab(concurrency=3)

    async def play() -> None:
        lab.gate.clear()
        for number in range(20):
            lab.queue.add(str(number))
        await lab.drain()
        assert lab.queue.depth == 17
        lab.gate.set()
        await lab.until(lambda: len(lab.served) == 20)

    await serve(lab, play)
    assert lab.most == 3
    assert len(lab.served) == 20


async def test_a_key_that_fails_comes_again_with_its_news_and_is_counted() -> None:
    lab = Lab()
    lab.answers["a"] = [ValueError("one"), ValueError("two"), None]

    async def play() -> None:
        lab.queue.add("a", 7)
        await lab.until(lambda: len(lab.served) == 3)

    await serve(lab, play)
    assert lab.served == [("a", 7)] * 3
    assert lab.failures == [("a", 1), ("a", 2)]


async def test_one_key_that_always_fails_does_not_stop_the_others() -> None:
    lab = Lab(concurrency=1)
    lab.answers["bad"] = [ValueError("no")] * 50

    async def play() -> None:
        lab.queue.add("bad")
        for number in range(10):
            lab.queue.add(str(number))
        await lab.until(lambda: len({key for key, _ in lab.served}) == 11)

    await serve(lab, play)
    assert len({key for key, _ in lab.served[:11]}) == 11


async def test_a_delayed_key_waits_and_is_served_earlier_when_asked_earlier() -> None:
    lab = Lab()

    async def play() -> None:
        lab.queue.add("a", delay=60)
        await lab.drain()
        assert lab.served == []
        lab.queue.add("a")
        await lab.until(lambda: bool(lab.served))

    await serve(lab, play)
    assert lab.served == [("a", None)]


async def test_it_is_stuck_only_while_there_is_work_and_nothing_ends() -> None:
    lab = Lab(concurrency=1)

    async def play() -> None:
        lab.now = 500.0
        assert lab.queue.stuck_for() == 0
        lab.gate.clear()
        lab.queue.add("a")
        await lab.drain()
        lab.now = 570.0
        assert lab.queue.stuck_for() == pytest.approx(70)
        lab.gate.set()
        await lab.drain()
        assert lab.queue.stuck_for() == 0

    await serve(lab, play)


async def test_a_backlog_that_moves_is_not_stuck() -> None:
    lab = Lab(concurrency=1)

    async def play() -> None:
        for number in range(3):
            lab.queue.add(str(number))
        lab.gate.clear()
        await lab.drain()
        lab.now = 50.0
        lab.gate.set()
        await asyncio.sleep(0)
        lab.gate.clear()
        await lab.drain()
        lab.now = 100.0
        assert lab.queue.stuck_for() <= 60

    await serve(lab, play)


async def test_a_closed_queue_takes_nothing_and_waits_for_what_is_in_flight() -> None:
    lab = Lab()
    task = asyncio.create_task(lab.queue.run(lab.handle, lab.failed))
    lab.gate.clear()
    lab.queue.add("a")
    await lab.drain()
    closing = asyncio.create_task(lab.queue.close(5))
    await lab.drain()
    lab.queue.add("b")
    assert not closing.done()
    lab.gate.set()
    await closing
    await task
    assert lab.served == [("a", None)]
