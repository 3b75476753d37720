"""The operator put together: watches feed the queue, the queue feeds the reconcilers, feed and sweep watch over it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bascule_api.kinds import ANSWERS, PLATFORM_KINDS, RUN_KINDS
from bascule_codec import Keyring
from bascule_operator import handlers, metrics
from bascule_operator.alarms import Alarms
from bascule_operator.backlog import Backlog
from bascule_operator.connections.kube import Kube
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.connections.temporal_credentials import CredentialsSource, PlatformAccess
from bascule_operator.errors import ConflictError, NotLeadingError, OperatorError, TemporalUnavailableError
from bascule_operator.events import Recorder
from bascule_operator.feed import Feed
from bascule_operator.health import Health
from bascule_operator.leadership import Alone, Leadership, LeaseLeadership, Timing
from bascule_operator.queue import Queue
from bascule_operator.reconcilers.approvals import ApprovalsReconciler
from bascule_operator.reconcilers.runs import RunsReconciler
from bascule_operator.reconcilers.served import SERVED
from bascule_operator.reconcilers.tenants import TenantsReconciler
from bascule_operator.reconcilers.world import News, World, newer
from bascule_operator.settings import Settings
from bascule_operator.store import Key, LiveRun, Store
from bascule_operator.sweep import Sweep, undecided

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10.0
_UNAVAILABLE_BACKOFF = 15.0


class Bridge:
    """Everything between the two banks, in one event loop."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        temporal: Temporal,
        leadership: Leadership | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._leadership = leadership or Alone()
        kube.fence = temporal.fence = self._leadership.check
        self.alarms = Alarms(self._is_due, clock)
        self.store = Store(self._platform_changed, self.alarms.set)
        self.queue: Queue[Key, News] = Queue(settings.max_concurrency, newer)
        self.recorder = Recorder(kube, socket.gethostname())
        self.world = World(
            kube=kube,
            temporal=temporal,
            store=self.store,
            queue=self.queue,
            recorder=self.recorder,
            clock=lambda: clock().replace(microsecond=0),
            ui_url=settings.temporal_ui_url,
        )
        self.sweep = Sweep(self.world, settings.selector)
        self.feed = Feed(temporal, self.store, self._place, self.queue.add, time.monotonic)
        self.backlog = Backlog(temporal, self._places)
        self.health = Health(self.queue.stuck_for, self._measure)
        self._reconcilers: dict[str, Callable[[Key, News | None], Awaitable[float | None]]] = {
            **{name: RunsReconciler(kind, self.world).reconcile for name, kind in SERVED.items()},
            "Approval": ApprovalsReconciler(SERVED, self.world).reconcile,
            "Tenant": TenantsReconciler(self.world).reconcile,
        }

    def _measure(self) -> None:
        self.queue.measure()
        metrics.SCHEDULES.set(len(self.alarms))
        metrics.LEADING.set(self._leadership.leading)

    def _place(self, run: LiveRun) -> Place:
        return self.world.place(run.tenant, run.temporal_namespace)

    def _places(self) -> dict[Place, str]:
        """Where tenants have live runs."""
        return {self._place(run): run.tenant for runs in self.store.live_runs().values() for run in runs.values()}

    def seen(self, key: Key, body: dict[str, Any], gone: bool) -> None:
        """What a watch tells."""
        if key.kind == "Approval":
            if not gone and undecided(body):
                self.queue.add(key)
            return
        if gone:
            self.store.remove(key, body["metadata"]["uid"])
        elif not self.store.put(key, body):
            return  # our own write coming back, or an older version
        if key.kind in self._reconcilers:
            self.queue.add(key)

    def _is_due(self, key: Key) -> None:
        self.queue.add(key)

    def _platform_changed(self) -> None:
        """Whatever a Tenant or a Procedure kept from starting is looked at again."""
        for key in self.store.blocked:
            self.queue.add(key)

    async def reconcile(self, key: Key, news: News | None) -> float | None:
        """One turn of one key."""
        self._leadership.check()
        with metrics.RECONCILE_SECONDS.labels(key.kind).time():
            return await self._reconcilers[key.kind](key, news)

    def failed(self, key: Key, error: BaseException, count: int) -> float | None:
        """Log a failure and choose the delay before the next attempt; None: the queue's own backoff."""
        if isinstance(error, NotLeadingError):
            return self._settings.lease_retry_seconds
        metrics.RECONCILE_ERRORS.labels(key.kind, type(error).__name__).inc()
        entry = self.store.get(key)
        extra = {"resource": str(key), "error": str(error)} | (_of(entry.live) if entry and entry.live else {})
        if isinstance(error, ConflictError):
            return 0.2 * count
        if isinstance(error, OperatorError):
            if count in (1, 5) or count % 20 == 0:
                log.warning("will be tried again (%s)", type(error).__name__, extra=extra)
            return min(_UNAVAILABLE_BACKOFF, 0.5 * 2**count) if isinstance(error, TemporalUnavailableError) else None
        log.error("a reconciliation failed", extra=extra, exc_info=error)
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by until this operator leads, then serve until `stop` is set. Raises what ended it before."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_server(self.health, self._settings.http_port))
            background: list[asyncio.Task[Any]] = [asyncio.create_task(self.health.probe(self._banks()), name="health")]
            stack.push_async_callback(self._leadership.release)
            stack.push_async_callback(_cancel, background)
            if not await self._leadership.acquire(stop):
                return
            leading = asyncio.create_task(self._leadership.keep(), name="leadership")
            leading.add_done_callback(lambda _: stop.set())
            background += [leading, asyncio.create_task(self.recorder.run(), name="events")]
            # What is there is listed before anything is decided: a build must not wait for a Tenant not yet seen.
            await self._first_listing(stop)
            if stop.is_set():
                if leading.done():
                    leading.result()
                return
            watches = asyncio.create_task(self._watch(stop), name="watches")
            background += [
                asyncio.create_task(self.queue.run(self.reconcile, self.failed), name="queue"),
                asyncio.create_task(self.feed.run(), name="feed"),
                asyncio.create_task(self.alarms.run(), name="alarms"),
                asyncio.create_task(self.backlog.run(), name="backlog"),
                asyncio.create_task(self.sweep.run(self._settings.resync_seconds), name="sweep"),
                watches,
                asyncio.create_task(stop.wait(), name="stop"),
            ]
            done, _ = await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            # Who does not lead any more has nothing to bring to an end.
            await self.queue.close(SHUTDOWN_SECONDS if self._leadership.leading else 0.0)
            await self.recorder.flush(1.0)
            # The watches close their connections, which a cancellation would not let them.
            await asyncio.wait([watches], timeout=SHUTDOWN_SECONDS)
            for task in done:
                task.result()

    def _banks(self) -> dict[str, Callable[[], Awaitable[object]]]:
        kube, temporal = self.world.kube, self.world.temporal
        return {
            "kubernetes": lambda: kube.request("GET", "/version", resource="version"),
            "temporal": temporal.service_info,
        }

    async def _first_listing(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.sweep.resync()
            except OperatorError as error:
                log.warning("resources cannot be listed yet", extra={"error": str(error)})
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 2.0)
            else:
                return

    async def _watch(self, stop: asyncio.Event) -> None:
        kinds = (*RUN_KINDS, *ANSWERS, *PLATFORM_KINDS)
        watched = handlers.registry(kinds, self.seen, self.world.kube)
        settings = handlers.watch_settings((*RUN_KINDS, *ANSWERS), self._settings.selector)
        await handlers.serve(watched, settings, stop)


