"""Views of namespaces that many look at: each is kept while somebody does, and a little longer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar


class View(Protocol):
    """What watches by tasks of its own until it is stopped."""

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop watching. Returns the tasks that are ending."""


V = TypeVar("V", bound=View)


class SharedViews(Generic[V]):
    """One view for each namespace that somebody uses."""

    def __init__(self, begin: Callable[[str], V], linger_seconds: float) -> None:
        """`begin` makes the view of a namespace; it is kept for `linger_seconds` after its last user."""
        self._begin = begin
        self._linger_seconds = linger_seconds
        self._views: dict[str, V] = {}
        self._users: Counter[V] = Counter()

    @asynccontextmanager
    async def view(self, namespace: str) -> AsyncIterator[V]:
        """The current view of a namespace."""
        view = self._views.get(namespace)
        if view is None:
            view = self._views[namespace] = self._begin(namespace)
        self._users[view] += 1
        try:
            yield view
        finally:
            self._users[view] -= 1
            if not self._users[view]:
                del self._users[view]
                asyncio.get_running_loop().call_later(self._linger_seconds, self._drop, namespace, view)

    async def close(self) -> None:
        """Stop watching, and wait until the connections are given back."""
        tasks = [task for view in self._views.values() for task in view.stop()]
        self._views.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, namespace: str, view: V) -> None:
        if view not in self._users and self._views.get(namespace) is view:
            del self._views[namespace]
            view.stop()
