"""A time-skipping Temporal server and a worker with fakes for its ports, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bascule_codec import Keyring, data_converter
from bascule_workers.workflows import undo
from tests.support.drill_runs import Drills
from tests.support.drills import Drilled
from tests.support.fake_world import World
from tests.support.runs import Runs
from tests.support.temporal import serving_runs


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test server does not skip time any more once a run was terminated in an activity."""
    monkeypatch.setattr(undo, "LAST_WORDS", timedelta(seconds=0.1))


@pytest.fixture
def drilled() -> Drilled:
    return Drilled()


@pytest.fixture
async def drills(drilled: Drilled) -> AsyncIterator[Drills]:
    """Starts drills and tells how they went, in a world that plays their activities."""
    async with serving_runs(drilled, data_converter(Keyring.generate(), "default")) as started:
        yield Drills(started)


@pytest.fixture
async def runs(world: World) -> AsyncIterator[Runs]:
    """Starts runs and tells how they went. Payloads are encrypted, as in a cluster."""
    async with serving_runs(world, data_converter(Keyring.generate(), "default")) as started:
        yield started
