"""Who waits for a change of what."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Changes:
    """Events by key, such as a node's name or a run's label; any number of waiters a key."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something of the key changes."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def wake(self, key: str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()
