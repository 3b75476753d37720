"""Progress stays within its bound, whatever a run is made of."""

from __future__ import annotations

import json

from bascule_api.conditions import CompensationState, Phase, StepState
from bascule_api.progress import PROGRESS_LIMIT, CompensationProgress, Progress, StepProgress
from bascule_workers.plans.progress import StepRecord, bounded, message_of


def size(progress: Progress) -> int:
    return len(json.dumps(progress.to_wire(), ensure_ascii=False).encode())


def test_facts_give_way_first_and_the_rest_stays() -> None:
    steps = [
        StepProgress(name=f"test-{'x' * 40}{n}", state=StepState.RUNNING, started=1_900_000_000) for n in range(21)
    ]
    left = ["registry.example.com/a/b:" + "t" * 230] * 50
    full = Progress(
        number=3,
        phase=Phase.COMPENSATING,
        steps=steps,
        facts={"published": {"tags": ["x" * 300] * 16}},
        compensation=CompensationProgress(state=CompensationState.RUNNING, last_error="e" * 1024, left=left),
    )
    assert size(full) > PROGRESS_LIMIT
    told = bounded(full)
    assert size(told) <= PROGRESS_LIMIT
    assert told.steps == full.steps
    assert told.facts == {}


def test_what_fits_is_told_whole() -> None:
    progress = Progress(number=1, phase=Phase.RUNNING, facts={"source": {"revision": "abc"}})
    assert bounded(progress) is progress


def test_the_message_names_what_runs_and_what_is_in_its_way() -> None:
    records = [
        StepRecord("build", StepState.SUCCEEDED, note="old"),
        StepRecord("test-a", StepState.RUNNING, note="attempt 2: away"),
        StepRecord("test-b", StepState.RUNNING),
    ]
    assert message_of(records) == "test-a: attempt 2: away; test-b"
