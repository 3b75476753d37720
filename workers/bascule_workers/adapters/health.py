"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@asynccontextmanager
async def serving(port: int, *, alive: Callable[[], bool], ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serve all three within the block; port 0 serves nothing."""
    if not port:
        yield
        return

    def answering(check: Callable[[], bool]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            good = check()
            return web.Response(status=200 if good else 503, text="ok\n" if good else "not ok\n")

        return answer

    application = web.Application()
    application.router.add_get("/healthz", answering(alive))  # type: ignore[arg-type]
    application.router.add_get("/readyz", answering(ready))  # type: ignore[arg-type]
    application.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
