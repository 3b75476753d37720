"""A fault at every call of a run's life: whatever dies, gets lost or answers late, the life ends as it should.

The calls of operator and worker, to the API server, to Temporal and to the registry, are found by lives without a
fault. The processes are the real ones; the API server, its Job controller and garbage collector, Temporal and the
registry are real as well. Nodes are played: a kubelet of ours takes the pods and does what a no-op step would.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.harness.campaign import Case, Lab, cases, judge, sample
from tests.support.harness.gate import KILLS, Kind
from tests.support.harness.lives import LIVES, Life

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).resolve().parents[2]
BANKS = [
    ("operator", "kubernetes"),
    ("operator", "temporal"),
    ("worker", "kubernetes"),
    ("worker", "temporal"),
    ("worker", "registry"),
]
BROKEN = {
    "kubernetes": (Kind.RESET, Kind.CONFLICT, Kind.ERROR),
    "temporal": (Kind.DROP, Kind.RESET),
    "registry": (Kind.RESET, Kind.ERROR),
}
"""What is tried at every call, since a client has to make something of it; of the others a sample."""
RARE = (Kind.DELAY, Kind.HANG, Kind.THROTTLE, Kind.STALE)
EVERY_LIFE = pytest.mark.parametrize("life", LIVES.values(), ids=lambda life: life.name)
EVERY_BANK = pytest.mark.parametrize(("who", "bank"), BANKS, ids=[f"{who}-{bank}" for who, bank in BANKS])


@EVERY_BANK
@EVERY_LIFE
async def test_sigkill_before_and_after_every_call_changes_no_end(
    lab: Lab, life: Life, who: str, bank: str, seconds_left: float | None
) -> None:
    found = await lab.found(life)
    points = found.of(who, bank)
    what = f"{life.name}: {who} killed before and after its calls to {bank}"
    await judge(lab, what, cases(life, found, points, KILLS), len(points), seconds_left)


@EVERY_LIFE
@pytest.mark.parametrize("who", ["operator", "worker"])
async def test_a_spec_edited_between_any_two_calls_is_taken_up(
    lab: Lab, life: Life, who: str, seconds_left: float | None
) -> None:
    found = await lab.found(life)
    points = [point for point in found.of(who) if point.bank != "registry"]
    what = f"{life.name}: the spec edited while {who} calls"
    await judge(lab, what, cases(life, found, points, [Kind.EDIT]), len(points), seconds_left)


@pytest.mark.parametrize("who", ["operator", "worker"])
async def test_a_deletion_between_any_two_calls_leaves_nothing(lab: Lab, who: str, seconds_left: float | None) -> None:
    life = LIVES["success"]
    found = await lab.found(life)
    points = found.of(who)
    what = f"{life.name}: the resource deleted while {who} calls"
    await judge(lab, what, cases(life, found, points, [Kind.DELETE]), len(points), seconds_left)


@EVERY_BANK
@EVERY_LIFE
async def test_an_answer_that_is_lost_or_an_error_is_got_over(
    lab: Lab, life: Life, who: str, bank: str, seconds_left: float | None
) -> None:
    found = await lab.found(life)
    points = found.of(who, bank)
    what = f"{life.name}: answers to the calls of {who} to {bank} lost, or errors"
    await judge(lab, what, cases(life, found, points, BROKEN[bank]), len(points), seconds_left)


@EVERY_LIFE
async def test_an_answer_that_is_late_old_or_never_comes_is_got_over(
    lab: Lab, life: Life, seconds_left: float | None
) -> None:
    found = await lab.found(life)
    every = [case for case in cases(life, found, found.always, RARE) if _has_a_meaning(case)]
    chosen = sample(every, 40, _seed())
    what = f"{life.name}: 40 of {len(every)} cases of late, old and missing answers, seed {_seed()}"
    await judge(lab, what, chosen, len(found.always), seconds_left)


def _has_a_meaning(case: Case) -> bool:
    """Only reads of the API server can be old."""
    assert case.fault is not None
    point = case.fault.point
    return case.fault.kind is not Kind.STALE or (
        point.bank == "kubernetes" and point.number > 1 and point.name.startswith(("get ", "list "))
    )


@pytest.mark.smoke
async def test_ten_cases_chosen_by_the_commit_or_the_one_that_is_named(
    lab: Lab, request: pytest.FixtureRequest
) -> None:
    if named := request.config.getoption("--fault"):
        await judge(lab, named, [Case.parse(named)], 1)
        return
    every: list[Case] = []
    for name, found in (await lab.found_all()).items():
        every += cases(LIVES[name], found, found.always, [*KILLS, Kind.EDIT, Kind.DELETE, Kind.RESET])
    what = f"ten of {len(every)} cases, BASCULE_FAULT_SEED={_seed()}"
    await judge(lab, what, sample(every, 10, _seed()), 10)


def _seed() -> str:
    """The commit's, so that every commit tries others and can be repeated."""
    if chosen := os.environ.get("BASCULE_FAULT_SEED"):
        return chosen
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()[:12] or "none"
