"""Heartbeats become rarer the more activities are live, and never so rare that a live one passes for dead."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from bascule_workers.interceptors import Pulse
from bascule_workers.workflows.calling import HEARTBEAT_TIMEOUT


@pytest.mark.parametrize(
    ("live", "seconds"),
    [
        pytest.param(1, 1.0, id="one: every second"),
        pytest.param(50, 1.0, id="fifty: still every second"),
        pytest.param(100, 2.0, id="a hundred: fifty heartbeats a second among them"),
        pytest.param(1000, 5.0, id="a thousand: half of the timeout"),
    ],
)
async def test_a_worker_sends_about_fifty_heartbeats_a_second(live: int, seconds: float) -> None:
    pulse = Pulse()
    async with AsyncExitStack() as stack:
        for _ in range(live):
            await stack.enter_async_context(pulse.heartbeating())
        assert pulse.seconds == seconds
        assert pulse.seconds <= HEARTBEAT_TIMEOUT.total_seconds() / 2
    assert pulse.seconds == 1.0
