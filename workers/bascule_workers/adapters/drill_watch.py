"""What a drill applied and its pods, kept current by watches for as long as somebody waits for it to become ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from bascule_workers.adapters.api_server import ApiServer, JsonObject
from bascule_workers.adapters.reflector import Reflector, whole
from bascule_workers.adapters.shared_views import SharedViews
from bascule_workers.errors import ApiUnavailableError

LIST_SECONDS = 30.0
ASK_AGAIN_SECONDS = 10.0
LINGER_SECONDS = 20.0
"""How long a namespace is watched after the last one has stopped waiting."""


class SpaceView:
    """One drill's namespace: the kinds that were asked for, and pods. One watch for each."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._reflectors: dict[str, Reflector[JsonObject]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._event = asyncio.Event()
        self._told: dict[str, tuple[float, str]] = {}

    async def follow(self, paths: Mapping[str, str]) -> None:
        """Watch these kinds, by their paths, besides those that are watched already; returns with all listed."""
        for kind, path in {**paths, "Pod": f"/api/v1/namespaces/{self._namespace}/pods"}.items():
            if kind not in self._reflectors:
                reflector = Reflector(self._api, path, lambda _: self._event.set(), read=whole)
                self._reflectors[kind] = reflector
                self._tasks.append(asyncio.create_task(reflector.run()))
        try:
            async with asyncio.timeout(LIST_SECONDS):
                await asyncio.gather(*(reflector.synced.wait() for reflector in self._reflectors.values()))
        except TimeoutError:
            raise ApiUnavailableError(f"the API server does not list what is in {self._namespace}") from None

    def live(self, kind: str, name: str) -> JsonObject | None:
        return self._reflectors[kind].items.get(name)

    def pods(self) -> list[JsonObject]:
        return list(self._reflectors["Pod"].items.values())

    def looked(self) -> None:
        """What comes from here on is a change."""
        self._event.clear()

    async def changed(self, limit_seconds: float) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                await self._event.wait()
        except TimeoutError:
            pass

    async def told_once(self, about: str, ask: Callable[[], Awaitable[str]]) -> str:
        """What is known of something, asked anew after a while only."""
        now = asyncio.get_running_loop().time()
        at, told = self._told.get(about, (now - ASK_AGAIN_SECONDS, ""))
        if now - at >= ASK_AGAIN_SECONDS:
            told = await ask()
            self._told[about] = (now, told)
        return told

    def stop(self) -> list[asyncio.Task[None]]:
        for task in self._tasks:
            task.cancel()
        return self._tasks


class DrillWatch:
    """The views of all drills' namespaces."""

    def __init__(self, api: ApiServer) -> None:
        self._views = SharedViews(lambda namespace: SpaceView(api, namespace), LINGER_SECONDS)

    def view(self, namespace: str) -> AbstractAsyncContextManager[SpaceView]:
        return self._views.view(namespace)

    async def close(self) -> None:
        """Stop watching, and wait until the connections are given back."""
        await self._views.close()
