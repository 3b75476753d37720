"""When a worker is ready, asked of real Temporal servers; one that is not there is a port that nobody serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession
from temporalio.testing import WorkflowEnvironment

from bascule_api.tenants import Tenant
from bascule_workers.adapters import health
from bascule_workers.adapters.temporal_connections import PlatformTemporal, TemporalConnections, no_secrets
from bascule_workers.readiness import FRESH_SECONDS, Readiness
from tests.support.control_plane import free_port
from tests.support.temporal import dev_server


class Source:
    """Tenants by name, with the address of their own Temporal, if any."""

    def __init__(self, **addresses: str) -> None:
        self.synced = True
        self.found = {
            name: Tenant.parse(
                {"metadata": {"name": name}, "spec": {"namespaces": [name], "temporal": {"address": at}}}
            )
            for name, at in addresses.items()
        }

    def tenants(self) -> dict[str, Tenant]:
        return self.found


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=dev_server(), dev_server_extra_args=["--headless"]
    ) as env:
        yield env.client.service_client.config.target_host


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def asking(platform: str, source: Source) -> Readiness:
    return Readiness(source, TemporalConnections(PlatformTemporal(platform), no_secrets))


NOWHERE = f"127.0.0.1:{free_port()}"


async def test_ready_when_the_platforms_temporal_answers(server: str) -> None:
    readiness = asking(server, Source(acme=""))
    assert readiness.missing() == "Temporal does not answer: the platform: not asked yet"
    await readiness.ask()
    assert readiness.missing() == ""


async def test_not_before_tenants_were_listed(server: str) -> None:
    source = Source()
    source.synced = False
    assert asking(server, source).missing() == "Tenants were not listed yet"


async def test_without_tenants_there_is_nothing_to_wait_for() -> None:
    readiness = asking(NOWHERE, Source())
    await readiness.ask()
    assert readiness.missing() == ""


async def test_not_while_the_platforms_temporal_is_away_even_if_a_tenants_own_answers(server: str) -> None:
    readiness = asking(NOWHERE, Source(acme="", globex=server))
    await readiness.ask()
    assert readiness.missing().startswith("Temporal does not answer: the platform: ")


async def test_a_tenants_own_temporal_that_is_away_or_silent_changes_nothing(server: str, silent: str) -> None:
    readiness = asking(server, Source(acme="", globex=NOWHERE, initech=silent))
    async with asyncio.timeout(30):
        await readiness.ask()
    assert readiness.missing() == ""


async def test_where_each_tenant_has_its_own_one_that_answers_is_enough(server: str) -> None:
    readiness = asking(NOWHERE, Source(globex=server, initech=NOWHERE))
    await readiness.ask()
    assert readiness.missing() == ""
    alone = asking(NOWHERE, Source(initech=NOWHERE))
    await alone.ask()
    assert alone.missing().startswith(f"Temporal does not answer: {NOWHERE}: ")


async def test_an_answer_counts_for_half_a_minute(server: str) -> None:
    now = 0.0
    connections = TemporalConnections(PlatformTemporal(server), no_secrets)
    readiness = Readiness(Source(acme=""), connections, clock=lambda: now)
    await readiness.ask()
    now = FRESH_SECONDS
    assert readiness.missing() == ""
    now += 1
    assert readiness.missing() != ""


async def test_the_probe_says_what_is_missing() -> None:
    port, missing = free_port(), "Tenants were not listed yet"
    async with health.serving(port, alive=lambda: True, missing=lambda: missing), ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "Tenants were not listed yet\n")
        missing = ""
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
