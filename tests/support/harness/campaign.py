"""Trying every fault at every call: the calls are found, and the lives in which faults happen shared out."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.harness.calls import Point
from tests.support.harness.gate import Fault, Kind
from tests.support.harness.life import Life
from tests.support.harness.lives import LIVES, of_kind
from tests.support.harness.packing import Case
from tests.support.harness.scene import Scene
from tests.support.harness.shard import Shard

TRIES = 3
"""Not every life makes every call: a fault whose call never came is tried again."""
OFTEN = {
    "operator/temporal/ListWorkflowExecutions": 1,
    "worker/temporal/RecordActivityTaskHeartbeat": 1,
    "operator/kubernetes/get tenants": 1,
    "operator/kubernetes/get namespaces": 1,
    "operator/kubernetes/patch tenants/status": 1,
    **{f"worker/kubernetes/{verb} {kind}": 0 for verb in ("list", "watch") for kind in ("jobs", "pods", "nodes")},
    "operator/temporal/DescribeNamespace": 1,
    "worker/temporal/DescribeNamespace": 0,
    "operator/temporal/ListSearchAttributes": 1,
}
"""Calls made by the clock, and for the tenant a while after a run began or ended: how many of a stage are tried. The
worker's watch of a namespace, or of the nodes, outlives a life by a minute, and begins with none or one list: watches
have tests of their own."""


@dataclass
class Found:
    """The calls of all lives: those that are made whenever a stage is lived, and those that only come at times."""

    always: list[Point]
    sometimes: list[Point]
    afterwards: frozenset[str]
    """Names of calls that have no moment before."""
    writers: frozenset[str]
    """Names of calls that change something."""

    def makes_sense(self, fault: Fault) -> bool:
        """Before and after a mere look are the same; so are after a task is handed out, and before its first call.

        Nobody who only looks is told of a conflict.
        """
        name = fault.point.name
        if name in self.afterwards:
            return fault.kind is Kind.RESET
        return fault.kind not in (Kind.KILL_AFTER, Kind.RESET, Kind.CONFLICT) or name in self.writers

    def of(self, who: str = "", bank: str = "") -> list[Point]:
        return [point for point in self.always if who in ("", point.who) and bank in ("", point.bank)]

    def faults(self, kinds: Iterable[Kind], points: Iterable[Point] | None = None) -> list[Fault]:
        """Every kind at every point where it has a meaning."""
        wanted = list(kinds)
        every = [Fault(kind, point) for point in (self.always if points is None else points) for kind in wanted]
        return [fault for fault in every if self.makes_sense(fault)]


@dataclass
class Tally:
    """What came of a batch."""

    wrong: dict[str, list[str]] = field(default_factory=dict)
    covered: list[Fault] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)
    """Not begun for want of time."""
    seconds: list[float] = field(default_factory=list)
    """Of each life."""

    def report(self, what: str) -> str:
        times = f" of {sum(self.seconds) / len(self.seconds):.0f} s" if self.seconds else ""
        text = f"{what}: {len(self.covered)} faults covered in {len(self.seconds)} lives{times}"
        for name, faults in (
            ("not reached, since these lives made fewer calls of the name", self.missed),
            ("left out for want of time", self.left_out),
        ):
            text += f"; {name}: {', '.join(map(str, faults))}" if faults else ""
        for (who, bank, kind), number in sorted(_families(self.covered).items()):
            text += f"\n  {who} to {bank}: {kind} {number}"
        for case, problems in self.wrong.items():
            text += f"\n  {case}" + "".join(f"\n    {problem}" for problem in problems)
            text += f"\n    again: pytest -m smoke tests/faults/test_every_call.py --fault '{case}'"
        return text


def _families(faults: Iterable[Fault]) -> Counter[tuple[str, str, str]]:
    return Counter((fault.point.who, fault.point.bank, fault.kind.value) for fault in faults)


async def live(shard: Shard, case: Case) -> list[str]:
    """Live a life in a shard, with its faults if it has any. Returns what is wrong."""
    shard.cases += 1
    life = LIVES[case.life]
    scene = life.scene(shard, f"{shard.name}-c{shard.cases}")
    shard.person = scene.interfere
    for proxy in (shard.operator_api, shard.worker_api, shard.registry):
        proxy.forget()
    shard.gate.begin(shard.concerns, case.faults)
    shard.deaths.clear()
    try:
        wrong = await life.play(scene)
    except Exception as error:  # noqa: BLE001 - what goes wrong in one life says nothing about others
        return [f"{type(error).__name__}: {error}", *shard.deaths, *_voices(shard)]
    else:
        return wrong + shard.deaths
    finally:
        shard.gate.faults = {}
        shard.alone()
        await _swept(scene)
        await scene.clear()


def _voices(shard: Shard) -> list[str]:
    said = []
    for victim in (shard.operator, shard.worker):
        lines = [line for line in victim.said(200).splitlines() if "specversion" not in line]
        said.append(f"{victim.module}: " + " | ".join(line[:600] for line in lines[-6:]))
    return said


async def _swept(scene: Scene) -> None:
    """What a failed case left must not disturb the next."""
    if "metadata" not in scene.body:
        return
    scene.release()
    if await scene.get() is not None:
        await scene.delete()
        await scene.let_go()


async def find(shards: Sequence[Shard], lives: Sequence[Life]) -> Found:
    """The calls of lives, from fault-free ones in all shards at once. Raises AssertionError when one fails."""
    journals: defaultdict[str, list[list[Point]]] = defaultdict(list)

    async def lived(shard: Shard, life: Life) -> list[str]:
        problems = await live(shard, Case(life.name))
        for stage in life.stages:
            journals[stage].append([point for point in shard.gate.journal if point.stage == stage])
        return problems

    number = max(len(shards), len(lives))
    chosen = [(shards[turn % len(shards)], lives[turn % len(lives)]) for turn in range(number)]
    problems: list[list[str]] = []
    for begin in range(0, number, len(shards)):
        problems += await asyncio.gather(*(lived(*pair) for pair in chosen[begin : begin + len(shards)]))
    assert not any(problems), f"without any fault: {problems}"
    always: list[Point] = []
    sometimes: set[Point] = set()
    for lists in journals.values():
        common = set.intersection(*map(set, lists))
        always += [
            point for point in lists[0] if point in common and point.number <= OFTEN.get(point.kind, point.number)
        ]
        sometimes |= set().union(*lists) - common
    afterwards = frozenset(name for shard in shards for name in shard.gate.afterwards)
    writers = frozenset(name for shard in shards for name in shard.gate.writers)
    return Found(always, sorted(sometimes), afterwards, writers)


@dataclass
class Batch:
    """Cases that are told of together."""

    cases: Sequence[Case]
    tally: Tally = field(default_factory=Tally)
    done: asyncio.Event = field(default_factory=asyncio.Event)


async def run(shards: Sequence[Shard], batches: Sequence[Batch], budget: float | None = None) -> None:
    """Share the cases out among the shards, batch after batch without a pause. Begins none after `budget` seconds."""
    left, begun = [(batch, case) for batch in batches for case in batch.cases], time.monotonic()
    unfinished = {id(batch): len(batch.cases) for batch in batches}

    async def work(shard: Shard) -> None:
        while left:
            batch, case = left.pop(0)
            if budget is not None and time.monotonic() - begun > budget:
                batch.tally.left_out += case.faults
            elif problems := await _tried(shard, case, batch.tally):
                batch.tally.wrong[str(case)] = problems
                print(f"\n{case}: " + "; ".join(problem[:1500] for problem in problems), flush=True)
            unfinished[id(batch)] -= 1
            if not unfinished[id(batch)]:
                batch.done.set()

    await asyncio.gather(*(work(shard) for shard in shards))


async def _tried(shard: Shard, case: Case, tally: Tally) -> list[str]:
    """Live a case, and again with those of its faults that did not come. Returns what is wrong."""
    left = case
    for _ in range(TRIES):
        started = time.monotonic()
        problems = await live(shard, left)
        tally.seconds.append(time.monotonic() - started)
        came = [fault for fault in left.faults if fault.point in shard.gate.fired]
        tally.covered += came
        if problems:
            return problems + await _each_alone(shard, left)
        left = Case(case.life, tuple(fault for fault in left.faults if fault not in came))
        if not left.faults:
            return []
    tally.missed += left.faults
    return []


async def _each_alone(shard: Shard, case: Case) -> list[str]:
    """Which fault of a life that went wrong is enough for that."""
    if len(case.faults) < 2:
        return []
    told = []
    for fault in case.faults:
        problems = await live(shard, Case(case.life, (fault,)))
        told.append(f"alone, {fault}: " + ("; ".join(problem[:600] for problem in problems) or "nothing is wrong"))
    return told


async def all_quiet(shards: Sequence[Shard], seconds: float) -> list[str]:
    """Once everything has settled nobody writes to the API server any more. Returns what was written all the same."""
    before = {shard.name: len(shard.gate.writes) for shard in shards}
    await asyncio.sleep(seconds)
    return [
        f"{shard.name} wrote: {shard.gate.writes[before[shard.name] :]}"
        for shard in shards
        if len(shard.gate.writes) > before[shard.name]
    ]


def sample(of: Sequence[Fault], number: int, seed: str) -> list[Fault]:
    """So many of the faults, chosen by the seed."""
    return random.Random(seed).sample(list(of), min(number, len(of)))  # noqa: S311 - chance, not secrets


@dataclass
class Lab:
    """The shards of a test session; what lives consist of is found once."""

    shards: Sequence[Shard]
    folder: Path
    _found: dict[str, Found] = field(default_factory=dict)

    async def found(self, kind: str) -> Found:
        if kind not in self._found:
            self._found[kind] = await find(self.shards, of_kind(kind))
        return self._found[kind]


async def judge(lab: Lab, what: str, wanted: Sequence[Case], seconds_left: float | None = None) -> None:
    """Live all cases and tell what came of them. Raises AssertionError when one went wrong or was never reached."""
    batch = Batch(wanted)
    await run(lab.shards, [batch], seconds_left)
    tell(what, batch.tally)
    all_reached([batch.tally])


def tell(what: str, tally: Tally) -> None:
    """Print what came of a batch. Raises AssertionError when something went wrong."""
    report = tally.report(what)
    print(f"\n{report}", flush=True)
    assert not tally.wrong, report


def all_reached(tallies: Sequence[Tally]) -> None:
    """Raises AssertionError with the faults at calls of a name of which none was ever reached."""
    reached = {fault.point.kind for tally in tallies for fault in tally.covered}
    never = [fault for tally in tallies for fault in tally.missed if fault.point.kind not in reached]
    assert not never, f"never reached: {', '.join(map(str, never))}"
