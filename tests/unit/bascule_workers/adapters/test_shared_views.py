"""A namespace's view is one for all who look at it, and stays a little longer than they do."""

from __future__ import annotations

import asyncio

from bascule_workers.adapters.shared_views import SharedViews


class Watching:
    """A view that only says whether it was stopped."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.stopped = asyncio.Event()

    def stop(self) -> list[asyncio.Task[None]]:
        self.stopped.set()
        return []


async def test_those_who_look_at_the_same_time_share_a_view_for_each_namespace() -> None:
    views = SharedViews(Watching, linger_seconds=60)
    async with views.view("a") as first, views.view("a") as second, views.view("b") as other:
        assert first is second
        assert (first.namespace, other.namespace) == ("a", "b")
    await views.close()
    assert first.stopped.is_set()
    assert other.stopped.is_set()


async def test_who_comes_while_it_lingers_has_the_same_view() -> None:
    views = SharedViews(Watching, linger_seconds=60)
    async with views.view("a") as first:
        pass
    async with views.view("a") as second:
        assert second is first
        assert not first.stopped.is_set()


async def test_a_view_that_nobody_looks_at_any_more_is_stopped_and_the_next_is_another() -> None:
    views = SharedViews(Watching, linger_seconds=0)
    async with views.view("a") as first:
        # Neither is one stopped that somebody else still looks at.
        async with views.view("a"):
            pass
        await asyncio.sleep(0.01)
        assert not first.stopped.is_set()
    async with asyncio.timeout(5):
        await first.stopped.wait()
    async with views.view("a") as second:
        assert second is not first
