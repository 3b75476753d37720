"""What a client of the API server sees of the ImageBuilds, and when: the clock of every figure about statuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hack.bench.cluster_api import BUILDS, ClusterApi, Json
from hack.bench.figures import visible
from hack.bench.watches import Watch

TERMINAL = ("Succeeded", "Failed", "Cancelled", "Rejected")


@dataclass
class Seen:
    """One ImageBuild; moments are seconds since the epoch, by this machine's clock."""

    name: str
    uid: str
    added: float
    running: float | None = None
    """When it showed a phase beyond Pending."""
    terminal: float | None = None
    phase: str = ""
    gone: float | None = None
    steps: dict[str, float] = field(default_factory=dict)
    """When each step showed as Succeeded."""
    changes: int = 0
    """Versions that differ in something people see."""
    versions: int = 0
    shown: tuple[Any, ...] = ()


class Watcher(Watch):
    """Keeps a watch on the namespace and notes when it saw what."""

    def __init__(self, api: ClusterApi, namespace: str) -> None:
        super().__init__(api, BUILDS.format(namespace=namespace))
        self.seen: dict[str, Seen] = {}

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def note(self, kind: str, body: Json, now: float) -> None:
        """Take one event of the watch."""
        metadata, status = body["metadata"], body.get("status") or {}
        one = self.seen.setdefault(metadata["uid"], Seen(metadata["name"], metadata["uid"], now))
        if kind == "DELETED":
            one.gone = now
            return
        one.versions += 1
        shown = visible(body)
        if one.versions > 1 and shown != one.shown:
            one.changes += 1
        one.shown = shown
        one.phase = status.get("phase", "")
        if one.running is None and one.phase not in ("", "Pending"):
            one.running = now
        if one.terminal is None and one.phase in TERMINAL:
            one.terminal = now
        for step in status.get("steps") or ():
            if step.get("state") == "Succeeded":
                one.steps.setdefault(step["name"], now)

    def named(self, prefix: str) -> list[Seen]:
        return [one for one in self.seen.values() if one.name.startswith(prefix)]

    async def until(self, done: Callable[[Iterable[Seen]], bool], prefix: str, patience: float) -> bool:
        """Wait until that holds of the ImageBuilds with this prefix. False when it took too long."""
        deadline = time.monotonic() + patience
        while not done(self.named(prefix)):
            await self.demand()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True
