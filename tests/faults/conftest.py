"""What the fault tests share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.support.harness.at_once import begun
from tests.support.harness.campaign import Lab, all_quiet
from tests.support.harness.plane import plane
from tests.support.harness.shard import shard

SHARDS = int(os.environ.get("BASCULE_FAULT_SHARDS", "28"))
"""Most of a case is waiting for something that died to be missed: more shards than cores."""


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Shards with an operator and a worker each, behind proxies, on one control plane without nodes."""
    folder = tmp_path_factory.mktemp("faults")
    async with plane(folder) as world, AsyncExitStack() as stack:
        made = [stack.enter_async_context(shard(world, f"s{n}", folder / f"s{n}")) for n in range(SHARDS)]
        shards = await asyncio.gather(*made)
        yield Lab(shards, folder)
        noise = await all_quiet(shards, float(os.environ.get("BASCULE_FAULT_QUIET", "60")))
        assert not noise, f"nothing was to do any more, and yet {noise}"


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def at_once(lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Mapping[str, asyncio.Task[None]]]:
    """The interruptions of this session, under way."""
    async with begun(lab, request.session.items) as tasks:
        yield tasks
