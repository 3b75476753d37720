"""Events: one object for what is said, counted when it is said again."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bascule_operator.connections.kube import Kube
from bascule_operator.decisions.happenings import Happening
from bascule_operator.errors import ConflictError, GoneError
from bascule_operator.events import Recorder, event_for
from bascule_operator.store import Key
from tests.support.subjects import NOW

KEY = Key("ImageBuild", "acme-dev", "web")
BODY = {"metadata": {"uid": "u-1"}}


class Server:
    """Remembers requests; answers the next with an error when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.errors: list[Exception | None] = []

    async def request(self, method: str, path: str, *, resource: str, body: Any, **more: Any) -> dict[str, Any]:
        self.asked.append((method, body.get("series", {}).get("count")))
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        return {}


async def record(server: Server, *happenings: Happening) -> list[tuple[str, Any]]:
    recorder = Recorder(cast(Kube, server), "pod-1")
    task = asyncio.create_task(recorder.run())
    for happening in happenings:
        recorder.record(KEY, BODY, happening)
    await recorder.flush(5)
    task.cancel()
    return server.asked


FAILED = Happening("RunFailed", "run 1: test smoke failed", True)


async def test_the_same_again_is_counted_in_the_same_event() -> None:
    assert await record(Server(), FAILED, FAILED, FAILED) == [("POST", None), ("PATCH", 2), ("PATCH", 3)]


async def test_what_an_earlier_process_recorded_is_counted_on() -> None:
    server = Server()
    server.errors = [ConflictError("exists")]
    assert await record(server, FAILED) == [("POST", None), ("PATCH", 2)]


async def test_an_event_that_expired_begins_anew() -> None:
    server = Server()
    server.errors = [None, GoneError("expired")]
    assert await record(server, FAILED, FAILED) == [("POST", None), ("PATCH", 2), ("POST", None)]


async def test_an_event_that_cannot_be_recorded_stops_nothing() -> None:
    server = Server()
    server.errors = [GoneError("no namespace")]
    other = Happening("RunStarted", "run 2 started")
    assert await record(server, FAILED, other) == [("POST", None), ("POST", None)]


def test_names_differ_by_what_is_said_and_fit_whatever_the_resource_is_called() -> None:
    long = Key("ImageBuild", "acme-dev", "a" * 253)
    first, second = (event_for(long, BODY, Happening("RunFailed", note), NOW, "pod") for note in ("one", "two"))
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert len(first["metadata"]["name"]) <= 253
    assert first["type"] == "Normal"
    assert event_for(KEY, BODY, Happening("X", "n" * 3000), NOW, "pod")["note"].endswith("…")
