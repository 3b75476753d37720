"""A shared watch stays current through ends, errors and histories that are too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bascule_workers.adapters.api_server import ApiError
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.adapters.reflector import Reflector, whole
from bascule_workers.errors import ApiUnavailableError

Event = tuple[str, dict[str, Any]]


def item(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


class ScriptedApi:
    """Answers lists and watches from scripts; when they are over, watches hang."""

    def __init__(self, lists: list[Any], watches: list[list[Event | Exception]]) -> None:
        self._lists = lists
        self._watches = watches
        self.asked: list[str] = []

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        self.asked.append(f"list {path}")
        answer = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            return answer
        return {"metadata": {"resourceVersion": "1"}, "items": answer}

    async def watch(self, path: str, **parameters: Any) -> AsyncIterator[Event]:
        self.asked.append(f"watch {parameters['resourceVersion']}")
        if not self._watches:
            await asyncio.Event().wait()
        for event in self._watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


async def followed(api: ScriptedApi, changes: int) -> tuple[Reflector[dict[str, Any]], list[str]]:
    """Run a reflector until it has told that many changes."""
    seen: list[str] = []
    enough = asyncio.Event()

    def changed(found: dict[str, Any]) -> None:
        seen.append(found["metadata"]["name"])
        if len(seen) >= changes:
            enough.set()

    reflector = Reflector(api, "/things", changed, read=whole)  # type: ignore[arg-type]
    task = asyncio.create_task(reflector.run())
    async with asyncio.timeout(5):
        await enough.wait()
        await asyncio.sleep(0)
    task.cancel()
    return reflector, seen


async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    api = ScriptedApi([[item("a", 1)]], [[("MODIFIED", item("a", 5))], [("ADDED", item("b", 6))]])
    reflector, seen = await followed(api, 3)
    assert seen == ["a", "a", "b"]
    assert api.asked[:3] == ["list /things", "watch 1", "watch 5"]
    assert sorted(reflector.items) == ["a", "b"]


async def test_what_went_while_nobody_watched_is_told_after_the_next_list() -> None:
    gone = ApiError(410, "too old")
    api = ScriptedApi([[item("a", 1), item("b", 1)], [item("b", 2)]], [[gone]])
    reflector, seen = await followed(api, 4)
    assert sorted(seen) == ["a", "a", "b", "b"]
    assert list(reflector.items) == ["b"]


async def test_a_bookmark_moves_the_mark_and_changes_nothing() -> None:
    api = ScriptedApi([[]], [[("BOOKMARK", item("", 9))], [("ADDED", item("a", 10))]])
    _, seen = await followed(api, 1)
    assert seen == ["a"]
    assert "watch 9" in api.asked


async def test_a_deleted_item_is_told_once_more_and_gone() -> None:
    api = ScriptedApi([[item("a", 1)]], [[("DELETED", item("a", 2))]])
    reflector, seen = await followed(api, 2)
    assert (seen, reflector.items) == (["a", "a"], {})


async def test_a_server_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi([ApiUnavailableError("away"), ApiUnavailableError("away"), [item("a", 1)]], [])
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: real(0))
    _, seen = await followed(api, 1)
    assert seen == ["a"]


async def test_a_long_list_comes_in_pages() -> None:
    first = {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [item("a", 1)]}
    second = {"metadata": {"resourceVersion": "7"}, "items": [item("b", 2)]}
    api = ScriptedApi([first, second], [])
    reflector, seen = await followed(api, 2)
    assert (seen, sorted(reflector.items)) == (["a", "b"], ["a", "b"])
    await asyncio.sleep(0)
    assert api.asked[:2] == ["list /things", "list /things"]


async def test_a_bug_in_reading_is_no_end_of_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ScriptedApi([[{"metadata": {}}], [item("a", 1)]], [])
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: real(0))
    _, seen = await followed(api, 1)
    assert seen == ["a"]


async def test_many_who_wait_share_one_watch() -> None:
    api = ScriptedApi([[]], [])
    watch = PodWatch(api)  # type: ignore[arg-type]

    async def wait() -> None:
        async with watch.view("steps"):
            await asyncio.sleep(0.01)

    await asyncio.gather(*(wait() for _ in range(20)))
    await watch.close()
    assert len([asked for asked in api.asked if asked.startswith("list")]) == 2
