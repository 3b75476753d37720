"""A fault at every call of a run's life: whatever dies, gets lost or answers late, the life ends as it should.

The calls of operator and worker, to the API server, to Temporal and to the registry, are found by lives without a
fault. The processes are the real ones; the API server, its Job controller and garbage collector, Temporal and the
registry are real as well. Nodes are played: a kubelet of ours takes the pods and does what a no-op step would.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.harness.calls import Point
from tests.support.harness.campaign import Batch, Found, Lab, all_reached, judge, run, sample, tell
from tests.support.harness.gate import KILLS, Fault, Kind
from tests.support.harness.lives import DELETED_IN, of_kind
from tests.support.harness.packing import Case, packed

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = Path(__file__).resolve()
ROOT = FILE.parents[2]
BROKEN = {
    "kubernetes": (Kind.RESET, Kind.CONFLICT, Kind.ERROR),
    "temporal": (Kind.DROP, Kind.RESET),
    "registry": (Kind.RESET, Kind.ERROR),
}
"""What is tried at every call, since a client has to make something of it; of the others a sample."""
RARE = (Kind.DELAY, Kind.HANG, Kind.THROTTLE, Kind.STALE)
RARE_ONES = 160
PARTS = 8
KINDS = ("ImageBuild", "PatchCampaign")
FIRST_STAGES = {of_kind(kind)[0].stages[0] for kind in KINDS}


def every_fault(found: Found, seed: str) -> list[Fault]:
    """All that is tried of operator and worker."""
    faults = found.faults(KILLS)
    for bank, kinds in BROKEN.items():
        faults += found.faults(kinds, found.of(bank=bank))
    faults += found.faults([Kind.EDIT], [point for point in found.always if point.bank != "registry"])
    faults += found.faults([Kind.DELETE], [point for point in found.always if point.stage in DELETED_IN])
    faults += found.faults([Kind.LATE], [point for point in found.always if _can_come_too_late(found, point)])
    return faults + sample([fault for fault in found.faults(RARE) if _has_a_meaning(fault)], RARE_ONES, seed)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def campaign(
    lab: Lab, request: pytest.FixtureRequest, time_left: Callable[[], float | None]
) -> AsyncIterator[Campaign]:
    """All parts of this session, under way: no shard waits for the end of a part."""
    functions = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == FILE]
    parameters = [item.callspec.params for item in functions if hasattr(item, "callspec")]
    chosen = [(found["kind"], found["part"]) for found in parameters if "part" in found]
    cases = {kind: await _cases(lab, kind) for kind in KINDS if kind in {kind for kind, _ in chosen}}
    batches = {(kind, part): Batch(cases[kind][part - 1 :: PARTS]) for kind, part in chosen}
    running = asyncio.create_task(run(lab.shards, list(batches.values()), time_left()))
    yield Campaign(batches, running)
    running.cancel()


async def _cases(lab: Lab, kind: str) -> list[Case]:
    found = await lab.found(kind)
    faults = every_fault(found, _seed())
    cases = packed(faults, _seed())
    names = len({point.kind for point in found.always})
    calls = f"{kind}: {len(found.always)} calls of {names} names found"
    print(f"\n{calls}, {len(faults)} faults in {len(cases)} lives", flush=True)
    return cases


@dataclass(frozen=True)
class Campaign:
    """Every fault at every call of each kind, in parts."""

    parts: dict[tuple[str, int], Batch]
    running: asyncio.Task[None]

    async def come_to(self, batch: Batch) -> None:
        """Wait until a batch is over. Raises whatever ended the campaign."""
        done = asyncio.create_task(batch.done.wait())
        await asyncio.wait([done, self.running], return_when=asyncio.FIRST_COMPLETED)
        if not batch.done.is_set():
            self.running.result()


@pytest.mark.parametrize("part", range(1, PARTS + 1), ids=lambda part: f"part-{part}-of-{PARTS}")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_at_any_call_changes_no_end(campaign: Campaign, kind: str, part: int) -> None:
    """SIGKILL, a stop and a replacement; an answer lost, late, old or an error; an edit, a deletion."""
    batch = campaign.parts[kind, part]
    await campaign.come_to(batch)
    tell(f"{kind}, part {part} of {PARTS}, BASCULE_FAULT_SEED={_seed()}", batch.tally)
    mine = {number: batch.tally for (whose, number), batch in campaign.parts.items() if whose == kind}
    if part == max(mine):
        all_reached(list(mine.values()))


def _can_come_too_late(found: Found, point: Point) -> bool:
    """Writes. What a worker tells Temporal about a task counts only as long as the task is its own."""
    return point.name in found.writers and (point.who, point.bank) != ("worker", "temporal")


def _has_a_meaning(fault: Fault) -> bool:
    """Only reads of the API server can be old."""
    point = fault.point
    return fault.kind is not Kind.STALE or (
        point.bank == "kubernetes" and _nth(point) > 1 and point.name.startswith(("get ", "list "))
    )


def _nth(point: Point) -> int:
    """Numbers begin anew with each stage; what was answered in an earlier one is old as well."""
    return point.number + (point.stage not in FIRST_STAGES)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", KINDS)
async def test_ten_faults_chosen_by_the_commit_or_the_case_that_is_named(
    lab: Lab, request: pytest.FixtureRequest, kind: str
) -> None:
    if named := request.config.getoption("--fault"):
        case = Case.parse(named)
        if case.life in {life.name for life in of_kind(kind)}:
            await judge(lab, named, [case])
        return
    every = every_fault(await lab.found(kind), _seed())
    number = int(os.environ.get("BASCULE_FAULT_SAMPLE", "10"))
    what = f"{kind}: {number} of {len(every)} faults, BASCULE_FAULT_SEED={_seed()}"
    await judge(lab, what, packed(sample(every, number, _seed()), _seed()))


def _seed() -> str:
    """The commit's, so that every commit tries others and can be repeated."""
    if chosen := os.environ.get("BASCULE_FAULT_SEED"):
        return chosen
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()[:12] or "none"
