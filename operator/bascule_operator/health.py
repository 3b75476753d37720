"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bascule_operator.errors import OperatorError

STUCK_SECONDS = 60.0
FRESH_SECONDS = 30.0
_PROBE_EVERY = 10.0


class Health:
    """Alive while the queue moves; ready while both banks answered within the last half minute, leading or not."""

    def __init__(
        self,
        stuck_for: Callable[[], float],
        measure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stuck_for = stuck_for
        self._measure = measure
        self._clock = clock
        self._answered: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    async def probe(self, banks: dict[str, Callable[[], Awaitable[object]]]) -> None:
        """Ask both banks for ever."""
        while True:
            await asyncio.gather(*(self._ask(name, ask) for name, ask in banks.items()))
            await asyncio.sleep(_PROBE_EVERY if not self._trouble else 2.0)

    async def _ask(self, name: str, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            await ask()
        except OperatorError as error:
            self._trouble[name] = str(error)
        else:
            self._answered[name] = self._clock()
            self._trouble.pop(name, None)

    def ready(self, banks: tuple[str, ...] = ("kubernetes", "temporal")) -> list[str]:
        """What is not ready; empty when all is."""
        now = self._clock()
        late = [name for name in banks if now - self._answered.get(name, float("-inf")) > FRESH_SECONDS]
        return [f"{name}: {self._trouble.get(name, 'not asked yet')}" for name in late]

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        stuck = self._stuck_for()
        if stuck > STUCK_SECONDS:
            return web.Response(status=503, text=f"the queue holds work and nothing ended for {stuck:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        late = self.ready()
        return web.Response(status=503, text="\n".join(late) + "\n") if late else web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        self._measure()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
