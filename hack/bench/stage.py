"""The stage of a measurement: operator and worker run, a watch is open, and what they write is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client

from bascule_api import names
from hack.bench import figures
from hack.bench.children import Child
from hack.bench.cluster_api import BUILDS, ClusterApi, Json
from hack.bench.figures import rounded
from hack.bench.scene import NAMESPACE, OPERATOR_USER, TENANT, Scene
from hack.bench.watching import Seen, Watcher

_PATH = BUILDS.format(namespace=NAMESPACE)
CALM_SECONDS = 8.0
"""After the last status: Events, and the Tenant's count of its runs."""


def all_terminal(count: int) -> Any:
    return lambda seen: sum(one.terminal is not None for one in seen) >= count


def all_gone(seen: Iterable[Seen]) -> bool:
    return all(one.gone is not None for one in seen)


@dataclass
class Tail:
    """The end of a file that grows."""

    path: Path
    offset: int = field(init=False)

    def __post_init__(self) -> None:
        self.offset = self.path.stat().st_size if self.path.exists() else 0

    def lines(self) -> list[str]:
        with self.path.open() as file:
            file.seek(self.offset)
            return file.read().splitlines()


@dataclass
class Stage:
    """Everything that runs while measurements are taken."""

    scene: Scene
    admin: ClusterApi
    watcher: Watcher
    operator: Child
    worker: Child
    temporal: Client

    def pids(self) -> dict[str, int]:
        return self.scene.pids(operator=self.operator, worker=self.worker)

    def writes(self, tail: Tail) -> list[figures.Write]:
        return figures.writes(tail.lines(), OPERATOR_USER)

    def audit(self) -> Tail:
        return Tail(self.scene.cluster.audit_log)

    async def create(self, builds: list[Json]) -> float:
        """Create all at once. Returns the seconds until the API server has the last."""
        begun = time.monotonic()
        await self.admin.create_all(_PATH, builds)
        return time.monotonic() - begun

    async def delete_named(self, prefix: str) -> None:
        """Ask for the deletion of all with this prefix, as quickly as the API server takes it."""
        paths = [f"{_PATH}/{one.name}" for one in self.watcher.named(prefix)]
        await asyncio.gather(*(self.admin.request("DELETE", path) for path in paths))

    async def delete_all(self) -> Json:
        """Delete every ImageBuild. Returns how long it took, with the operator's part."""
        there = sum(one.gone is None for one in self.watcher.seen.values())
        tail, begun = self.audit(), time.monotonic()
        await self.admin.request("DELETE", _PATH)
        await self.watcher.until(all_gone, "", 300 + there / 5)
        seconds = time.monotonic() - begun
        await asyncio.sleep(CALM_SECONDS)
        return {
            "resources": there,
            "seconds": rounded(seconds),
            "writes_per_resource": figures.per_resource(self.writes(tail), there),
        }

    async def started_at(self) -> dict[str, list[float]]:
        """When the runs of each resource were started, by Temporal's clock, which is this machine's."""
        found: dict[str, list[float]] = {}
        async for run in self.temporal.list_workflows(f"{names.SEARCH_UID} IS NOT NULL"):
            found.setdefault(run.id.split("/")[1], []).append(run.start_time.timestamp())
        return found


@asynccontextmanager
async def stage(scene: Scene, admin: ClusterApi, operator: Child, *, real: bool = False) -> AsyncIterator[Stage]:
    """The worker (that without effects, or the whole real one) and a watch, beside an operator that runs already."""
    serving = scene.drilling_worker() if real else scene.worker()
    async with serving as worker, Watcher(admin, NAMESPACE) as watcher:
        yield Stage(scene, admin, watcher, operator, worker, await scene.temporal(TENANT))
