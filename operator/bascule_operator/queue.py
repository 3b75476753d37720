"""The work queue: serial per key, bounded over all, with its own retries. Newer news of a key replace older ones."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from bascule_operator import metrics

K = TypeVar("K", bound=Hashable)
N = TypeVar("N")

FIRST_BACKOFF = 0.5
LAST_BACKOFF = 60.0


@dataclass
class _Waiting(Generic[N]):
    due: float
    since: float
    news: N | None


Handler = Callable[[K, N | None], Awaitable[float | None]]
"""Reconciles a key. Returns after how many seconds to come again, or None. Raises to be retried with backoff."""


class Queue(Generic[K, N]):
    """Keys that want to be reconciled, at most once each, earliest due first.

    `merge` joins news of a key that has not had its turn yet: (older, newer) -> news.
    """

    def __init__(self, concurrency: int, merge: Callable[[N, N], N], clock: Callable[[], float] = time.monotonic):
        self._concurrency = concurrency
        self._merge = merge
        self._clock = clock
        self._waiting: dict[K, _Waiting[N]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._running: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closing = False
        self._last_progress = clock()

    def add(self, key: K, news: N | None = None, delay: float = 0.0) -> None:
        """Have the key reconciled in `delay` seconds, or earlier if that was asked for before."""
        if self._closing:
            return
        now = self._clock()
        known = self._waiting.get(key)
        if known is None:
            self._waiting[key] = _Waiting(now + delay, now, news)
            self._push(now + delay, key)
        else:
            if news is not None:
                known.news = news if known.news is None else self._merge(known.news, news)
            if now + delay < known.due:
                known.due = now + delay
                self._push(known.due, key)
        self._changed.set()

    def _push(self, due: float, key: K) -> None:
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))

    def forget(self, key: K) -> None:
        """The key needs nothing any more."""
        self._failures.pop(key, None)

    @property
    def depth(self) -> int:
        """Keys that are due and wait for their turn."""
        now = self._clock()
        return sum(1 for waiting in self._waiting.values() if waiting.due <= now)

    def stuck_for(self) -> float:
        """For how many seconds there has been work while nothing ended; 0 when there is none."""
        now = self._clock()
        if not self._running and self.depth == 0:
            return 0.0
        oldest = min([*self._running.values(), *(w.due for w in self._waiting.values() if w.due <= now)])
        return max(0.0, now - max(self._last_progress, oldest))

    def measure(self) -> None:
        """Put depth, age and running into the metrics."""
        now = self._clock()
        due = [waiting.due for waiting in self._waiting.values() if waiting.due <= now]
        metrics.QUEUE_DEPTH.set(len(due))
        metrics.QUEUE_OLDEST_SECONDS.set(now - min(due) if due else 0)
        metrics.QUEUE_RUNNING.set(len(self._running))

    async def run(self, handler: Handler[K, N], failed: Callable[[K, BaseException, int], float | None]) -> None:
        """Serve until `close`. `failed` is told of each failure and may name the delay before the next attempt."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._concurrency):
                tasks.create_task(self._serve(handler, failed))

    async def close(self, grace: float) -> None:
        """Take no more keys and wait for those in flight, at most `grace` seconds."""
        self._closing = True
        self._waiting.clear()
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._running:
                    self._changed.clear()
                    await self._changed.wait()

    async def _serve(self, handler: Handler[K, N], failed: Callable[[K, BaseException, int], float | None]) -> None:
        while not self._closing:
            taken = self._take()
            if taken is None:
                await self._pause()
                continue
            key, news = taken
            try:
                again = await handler(key, news)
            except Exception as error:  # noqa: BLE001 - whatever a key brings up must not stop the others
                count = self._failures[key] = self._failures.get(key, 0) + 1
                delay = failed(key, error, count)
                self._done(key, _backoff(count) if delay is None else delay, news)
            else:
                self._failures.pop(key, None)
                self._done(key, again, None)

    def _done(self, key: K, again: float | None, news: N | None) -> None:
        del self._running[key]
        self._last_progress = self._clock()
        if again is not None:
            pending = self._waiting.get(key)
            # News that came meanwhile are newer than those that failed.
            self.add(key, None if pending and pending.news is not None else news, again)
        self._changed.set()

    def _take(self) -> tuple[K, N | None] | None:
        now, held = self._clock(), []
        taken: tuple[K, N | None] | None = None
        while self._heap and self._heap[0][0] <= now:
            due, order, key = heapq.heappop(self._heap)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.due != due:
                continue  # an entry that an earlier one replaced
            if key in self._running:
                held.append((due, order, key))
                continue
            del self._waiting[key]
            self._running[key] = now
            metrics.QUEUE_SECONDS.observe(max(0.0, now - due))
            taken = (key, waiting.news)
            break
        for entry in held:
            heapq.heappush(self._heap, entry)
        return taken

    async def _pause(self) -> None:
        """Wait for a change, or until the next key that is not being served is due."""
        self._changed.clear()
        now = self._clock()
        due = [waiting.due for key, waiting in self._waiting.items() if key not in self._running]
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(due) - now) if due else None):
                await self._changed.wait()


def _backoff(failures: int) -> float:
    """Doubling with jitter, so that keys which failed together don't come back together."""
    return float(min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10)) * random.uniform(0.8, 1.2))  # noqa: S311
