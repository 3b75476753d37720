"""Whether this worker can do work: it knows its tenants, and a Temporal that they share answers.

A tenant with a server of its own says nothing about the worker, which serves the others: its trouble is a metric. Only
where every tenant has its own, one of them has to answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from bascule_api.tenants import TemporalAccess, TemporalSpec, Tenant
from bascule_workers.supervisor import Connections

PLATFORM = ""
"""Address of a Tenant that names none."""
FRESH_SECONDS = 30.0
"""How long an answer counts."""
ASK_EVERY, ASK_AGAIN = 10.0, 2.0
PATIENCE_SECONDS = 5.0


class Tenants(Protocol):
    """Whom to serve."""

    @property
    def synced(self) -> bool: ...

    def tenants(self) -> dict[str, Tenant]: ...


class Readiness:
    """Asks each server every few seconds; who asks for readiness gets what is known."""

    def __init__(self, source: Tenants, connections: Connections, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._connections = connections
        self._clock = clock
        self._answered: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_AGAIN if self.missing() else ASK_EVERY)

    async def ask(self) -> None:
        """Ask every server once, with the credentials of whoever uses it until one is answered."""
        servers = self._servers()
        await asyncio.gather(*(self._ask(address, list(using.values())) for address, using in servers.items()))

    def missing(self) -> str:
        """What keeps it from being ready; empty when nothing does."""
        if not self._source.synced:
            return "Tenants were not listed yet"
        servers = self._servers()
        needed = [PLATFORM] if PLATFORM in servers else sorted(servers)
        if not needed or any(self._fresh(address) for address in needed):
            return ""
        told = (f"{address or 'the platform'}: {self._trouble.get(address, 'not asked yet')}" for address in needed)
        return f"Temporal does not answer: {'; '.join(told)}"

    def _servers(self) -> dict[str, dict[TemporalAccess, TemporalSpec]]:
        """Who uses a server, by its address and one for each way of opening it."""
        found: defaultdict[str, dict[TemporalAccess, TemporalSpec]] = defaultdict(dict)
        for tenant in self._source.tenants().values():
            temporal = tenant.spec.temporal
            found[temporal.address][temporal.access] = temporal
        return found

    def _fresh(self, address: str) -> bool:
        return self._clock() - self._answered.get(address, float("-inf")) <= FRESH_SECONDS

    async def _ask(self, address: str, using: list[TemporalSpec]) -> None:
        for temporal in using:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    service = await self._connections.connect(temporal)
                    await service.workflow_service.get_system_info(
                        GetSystemInfoRequest(), timeout=timedelta(seconds=PATIENCE_SECONDS)
                    )
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
                self._trouble[address] = (str(error) or type(error).__name__).splitlines()[0]
            else:
                self._answered[address] = self._clock()
                return
