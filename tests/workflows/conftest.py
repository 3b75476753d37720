"""A time-skipping Temporal server and a worker with fakes for its ports, for each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from bascule_api import names
from bascule_codec import Keyring, data_converter
from bascule_workers.supervisor import Equipment, make_worker
from tests.support.fake_world import World
from tests.support.runs import TENANT, Runs

_BINARIES = Path(__file__).resolve().parents[2] / ".venv" / "bin"


def _test_server() -> str:
    found = shutil.which("temporal-test-server") or str(_BINARIES / "temporal-test-server")
    assert Path(found).exists(), "temporal-test-server is not installed: make venv"
    return found


async def add_search_attributes(env: WorkflowEnvironment) -> None:
    keyword, moment = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
    attributes = {
        names.SEARCH_UPDATED_AT: moment,
        names.SEARCH_KIND: keyword,
        names.SEARCH_UID: keyword,
        names.SEARCH_PHASE: keyword,
    }
    await env.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=attributes)
    )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def runs(world: World) -> AsyncIterator[Runs]:
    """Starts runs and tells how they went."""
    keyring = Keyring.generate()
    converter = data_converter(keyring, "default")
    env = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=_test_server(), data_converter=converter
    )
    async with env:
        await add_search_attributes(env)
        equipment = Equipment(
            temporal_address="",
            keyring=keyring,
            ports=world.ports(),
            policy=lambda _: world.policy,
            audit=world.audit,
            grace=timedelta(0),
            identity="test",
        )
        async with make_worker(env.client, TENANT, equipment):
            yield Runs(env)
