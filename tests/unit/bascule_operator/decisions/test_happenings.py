"""Events are told on transitions, and on nothing else."""

from __future__ import annotations

from bascule_api.conditions import CompensationState, Phase, Reason
from bascule_api.failures import Failure, FailureType
from bascule_operator.decisions import status, undoing
from bascule_operator.decisions.happenings import happenings
from bascule_operator.decisions.views import Problem
from tests.support.subjects import NOW, a_closed, an_open, build, progress


def test_the_end_of_a_run_and_its_compensation_are_told_once() -> None:
    subject = build().running().subject
    failure = Failure(step="test-smoke", type=FailureType.TEST_FAILED, message="exit code 3")
    over = undoing.finished(subject, a_closed(Phase.FAILED, CompensationState.SUCCEEDED, failure), NOW)
    told = [(item.reason, item.note, item.warning) for item in happenings(subject.status, over)]
    assert told == [
        ("RunFailed", "run 1: test smoke failed: exit code 3", True),
        ("Compensated", "run 1: what it had made was taken back", False),
    ]
    assert happenings(over, over) == []


def test_a_step_that_fails_is_told_with_its_message() -> None:
    subject = build().running().subject
    failed = status.running(subject, an_open(progress=progress(steps=[{"name": "test-a", "state": "Failed"}])), NOW)
    assert [item.reason for item in happenings(subject.status, failed)] == ["StepFailed"]
    assert happenings(failed, failed) == []


def test_what_keeps_a_run_from_starting_is_told_and_so_is_the_rejection() -> None:
    subject = build().subject
    waits = status.blocked(subject, Problem(Reason.TENANT_NOT_FOUND, "no Tenant claims it"), NOW)
    (told,) = happenings(subject.status, waits)
    assert (told.reason, told.warning) == ("TenantNotFound", True)
    wrong = status.blocked(subject, Problem(Reason.PARAMETERS_INVALID, "x is required", final=True), NOW)
    (told,) = happenings(subject.status, wrong)
    assert (told.reason, told.note) == ("Rejected", "ParametersInvalid: x is required")
    assert happenings(wrong, wrong) == []


def test_mere_progress_is_no_event() -> None:
    subject = build().running().subject
    first = status.running(subject, an_open(1), NOW)
    second = status.running(subject.with_status(first), an_open(2), NOW)
    assert happenings(first, second) == []
