"""Trying every fault of a kind at every call of a life: the calls are found, the cases shared out among shards."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.harness.calls import Point
from tests.support.harness.gate import Fault, Kind
from tests.support.harness.lives import LIVES, Life
from tests.support.harness.scene import Scene
from tests.support.harness.shard import Shard

TRIES = 3
"""Not every life makes every call: a case whose call never came is lived again."""
OFTEN = {
    "operator/temporal/ListWorkflowExecutions": 2,
    "worker/temporal/RecordActivityTaskHeartbeat": 1,
    "operator/kubernetes/get tenants": 2,
    "operator/kubernetes/get namespaces": 1,
    "operator/kubernetes/patch tenants/status": 1,
    **{f"worker/kubernetes/{verb} {kind}": 0 for verb in ("list", "watch") for kind in ("jobs", "pods")},
    "operator/temporal/DescribeNamespace": 1,
    "operator/temporal/ListSearchAttributes": 1,
}
"""Calls made by the clock, and for the tenant a while after a run began or ended: how many of a life are tried. The
worker's watch of a namespace outlives a life by a minute, and begins with none or one list: watches have tests of their
own."""


@dataclass(frozen=True)
class Case:
    """One life with one fault."""

    life: str
    fault: Fault | None

    def __str__(self) -> str:
        return f"{self.life}:{self.fault or 'none'}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """The inverse of `str`. Raises ValueError, KeyError."""
        life, _, fault = text.partition(":")
        return cls(LIVES[life].name, None if fault == "none" else Fault.parse(fault))


@dataclass
class Found:
    """The calls of a life: those that it makes whenever it is lived, in order, and those that only come at times."""

    always: list[Point]
    sometimes: list[Point]
    afterwards: frozenset[str]
    """Names of calls that have no moment before."""
    writers: frozenset[str]
    """Names of calls that change something."""

    def makes_sense(self, fault: Fault) -> bool:
        """Before and after a mere look are the same; so are after a task is handed out, and before its first call."""
        name = fault.point.name
        if name in self.afterwards:
            return fault.kind is Kind.RESET
        return fault.kind not in (Kind.KILL_AFTER, Kind.RESET) or name in self.writers

    def of(self, who: str = "", bank: str = "") -> list[Point]:
        return [point for point in self.always if who in ("", point.who) and bank in ("", point.bank)]


@dataclass
class Tally:
    """What came of a batch."""

    wrong: dict[str, list[str]] = field(default_factory=dict)
    covered: list[Case] = field(default_factory=list)
    missed: list[Case] = field(default_factory=list)
    left_out: list[Case] = field(default_factory=list)
    """Not begun for want of time."""
    seconds: list[float] = field(default_factory=list)

    def report(self, what: str, calls: int) -> str:
        times = f", {sum(self.seconds) / len(self.seconds):.0f} s each" if self.seconds else ""
        text = f"{what}: {calls} calls found, {len(self.covered)} cases covered{times}"
        for name, cases in (
            ("not reached, since these lives made fewer calls of the name", self.missed),
            ("left out for want of time", self.left_out),
        ):
            text += f"; {name}: {', '.join(map(str, cases))}" if cases else ""
        for case, problems in self.wrong.items():
            text += f"\n  {case}" + "".join(f"\n    {problem}" for problem in problems)
            text += f"\n    again: pytest -m smoke tests/faults/test_every_call.py --fault '{case}'"
        return text


async def live(shard: Shard, life: Life, fault: Fault | None) -> list[str]:
    """Live a life in a shard, with a fault or without. Returns what is wrong."""
    shard.cases += 1
    scene = Scene(shard, f"{shard.name}-c{shard.cases}")
    shard.person = scene.interfere
    for proxy in (shard.operator_api, shard.worker_api, shard.registry):
        proxy.forget()
    shard.gate.begin(shard.concerns, fault, turns=life.turns)
    shard.deaths.clear()
    try:
        return await life.play(scene) + shard.deaths
    except (AssertionError, KeyError) as error:
        return [f"{type(error).__name__}: {error}", *_voices(shard)]
    finally:
        shard.gate.fault = shard.gate.later = None
        shard.alone()
        await _swept(scene)


def _voices(shard: Shard) -> list[str]:
    said = []
    for victim in (shard.operator, shard.worker):
        lines = [line for line in victim.said(200).splitlines() if "specversion" not in line]
        said.append(f"{victim.module}: " + " | ".join(line[:600] for line in lines[-6:]))
    return said


async def _swept(scene: Scene) -> None:
    """What a failed case left must not disturb the next."""
    if await scene.get() is not None:
        await scene.delete()
        await scene.let_go()


async def find(shards: Sequence[Shard], life: Life) -> Found:
    """The calls of a life, from fault-free runs in several shards at once. Raises AssertionError when one fails."""
    problems = await asyncio.gather(*(live(shard, life, None) for shard in shards))
    assert not any(problems), f"without any fault: {problems}"
    journals = [shard.gate.journal for shard in shards]
    common = set.intersection(*(set(journal) for journal in journals))
    often = {point for point in common if point.number > OFTEN.get(str(point).rpartition("#")[0], 1 << 30)}
    always = [point for point in journals[0] if point in common - often]
    every = set().union(*journals)
    afterwards = frozenset(name for shard in shards for name in shard.gate.afterwards)
    writers = frozenset(name for shard in shards for name in shard.gate.writers)
    return Found(always, sorted(every - common), afterwards, writers)


def cases(life: Life, found: Found, points: Iterable[Point], kinds: Iterable[Kind]) -> list[Case]:
    """Every kind at every point where it has a meaning."""
    faults = [Fault(kind, point) for point in points for kind in kinds]
    return [Case(life.name, fault) for fault in faults if found.makes_sense(fault)]


async def run(shards: Sequence[Shard], wanted: Sequence[Case], budget: float | None = None) -> Tally:
    """Share the cases out among the shards. Begins none after `budget` seconds."""
    tally, left, begun = Tally(), list(wanted), time.monotonic()

    async def work(shard: Shard) -> None:
        while left:
            case = left.pop(0)
            if budget is not None and time.monotonic() - begun > budget:
                tally.left_out.append(case)
                continue
            started = time.monotonic()
            problems, reached = await _tried(shard, case)
            tally.seconds.append(time.monotonic() - started)
            (tally.covered if reached else tally.missed).append(case)
            if problems:
                tally.wrong[str(case)] = problems
                print(f"\n{case}: " + "; ".join(problem[:1500] for problem in problems), flush=True)

    await asyncio.gather(*(work(shard) for shard in shards))
    return tally


async def _tried(shard: Shard, case: Case) -> tuple[list[str], bool]:
    for _ in range(TRIES):
        problems = await live(shard, LIVES[case.life], case.fault)
        if problems or case.fault is None or shard.gate.fired.is_set():
            return problems, True
    return [], False


async def all_quiet(shards: Sequence[Shard], seconds: float) -> list[str]:
    """Once everything has settled nobody writes to the API server any more. Returns what was written all the same."""
    before = {shard.name: len(shard.gate.writes) for shard in shards}
    await asyncio.sleep(seconds)
    return [
        f"{shard.name} wrote: {shard.gate.writes[before[shard.name] :]}"
        for shard in shards
        if len(shard.gate.writes) > before[shard.name]
    ]


def sample(of: Sequence[Case], number: int, seed: str) -> list[Case]:
    """So many of the cases, chosen by the seed."""
    return random.Random(seed).sample(list(of), min(number, len(of)))  # noqa: S311 - chance, not secrets


@dataclass
class Lab:
    """The shards of a test session; what a life consists of is found once."""

    shards: Sequence[Shard]
    folder: Path
    _found: dict[str, Found] = field(default_factory=dict)

    async def found(self, life: Life) -> Found:
        if life.name not in self._found:
            self._found[life.name] = await find(self.shards, life)
        return self._found[life.name]

    async def found_all(self) -> dict[str, Found]:
        """The calls of all lives at the same time, each from its part of the shards."""
        part = max(1, len(self.shards) // len(LIVES))
        groups = [self.shards[number * part : (number + 1) * part] for number in range(len(LIVES))]
        found = await asyncio.gather(
            *(find(group, life) for group, life in zip(groups, LIVES.values(), strict=True) if group)
        )
        return dict(zip(LIVES, found, strict=False))


async def judge(lab: Lab, what: str, wanted: Sequence[Case], calls: int, seconds_left: float | None = None) -> None:
    """Live all cases and tell what came of them. Raises AssertionError when one went wrong or was never reached."""
    tally = await run(lab.shards, wanted, seconds_left)
    report = tally.report(what, calls)
    print(f"\n{report}", flush=True)
    assert not tally.wrong, report
    reached = {case.fault.point.name for case in tally.covered if case.fault}
    never = [case for case in tally.missed if case.fault is None or case.fault.point.name not in reached]
    assert not never, f"never reached: {', '.join(map(str, never))}\n{report}"
