"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@asynccontextmanager
async def serving(port: int, *, alive: Callable[[], bool], missing: Callable[[], str]) -> AsyncIterator[None]:
    """Serve all three within the block; port 0 serves nothing. `missing`: why it is not ready, or nothing."""
    if not port:
        yield
        return

    def answering(check: Callable[[], str]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

        return answer

    application = web.Application()
    application.router.add_get("/healthz", answering(lambda: "" if alive() else "the watch of Tenants ended"))  # type: ignore[arg-type]
    application.router.add_get("/readyz", answering(missing))  # type: ignore[arg-type]
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
