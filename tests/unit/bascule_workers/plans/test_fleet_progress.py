"""How the targets of a campaign stand, as its status shows them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.fleets import CELLS, Target, TargetPhase
from bascule_api.patch_campaign_status import CELLS_LIMIT, FAILURES_LIMIT, IN_PROGRESS_LIMIT, TargetsStatus, WaveStatus
from bascule_workers.patch_campaigns import Plan, PlannedWave, TargetReport
from bascule_workers.plans import fleet_progress
from bascule_workers.plans.fleet_progress import Fleet

P = TargetPhase


def fleet(*sizes: int, name: str = "node-{}", skipped: int = 0) -> Fleet:
    waves = [
        PlannedWave(name=f"wave-{number}", targets=[Target(name=name.format(f"{number}-{i}")) for i in range(size)])
        for number, size in enumerate(sizes)
    ]
    return Fleet.of(Plan(digest=f"sha256:{'0' * 64}", waves=waves, skipped=[f"s{i}" for i in range(skipped)]))


def report(index: int, phase: TargetPhase, **fields: object) -> TargetReport:
    return TargetReport.model_validate({"index": index, "phase": phase, **fields})


def test_counts_are_exact_and_names_are_those_that_matter() -> None:
    found = fleet(3, 4, skipped=5)
    found.waves[0].update([report(i, P.PATCHED) for i in range(3)])
    found.waves[1].update(
        [
            report(0, P.DRAINING, since=20, message="the pod web/a stays"),
            report(1, P.FAILED, failed_in=P.PATCHING, message="exit code 3", rolled_back=True),
            report(2, P.PATCHING, since=10),
        ]
    )

    status = found.targets_status()

    assert (status.total, status.patched, status.failed, status.skipped) == (12, 3, 1, 5)
    assert status.summary == "8/12, 1 failed"
    assert [(t.name, t.phase, t.message) for t in status.in_progress] == [
        ("node-1-2", P.PATCHING, ""),
        ("node-1-0", P.DRAINING, "the pod web/a stays"),
    ]
    assert [(t.name, t.phase, t.rolled_back) for t in status.failures] == [("node-1-1", P.PATCHING, True)]
    assert [wave.status().cells for wave in found.waves] == ["PPP", "dFp."]
    assert found.patched_names() == ["node-0-0", "node-0-1", "node-0-2"]


def test_names_are_capped() -> None:
    found = fleet(100)
    found.waves[0].update([report(i, P.FAILED if i % 2 else P.PATCHING, since=1) for i in range(100)])

    status = found.targets_status()

    assert (len(status.in_progress), len(status.failures)) == (IN_PROGRESS_LIMIT, FAILURES_LIMIT)
    assert status.failed == 50


@pytest.mark.parametrize(
    ("phases", "shown"),
    [
        pytest.param([P.PATCHED, P.FAILED], "F", id="a failure before all"),
        pytest.param([P.PATCHED, P.DRAINING], "d", id="what goes on before what is done"),
        pytest.param([P.PATCHED, P.PENDING], ".", id="what is not done before what is"),
        pytest.param([P.SKIPPED, P.PATCHED], "S", id="what was skipped before what was patched"),
    ],
)
def test_a_cell_that_stands_for_several_shows_what_matters_most(phases: list[TargetPhase], shown: str) -> None:
    assert fleet_progress.cells(phases, 1) == shown


@given(st.lists(st.sampled_from(list(TargetPhase)), max_size=700))
def test_a_picture_has_all_phases_in_order_within_its_bound(phases: list[TargetPhase]) -> None:
    picture = fleet_progress.cells(phases)

    assert len(picture) <= CELLS_LIMIT
    assert set(picture) <= set(CELLS)
    if len(phases) <= CELLS_LIMIT:
        assert [CELLS[cell] for cell in picture] == phases
    assert (P.FAILED in phases) == ("F" in picture)


@pytest.mark.parametrize("room", [1_000, 3_000, 5_000, 8_000])
@pytest.mark.parametrize("length", [10, 253])
def test_facts_fit_whatever_the_fleet_and_counts_stay(room: int, length: int) -> None:
    found = fleet(*[312] * 16, name="n" * (length - 8) + "{}")
    for wave in found.waves:
        wave.update([report(i, P.FAILED, failed_in=P.PATCHING, message="ü" * 256) for i in range(30)])
        wave.update([report(i, P.DRAINING, since=5, message="x" * 256) for i in range(30, 60)])

    told = fleet_progress.facts(found, room)

    assert len(json.dumps(told, ensure_ascii=False).encode()) <= room
    assert TargetsStatus.model_validate(told["targets"]).failed == 480
    if room >= 3_000:
        assert [WaveStatus.model_validate(wave).failed for wave in told["waves"]] == [30] * 16


def test_a_small_fleet_is_told_whole() -> None:
    found = fleet(3, 4)
    told = fleet_progress.facts(found, 4_000)
    assert [wave["names"] for wave in told["waves"]] == [
        ["node-0-0", "node-0-1", "node-0-2"],
        ["node-1-0", "node-1-1", "node-1-2", "node-1-3"],
    ]
