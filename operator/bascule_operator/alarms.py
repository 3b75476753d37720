"""Wakes resources up when their schedule is due: one timer for all, whose cost grows with those that are due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

LONGEST_SECONDS = 30.0
"""How long is slept at most: somebody may put the machine's clock."""
_SPARE = 64


class Alarms(Generic[K]):
    """Keys with a time each, at which `ring` is called once. The clock is the wall's, as crontabs mean it."""

    def __init__(self, ring: Callable[[K], None], clock: Callable[[], datetime]) -> None:
        self._ring = ring
        self._clock = clock
        self._set: dict[K, datetime] = {}
        self._heap: list[tuple[datetime, int, K]] = []
        self._order = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many keys have a time, rung or not."""
        return len(self._set)

    def set(self, key: K, due: datetime | None) -> None:
        """Have the key's alarm ring at this time, and at no other; None: never. One that rang does not ring again."""
        if due is None:
            self._set.pop(key, None)
        elif self._set.get(key) != due:
            self._set[key] = due
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, key))
            self._tidy()
            self._changed.set()

    def _tidy(self) -> None:
        """Drop times that others replaced, once they are the most: someone may toggle `suspend` all day."""
        if len(self._heap) > 2 * len(self._set) + _SPARE:
            latest = {key: (due, order, key) for due, order, key in sorted(self._heap) if self._set.get(key) == due}
            self._heap = sorted(latest.values())

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            self._changed.clear()
            wait = self.ring_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def ring_due(self) -> float | None:
        """Ring what is due. Returns after how many seconds to look again; None: once another alarm is set."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._set.get(key) != due:
                heapq.heappop(self._heap)  # another time was set since, or none
                continue
            wait = (due - self._clock()).total_seconds()
            if wait > 0:
                return min(wait, LONGEST_SECONDS)
            heapq.heappop(self._heap)
            self._ring(key)
        return None
