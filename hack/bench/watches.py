"""A watch on a list of the API, whose events are noted as they come."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Self

from hack.bench.cluster_api import ClusterApi, Json


class Watch(ABC):
    """Watches from when it is entered; who inherits says what is noted, and how it is left."""

    def __init__(self, api: ClusterApi, path: str) -> None:
        self._api = api
        self._path = path
        self._task: asyncio.Task[None] | None = None
        self.interruptions = 0
        """How often the API server ended the watch."""

    async def __aenter__(self) -> Self:
        version = (await self._api.request("GET", self._path, query={"limit": "1"}))["metadata"]["resourceVersion"]
        self._task = asyncio.create_task(self._run(version))
        return self

    async def _run(self, version: str) -> None:
        while True:
            # The API server ends a watch that falls behind; what follows is served from where it ended.
            async for kind, body in self._api.watch(self._path, version):
                if kind == "ERROR":
                    raise RuntimeError(f"the watch cannot go on: {body.get('message')}")
                version = body["metadata"]["resourceVersion"]
                self.note(kind, body, time.time())
            self.interruptions += 1

    async def demand(self) -> None:
        """Raises what ended the watch, if something did."""
        if self._task is not None and self._task.done():
            await self._task

    @abstractmethod
    def note(self, kind: str, body: Json, now: float) -> None:
        """Take one event of the watch, seen `now`: seconds since the epoch."""

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None:
        """Stop watching."""
