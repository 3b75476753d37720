"""What every call passes on its way: it is numbered and written down, and perhaps something happens to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tests.support.harness.calls import Call, Point

R = TypeVar("R")

DELAY_SECONDS = 4.0
LATE_SECONDS = 20.0


class Kind(StrEnum):
    """What can happen at one call."""

    KILL_BEFORE = "kill-before"
    """SIGKILL of the caller when its request is on the way; it never arrives."""
    KILL_AFTER = "kill-after"
    """SIGKILL of the caller when the request has taken effect; the answer never arrives."""
    DROP = "drop"
    """The connection breaks before the request arrives."""
    RESET = "commit-then-reset"
    """The connection breaks after the request took effect."""
    CONFLICT = "409"
    THROTTLE = "429"
    ERROR = "500"
    DELAY = "delay"
    """The answer comes seconds late."""
    HANG = "hang"
    """The request takes effect and the answer never comes, nor does the connection break."""
    STALE = "stale"
    """The answer is the oldest that was ever given to this question in this life."""
    EDIT = "edit"
    """Somebody changes the spec while the request is on its way."""
    DELETE = "delete"
    """Somebody deletes the resource while the request is on its way."""
    LATE = "late"
    """The caller is stopped with its request on the way, and another takes its place. Later both wake up."""


KILLS = (Kind.KILL_BEFORE, Kind.KILL_AFTER)
ENDINGS = (*KILLS, Kind.LATE)
"""The process that called is followed by another, which remembers nothing."""


@dataclass(frozen=True)
class Fault:
    """Something that happens at one call, once."""

    kind: Kind
    point: Point

    def __str__(self) -> str:
        return f"{self.kind}@{self.point}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The inverse of `str`. Raises ValueError."""
        kind, _, point = text.partition("@")
        return cls(Kind(kind), Point.parse(point))


@dataclass(frozen=True)
class Refused:
    """Instead of an answer. Code 0: the connection breaks."""

    code: int = 0
    stale: bool = False
    """What was answered the first time is answered again."""


@dataclass
class Gate:
    """The passage of one shard: all proxies of operator and worker share it."""

    kill: Callable[[str], None]
    """SIGKILL operator or worker, and start it anew. Waits for nothing: the call's own handler dies with its caller."""
    person: Callable[[Kind], Awaitable[None]]
    """Edit or delete the resource."""
    replace: Callable[[str], Callable[[], None]]
    """Stop operator or worker and start another beside it. Returns what lets the stopped one go on."""
    relevant: Callable[[Call], bool] = lambda call: True
    faults: dict[Point, Kind] = field(default_factory=dict)
    fired: set[Point] = field(default_factory=set)
    stage: str = ""
    journal: list[Point] = field(default_factory=list)
    afterwards: set[str] = field(default_factory=set)
    """Names that have no moment before: what a long poll brought."""
    writers: set[str] = field(default_factory=set)
    """Names of calls that change something."""
    last_write: float = 0.0
    writes: list[str] = field(default_factory=list)
    _counts: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def begin(self, relevant: Callable[[Call], bool], faults: Iterable[Fault] = ()) -> None:
        """A new life begins."""
        self.relevant, self.fired, self.writes, self.stage = relevant, set(), [], ""
        self.faults = {fault.point: fault.kind for fault in faults}
        self.journal, self._counts = [], Counter()

    def enter(self, stage: str) -> None:
        """A new stage of the life begins: numbers start at one. Empty: none, and nothing happens to any call."""
        self.stage = stage

    def number(self, call: Call) -> Point:
        """Write the call down."""
        if call.writes and call.bank == "kubernetes":
            self.last_write = time.monotonic()
            self.writes.append(f"{call.who} {call.name} {call.about}")
        if call.writes:
            self.writers.add(call.name)
        key = (self.stage, call.who, call.bank, call.name)
        if not self.relevant(call):
            return Point(*key, 0)
        self._counts[key] += 1
        point = Point(*key, self._counts[key])
        self.journal.append(point)
        return point

    def _due(self, point: Point) -> Kind | None:
        """What happens to this call. It is as good as done: nothing happens twice."""
        if point in self.fired or point not in self.faults:
            return None
        self.fired.add(point)
        return self.faults[point]

    async def through(self, call: Call, forward: Callable[[], Awaitable[R]]) -> R | Refused:
        """Forward the call, unless something happens to it."""
        point = self.number(call)
        kind = self._due(point)
        if kind is None:
            return await forward()
        match kind:
            case Kind.KILL_BEFORE:
                self.kill(call.who)
            case Kind.STALE:
                return Refused(stale=True)
            case Kind.CONFLICT | Kind.THROTTLE | Kind.ERROR:
                return Refused(int(kind))
            case Kind.DELAY:
                answer = await forward()
                await asyncio.sleep(DELAY_SECONDS)
                return answer
            case Kind.LATE:
                go_on = self.replace(call.who)
                try:
                    await asyncio.sleep(LATE_SECONDS)
                    return await forward()
                finally:
                    go_on()
            case Kind.EDIT | Kind.DELETE:
                await self.person(kind)
                return await forward()
            case Kind.KILL_AFTER | Kind.RESET | Kind.HANG:
                await forward()
                if kind is Kind.HANG:
                    await asyncio.Event().wait()
                if kind is Kind.KILL_AFTER:
                    self.kill(call.who)
        return Refused()

    def brought(self, call: Call) -> Refused | None:
        """A long poll brought something: only what follows can go wrong."""
        point = self.number(call)
        self.afterwards.add(call.name)
        kind = self._due(point)
        if kind is None:
            return None
        if kind is Kind.KILL_AFTER:
            self.kill(call.who)
        return Refused()
