"""What a client of the API server sees of any kind of object, and when: made, over, gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from hack.bench.cluster_api import ClusterApi, Json
from hack.bench.watches import Watch

_POLL_SECONDS = 0.05


@dataclass
class Life:
    """One object; moments are seconds since the epoch, by this machine's clock."""

    added: float
    body: Json = field(repr=False)
    """As it was seen last."""
    over: float | None = None
    gone: float | None = None

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.body["metadata"].get("namespace", ""))

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])


def job_over(job: Json) -> bool:
    """Whether a Job has ended, however."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def run_over(resource: Json) -> bool:
    """Whether a resource shows that its run is over."""
    return (resource.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Cancelled", "Rejected")


def never(body: Json) -> bool:
    """Of objects that do not end, but by being deleted."""
    return False


class Lives(Watch):
    """Keeps a watch on a list of the API, and notes when it saw what."""

    def __init__(self, api: ClusterApi, path: str, over: Callable[[Json], bool] = never) -> None:
        super().__init__(api, path)
        self._over = over
        self.seen: dict[str, Life] = {}

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            # What ended it early was told to whoever waited.
            with suppress(asyncio.CancelledError, RuntimeError):
                await self._task

    def note(self, kind: str, body: Json, now: float) -> None:
        """Take one event of the watch."""
        life = self.seen.setdefault(body["metadata"]["uid"], Life(now, body))
        life.body = body
        if kind == "DELETED":
            life.gone = now
        if life.over is None and self._over(body):
            life.over = now

    def named(self, prefix: str) -> list[Life]:
        return [life for life in self.seen.values() if life.name.startswith(prefix)]

    def inside(self, namespace: str) -> list[Life]:
        return [life for life in self.seen.values() if life.namespace == namespace]

    async def until(self, done: Callable[[Iterable[Life]], bool], patience: float, what: str, prefix: str = "") -> None:
        """Wait until that holds of those with this prefix. Raises RuntimeError when it takes too long."""
        deadline = time.monotonic() + patience
        while not done(self.named(prefix)):
            await self.demand()
            if time.monotonic() > deadline:
                raise RuntimeError(f"after {patience:.0f} s still not: {what}")
            await asyncio.sleep(_POLL_SECONDS)
