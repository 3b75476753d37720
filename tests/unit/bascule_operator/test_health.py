"""Liveness asks whether work moves, never how much there is; readiness whether both banks answer."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bascule_operator.errors import ApiUnavailableError, TemporalUnavailableError
from bascule_operator.health import Health
from bascule_operator.queue import Queue


class Lab:
    """A queue with one server and its health, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: Queue[int, int] = Queue(1, max, clock=lambda: self.now)
        self.health = Health(self.queue.stuck_for, self.queue.measure, clock=lambda: self.now)
        self.seconds = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.worst = 0.0
        self.left = 5000
        self.done = asyncio.Event()

    async def handle(self, key: int, news: int | None) -> None:
        await self.gate.wait()
        self.now += self.seconds
        self.worst = max(self.worst, self.queue.stuck_for() if self.left % 100 == 0 else 0.0)
        self.left -= 1
        if self.left == 0:
            self.done.set()

    async def status(self, path: str) -> tuple[int, str]:
        async with TestClient(TestServer(self.health.application())) as client, client.get(path) as answer:
            return answer.status, await answer.text()


async def fine() -> None:
    return


async def down() -> None:
    raise TemporalUnavailableError("connection refused")


async def away() -> None:
    raise ApiUnavailableError("connection refused")


async def test_a_backlog_of_5000_that_moves_slowly_is_alive() -> None:
    lab = Lab()
    lab.seconds = 10.0
    serving = asyncio.create_task(lab.queue.run(lab.handle, lambda *_: None))
    for key in range(5000):
        lab.queue.add(key)
    await lab.done.wait()
    assert lab.now >= 49_990
    assert lab.worst <= 10
    assert (await lab.status("/healthz"))[0] == 200
    await lab.queue.close(1)
    await serving


@pytest.mark.parametrize(("seconds", "status"), [(30, 200), (59, 200), (61, 503)])
async def test_work_that_nothing_comes_of_is_given_a_minute(seconds: float, status: int) -> None:
    lab = Lab()
    lab.gate.clear()
    serving = asyncio.create_task(lab.queue.run(lab.handle, lambda *_: None))
    for key in range(5000):
        lab.queue.add(key)
    await asyncio.sleep(0.01)
    # The loop was blocked for so long, or the first key takes so long.
    lab.now += seconds
    found, text = await lab.status("/healthz")
    assert found == status, text
    lab.gate.set()
    await lab.done.wait()
    assert (await lab.status("/healthz"))[0] == 200
    await lab.queue.close(1)
    await serving


async def test_who_has_nothing_to_do_is_alive_however_long() -> None:
    lab = Lab()
    lab.now = 1e6
    assert (await lab.status("/healthz"))[0] == 200


async def test_it_is_ready_while_both_banks_answer_and_says_which_does_not() -> None:
    lab = Lab()
    banks = {"kubernetes": fine, "temporal": fine}
    assert await lab.status("/readyz") == (503, "kubernetes: not asked yet\ntemporal: not asked yet\n")
    await probed(lab, banks)
    assert (await lab.status("/readyz"))[0] == 200
    lab.now += 31
    await probed(lab, banks | {"temporal": down})
    assert await lab.status("/readyz") == (503, "temporal: connection refused\n")
    lab.now += 31
    await probed(lab, {"kubernetes": away, "temporal": fine})
    assert await lab.status("/readyz") == (503, "kubernetes: connection refused\n")


async def probed(lab: Lab, banks: dict[str, object]) -> None:
    """Both asked once."""
    probing = asyncio.create_task(lab.health.probe(banks))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    probing.cancel()
