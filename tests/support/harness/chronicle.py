"""Every version that a resource ever had, as a watch told it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bascule_api import names
from bascule_api.kinds import RUN_KINDS
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.reflector import Reflector, whole

TERMINAL = ("Succeeded", "Failed", "Cancelled", "Rejected")
Json = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """What counts of one version."""

    resource_version: int
    phase: str
    run: int
    progress: int
    outcome: str
    history: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, body: Json) -> Version:
        status = body.get("status") or {}
        run = status.get("run") or {}
        return cls(
            resource_version=int(body["metadata"]["resourceVersion"]),
            phase=status.get("phase", ""),
            run=int(run.get("number", 0)),
            progress=int(run.get("progressNumber", 0)),
            outcome=run.get("outcome", ""),
            history=tuple((past["number"], past["phase"]) for past in status.get("history", [])),
        )


class Chronicle:
    """Watches all resources that have runs, past every proxy."""

    def __init__(self, api: ApiServer) -> None:
        self._versions: defaultdict[str, list[Version]] = defaultdict(list)
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._reflectors = [
            Reflector(
                api, f"/apis/{names.API_VERSION}/{kind.plural}", self._seen, read=whole,
                key=lambda body: str(body["metadata"]["uid"]),
            )
            for kind in RUN_KINDS
        ]  # fmt: skip

    async def run(self) -> None:
        await asyncio.gather(*(reflector.run() for reflector in self._reflectors))

    def _seen(self, body: Json) -> None:
        uid = body["metadata"]["uid"]
        self._versions[uid].append(Version.of(body))
        self._news.pop(uid, asyncio.Event()).set()

    async def longer_than(self, uid: str, known: int, seconds: float) -> None:
        """Wait until more than so many versions are known, for so many seconds at most."""
        if len(self._versions[uid]) <= known:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news[uid].wait(), seconds)

    def of(self, uid: str) -> list[Version]:
        return self._versions[uid]

    def regressions(self, uid: str) -> list[str]:
        """Where a status went backwards: numbers that decreased, an end that changed."""
        found: list[str] = []
        versions, ends = self._versions[uid], dict[int, str]()
        for before, after in pairwise(versions):
            if (after.run, after.progress) < (before.run, before.progress):
                found.append(f"(run, progress) went from {before} to {after}")
        for version in versions:
            told = [*version.history, *([(version.run, version.outcome)] if version.outcome else [])]
            for number, phase in told:
                if ends.setdefault(number, phase) != phase:
                    found.append(f"run {number} was {ends[number]} and became {phase}: {version}")
        return found
