"""A run that waits for a person longer than any worker lives."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from temporalio.worker import Worker

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_codec import Keyring, data_converter
from bascule_workers import supervisor
from tests.support.fake_world import World
from tests.support.runs import REPOSITORY, approval_of, image_build
from tests.support.temporal import skipping_time, worker_of

EVENTS = 1000
"""What a history may hold at most, far below Temporal's own limit of 51,200."""


async def test_a_run_waits_400_days_at_its_gate_across_workers_and_suspension(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Unlike the real one, the test server never takes back what waits in the queue of a worker that is gone.
    monkeypatch.setattr(supervisor, "Worker", partial(Worker, max_cached_workflows=0))
    publish = {"repository": REPOSITORY, "tags": ["v1"], "approval": {"required": True, "timeout": "450d"}}
    build = image_build(publish=publish)
    async with skipping_time(data_converter(Keyring.generate(), "default")) as runs:
        async with worker_of(runs, world):
            handle = await runs.start(build)
            told = await runs.until(handle, Phase.WAITING)
            await runs.env.sleep(timedelta(days=100))
            await runs.desire(handle, 1, suspended=True)
            await runs.until(handle, Phase.SUSPENDED)
            await runs.env.sleep(timedelta(days=100))
        # Nobody serves: what comes meanwhile is waiting for the next worker.
        await runs.env.sleep(timedelta(days=100))
        await runs.desire(handle, 2, suspended=False)
        async with worker_of(runs, world):
            await runs.until(handle, Phase.WAITING)
            await runs.env.sleep(timedelta(days=100))
            assert told.waiting is not None
            await handle.execute_update(names.UPDATE_APPROVAL, approval_of(build, told.waiting))
            story = await runs.story(handle)
            history = await handle.fetch_history()

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.waited_seconds >= timedelta(days=400).total_seconds()
    assert len(history.events) < EVENTS