def _of(run: LiveRun) -> dict[str, Any]:
    """What a line says of a run."""
    return {"uid": run.uid, "tenant": run.tenant, "workflow": run.workflow_id, "run": run.number}


class _server:  # noqa: N801 - used like a function
    def __init__(self, health: Health, port: int) -> None:
        self._health, self._port = health, port

    async def __aenter__(self) -> web.AppRunner:
        self._runner = web.AppRunner(self._health.application(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()
        return self._runner

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Connect both banks and run the bridge between them until `stop` is set."""
    keyring = Keyring.from_directory(settings.payload_keys_dir)
    async with AsyncExitStack() as stack:
        kube = await _connected(stack, settings)
        leadership: Leadership = Alone()
        if settings.leader_election:
            identity = settings.identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
            timing = Timing(settings.lease_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds)
            leadership = LeaseLeadership(await _connected(stack, settings), settings.namespace, identity, timing)
        await Bridge(settings, kube, _temporal(settings, kube, keyring), leadership).run(stop)


def _temporal(settings: Settings, kube: Kube, keyring: Keyring) -> Temporal:
    platform = PlatformAccess(settings.temporal_credentials_dir, settings.temporal_server_name, settings.temporal_tls)
    return Temporal(settings.temporal_address, keyring, CredentialsSource(kube, settings.namespace, platform))


async def _connected(stack: AsyncExitStack, settings: Settings) -> Kube:
    kube = await Kube.connect(settings.kubeconfig)
    stack.push_async_callback(kube.close)
    return kube
