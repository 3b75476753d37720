"""What the status says while a run goes on and when it is over."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bascule_api.conditions import CompensationState, ConditionType, Phase, Reason, StepState, WaitKind
from bascule_api.failures import LOG_CUT, Failure, FailureType
from bascule_api.image_builds import ImageBuildStatus
from bascule_api.progress import CompensationProgress, WaitingProgress
from bascule_api.runs import StepStatus
from bascule_operator.decisions import status, undoing
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.views import RunView
from bascule_operator.decisions.wire import STATUS_LIMIT, wire
from bascule_operator.decisions.wording import length
from tests.support.subjects import NOW, a_closed, an_open, build, progress


def says(view: RunView) -> str:
    told = find(status.running(build().running().subject, view, NOW).conditions, ConditionType.READY)
    assert told is not None
    return told.message


WORDS = [
    pytest.param(an_open(), "step build since 1970-01-01T00:00:01Z is running", id="a step runs"),
    pytest.param(
        an_open(progress=progress(steps=[{"name": "test-a", "state": "Running", "attempts": 3}])),
        "step test-a (attempt 3) is running",
        id="a step is tried again",
    ),
    pytest.param(
        an_open(progress=progress(steps=[{"name": "a", "state": "Running"}, {"name": "b", "state": "Running"}])),
        "steps a, b are running",
        id="two steps run",
    ),
    pytest.param(an_open(progress=progress(steps=[])), "1 of 2 steps done", id="between steps: the run's own words"),
    pytest.param(
        an_open(
            progress=progress(
                phase=Phase.WAITING,
                waiting=WaitingProgress(gate="publish", kind=WaitKind.LEASE, detail="held by x").to_wire(),
            )
        ),
        "waits at publish for Lease: held by x",
        id="a gate",
    ),
    pytest.param(
        an_open(
            progress=progress(
                phase=Phase.COMPENSATING,
                compensation=CompensationProgress(
                    state=CompensationState.RUNNING, completed=1, total=2, last_error="503"
                ).to_wire(),
            )
        ),
        "1 of 2 taken back; last error: 503",
        id="taking back",
    ),
    pytest.param(an_open(None), "run 1 is started; no worker has taken it up yet", id="no worker"),
]


@pytest.mark.parametrize(("view", "expected"), WORDS)
def test_ready_says_what_the_run_does(view: RunView, expected: str) -> None:
    assert says(view) == expected


def test_progress_never_goes_backwards() -> None:
    late = status.running(build().running(progressNumber=5).subject, an_open(at=3), NOW)
    assert late.run is not None
    assert late.run.progress_number == 5
    assert late.progress is None


def test_a_runs_last_word_is_not_its_end() -> None:
    told = status.running(build().running().subject, an_open(progress=progress(9, Phase.SUCCEEDED)), NOW)
    assert told.phase is Phase.RUNNING


def test_code_that_fails_again_and_again_is_a_condition_and_heals() -> None:
    sick = status.running(build().running().subject, an_open(task_attempt=4), NOW)
    told = find(sick.conditions, ConditionType.RUN_HEALTHY)
    assert told is not None
    assert told.reason == Reason.WORKFLOW_TASK_FAILING
    better = status.running(build().running().subject.with_status(sick), an_open(task_attempt=1), NOW)
    assert find(better.conditions, ConditionType.RUN_HEALTHY) is None


def test_messages_and_logs_of_steps_are_carried_forward() -> None:
    known = [{"name": "build", "state": "Running", "message": "half-way", "log": "sha256:" + "a" * 64}]
    told = status.running(build().running().saying(steps=known).subject, an_open(), NOW)
    assert told.steps[1].message == "half-way"
    assert told.steps[1].log == "sha256:" + "a" * 64


def test_a_failure_names_the_step_its_message_and_that_it_was_taken_back() -> None:
    failure = Failure(step="test-smoke", type=FailureType.TEST_FAILED, message="exit code 3\n")
    view = a_closed(Phase.FAILED, CompensationState.SUCCEEDED, failure)
    told = undoing.finished(build().running().subject, view, NOW)
    ready = find(told.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message == "test smoke failed: exit code 3; what the run had made was taken back"
    assert told.history[0].summary == "test smoke failed: exit code 3"


def test_a_run_says_how_long_it_took() -> None:
    told = undoing.finished(build().running().subject, a_closed(), NOW)
    assert told.run is not None
    assert (told.run.duration, told.run.outcome) == ("9m", Phase.SUCCEEDED)


def test_steps_of_a_run_that_ended_without_a_word_are_not_left_running() -> None:
    steps = [{"name": "a", "state": "Succeeded"}, {"name": "b", "state": "Running"}, {"name": "c", "state": "Pending"}]
    told = undoing.finished(build().running().saying(steps=steps).subject, a_closed(result=None), NOW)
    assert [step.state for step in told.steps] == [StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED]


def test_a_run_that_closed_while_compensating_has_not_settled() -> None:
    told = undoing.finished(build().running().subject, a_closed(Phase.FAILED, CompensationState.RUNNING), NOW)
    assert told.compensation is not None
    assert told.compensation.state is CompensationState.FAILED


def test_history_keeps_the_last_five() -> None:
    past = [
        {"number": number, "revision": "1-x", "trigger": "Request", "phase": "Failed"} for number in range(6, 1, -1)
    ]
    told = undoing.finished(build().running(7).saying(history=past).subject, a_closed(), NOW)
    assert [item.number for item in told.history] == [7, 6, 5, 4, 3]


def test_an_outage_keeps_its_first_words_and_so_writes_nothing_new() -> None:
    subject = build().running().subject
    first = status.unavailable(subject, "does not answer", NOW)
    again = status.unavailable(subject.with_status(first), "does not answer", NOW + timedelta(minutes=3))
    assert wire(again) == wire(first)
    ready = find(first.conditions, ConditionType.READY)
    assert ready is not None
    assert "since 2026-11-22T12:00:00Z" in ready.message


def test_a_condition_changes_its_time_only_when_its_status_flips() -> None:
    subject = build().running().subject
    first = status.running(subject, an_open(), NOW)
    other = status.running(
        subject.with_status(first), an_open(progress=progress(2, steps=[])), NOW + timedelta(hours=1)
    )
    before, after = find(first.conditions, ConditionType.READY), find(other.conditions, ConditionType.READY)
    assert before is not None
    assert after is not None
    assert before.message != after.message
    assert after.last_transition_time == before.last_transition_time
    over = undoing.finished(subject.with_status(other), a_closed(), NOW + timedelta(hours=2))
    ended = find(over.conditions, ConditionType.READY)
    assert ended is not None
    assert ended.last_transition_time == NOW + timedelta(hours=2)


def test_the_status_stays_under_its_limit_whatever_the_steps_say() -> None:
    told = undoing.finished(build().running().subject, a_closed(), NOW)
    loud = told.model_copy(update={"steps": [StepStatus(name=f"s{n}", message="é" * 4096) for n in range(64)]})
    assert len(json.dumps(wire(loud)).encode()) <= STATUS_LIMIT
    assert len(wire(loud)["steps"]) == 64


def test_what_was_handled_is_written_even_when_it_was_nothing() -> None:
    told = undoing.finished(build().running().subject, a_closed(), NOW)
    assert wire(told)["handled"] == {"request": ""}


SPANS = [
    pytest.param(timedelta(seconds=133), "2m13s", id="minutes and seconds"),
    pytest.param(timedelta(0), "0s", id="nothing"),
    pytest.param(timedelta(days=1, hours=2), "1d2h", id="days"),
    pytest.param(timedelta(seconds=-3), "0s", id="clocks that disagree"),
]


@pytest.mark.parametrize(("span", "expected"), SPANS)
def test_spans_are_written_as_people_write_them(span: timedelta, expected: str) -> None:
    assert length(span) == expected


def test_a_failed_steps_log_gives_way_before_messages_and_keeps_its_end() -> None:
    failure = Failure(step="build", type=FailureType.BUILD_FAILED, message="no", log="é" * 16_000 + "\nthe end")
    steps = [StepStatus(name=f"test-{n}", state=StepState.FAILED, message="m" * 1000) for n in range(8)]
    written = wire(ImageBuildStatus(failure=failure, steps=steps))
    assert len(json.dumps(written, ensure_ascii=False).encode()) <= STATUS_LIMIT
    assert written["failure"]["log"].startswith(LOG_CUT)
    assert written["failure"]["log"].endswith("\nthe end")
    assert len(written["failure"]["log"]) == 8192
    assert {len(step["message"]) for step in written["steps"]} == {1000}


def test_a_short_log_is_written_as_it_is() -> None:
    failure = Failure(step="build", type=FailureType.BUILD_FAILED, message="no", log="the end")
    assert wire(ImageBuildStatus(failure=failure))["failure"]["log"] == "the end"
