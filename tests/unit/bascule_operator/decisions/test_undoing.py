"""Taking back what a run left once it is over: when, what of it, what the status says, and how people get out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, Reason
from bascule_api.runs import CompensationScope, RunStatus
from bascule_operator.decisions import life
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.moves import CancelRun, Decision, LetGo, Look, Observed, Project, StartUndo
from bascule_operator.decisions.subjects import Subject, watched
from bascule_operator.decisions.views import Closed, RunState
from tests.support.subjects import (
    ABSENT,
    NOW,
    UID,
    ABuild,
    a_closed,
    a_closed_undo,
    an_open,
    an_open_undo,
    build,
    observed,
    publication,
)


def shape(decision: Decision) -> tuple[object, ...]:
    """What a decision comes to: of a status, what it says and what it intends to undo."""
    match decision:
        case Project(status=status):
            ready, undo = find(status.conditions, ConditionType.READY), status.compensation
            told = (undo.state, undo.scope, undo.attempt) if undo else ()
            return ("says", status.phase, ready.reason if ready else None, *told)
        case StartUndo(undo=undo):
            return ("undoes", undo.scope, undo.attempt)
        case CancelRun(reason=reason):
            return ("cancels", reason)
        case LetGo(run=run):
            return ("lets go", run.number if run else None)
        case Look(fresh=fresh, describe=describe):
            return ("looks", fresh, describe)
        case _:
            return (type(decision).__name__,)


def undoing(phase: Phase, reason: Reason, scope: str, attempt: int = 1) -> tuple[object, ...]:
    return ("says", phase, reason, CompensationState.RUNNING, CompensationScope(scope), attempt)


TERMINATED = a_closed(result=None, closed=Closed.TERMINATED)
GONE = build().deleting()


def published(made: ABuild) -> ABuild:
    return made.finished().standing()


UNDOING_ALL = published(GONE.compensating("Always")).undoing(scope="All")

DELETION = [
    pytest.param(
        observed(published(GONE.compensating("Always"))),
        undoing(Phase.SUCCEEDED, Reason.DELETING, "All"),
        id="Always: the intent of undoing all that stands is written",
    ),
    pytest.param(
        observed(published(GONE.compensating("Always")), fresh=False),
        ("looks", True, False),
        id="... decided on a fresh GET",
    ),
    pytest.param(
        observed(UNDOING_ALL, ABSENT),
        ("undoes", CompensationScope.ALL, 1),
        id="... then it starts",
    ),
    pytest.param(
        observed(UNDOING_ALL, ABSENT, fresh=False),
        ("looks", True, True),
        id="... on a fresh look as well",
    ),
    pytest.param(
        observed(UNDOING_ALL, an_open_undo()),
        undoing(Phase.SUCCEEDED, Reason.DELETING, "All"),
        id="... its progress is told, and the phase of the run stays",
    ),
    pytest.param(
        observed(UNDOING_ALL, replace(a_closed_undo(), described=False)),
        ("looks", False, True),
        id="... its end is believed from a describe only",
    ),
    pytest.param(
        observed(GONE.compensating("Always").finished(compensation="Succeeded").standing(standing=[])),
        ("ReleaseFinalizer",),
        id="... and once nothing stands, it goes",
    ),
    pytest.param(
        observed(GONE.compensating("Always").finished(compensation="Succeeded").standing(standing=[]), fresh=False),
        ("looks", True, False),
        id="... on a fresh GET",
    ),
    pytest.param(
        observed(GONE.compensating("Always").finished(Phase.FAILED, "Succeeded").standing()),
        undoing(Phase.FAILED, Reason.DELETING, "All"),
        id="Always: what an earlier run published goes, too, when the last one failed",
    ),
    pytest.param(
        observed(GONE.compensating("Always").intended(number=2).standing(), ABSENT),
        ("says", Phase.CANCELLED, Reason.CANCELLED, CompensationState.NOTHING_TO_DO, None, 0),
        id="Always: a run that was never started does not hide what stands",
    ),
    pytest.param(
        observed(GONE.compensating("Always").finished().saying(published={"repository": "r.example.com/a"})),
        undoing(Phase.SUCCEEDED, Reason.DELETING, "All"),
        id="Always: what was published before there were records goes as well",
    ),
    pytest.param(observed(published(GONE)), ("ReleaseFinalizer",), id="WhenUnfinished: what is published stays"),
    pytest.param(observed(published(GONE.compensating("Never"))), ("ReleaseFinalizer",), id="Never: it stays, too"),
    pytest.param(
        observed(GONE.finished().standing(publication(kept=True))),
        undoing(Phase.SUCCEEDED, Reason.DELETING, "Releases"),
        id="a login that was kept for undoing is released first",
    ),
    pytest.param(
        observed(GONE.compensating("Never").running(cancelCause="Deleted"), an_open()),
        ("cancels", names.CANCEL_DELETED_RELEASES_ONLY),
        id="Never: an unfinished run only releases",
    ),
    pytest.param(
        observed(GONE.compensating("Never").running(), TERMINATED),
        undoing(Phase.FAILED, Reason.DELETING, "Releases"),
        id="Never: so does what follows a run that Temporal ended",
    ),
    pytest.param(
        observed(UNDOING_ALL, silence="does not answer"),
        ("says", Phase.SUCCEEDED, Reason.TEMPORAL_UNAVAILABLE, CompensationState.RUNNING, CompensationScope.ALL, 1),
        id="Temporal away: it stays, and says so",
    ),
    pytest.param(observed(GONE.without_finalizer().finished().standing()), ("Leave",), id="without our finalizer"),
]


@pytest.mark.parametrize(("seen", "expected"), DELETION)
def test_deletion_of_finished_runs(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


LATELY = [(NOW - timedelta(seconds=20)).isoformat()]

RETRIES = [
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed")),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, None, 0),
        id="it stays",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(2, state="Failed").requested()),
        undoing(Phase.FAILED, Reason.COMPENSATING, "Run", 3),
        id="a request tries again, with the next attempt",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed").requested(), fresh=False),
        ("looks", True, False),
        id="... decided on a fresh GET",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed").handling(request="r1").requested()),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, None, 0),
        id="... once per request",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed").handling(reruns=LATELY).requested()),
        ("says", Phase.FAILED, Reason.RERUN_THROTTLED, CompensationState.FAILED, None, 0),
        id="... and not more often than runs",
    ),
    pytest.param(
        observed(build().finished(Phase.SUCCEEDED, "Failed").requested()),
        undoing(Phase.SUCCEEDED, Reason.COMPENSATING, "Releases"),
        id="of a success only the releases are tried again",
    ),
    pytest.param(
        observed(GONE.finished(Phase.CANCELLED, "Failed").requested()),
        undoing(Phase.CANCELLED, Reason.DELETING, "Run"),
        id="while it is being deleted, too",
    ),
    pytest.param(
        observed(GONE.compensating("Always").finished(Phase.CANCELLED, "Failed").standing().requested()),
        undoing(Phase.CANCELLED, Reason.DELETING, "All"),
        id="... with all that stands, where it is to go",
    ),
    pytest.param(
        observed(build().suspended().finished(Phase.FAILED, "Failed").requested()),
        undoing(Phase.FAILED, Reason.COMPENSATING, "Run"),
        id="suspended: taking back waits for nobody",
    ),
]


@pytest.mark.parametrize(("seen", "expected"), RETRIES)
def test_a_compensation_that_failed(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


def told(seen: Observed) -> RunStatus:
    decision = life.decide(seen)
    assert isinstance(decision, Project | LetGo)
    return decision.status


def after(made: ABuild, status: RunStatus) -> Subject:
    return made.subject.with_status(status)


def test_a_retry_counts_as_the_request_and_keeps_what_was_left_in_sight() -> None:
    left = {"state": "Failed", "attempt": 1, "left": ["r.test/a@sha256:1"], "lastError": "refused"}
    status = told(observed(build().finished(Phase.FAILED).saying(compensation=left).requested("again")))
    assert status.handled is not None
    assert (status.handled.request, len(status.handled.reruns)) == ("again", 1)
    assert status.compensation is not None
    assert (status.compensation.attempt, status.compensation.left) == (2, ["r.test/a@sha256:1"])


def test_a_retry_is_not_told_to_wait_for_what_the_run_still_does() -> None:
    failed = build().finished(Phase.FAILED).saying(failure={"type": "RunLost", "message": "gone"})
    decision = life.decide(observed(failed.undoing(2), ABSENT))
    assert isinstance(decision, StartUndo)
    assert not decision.abandoned


def test_progress_is_told_with_what_fails_and_never_goes_back() -> None:
    made = build().finished(Phase.FAILED).undoing(run_id="undo-1", completed=2)
    status = told(observed(made, an_open_undo(completed=1, total=3, last_error="the registry refuses")))
    undo = status.compensation
    assert undo is not None
    assert (undo.completed, undo.total, undo.last_error) == (2, 3, "the registry refuses")
    ready = find(status.conditions, ConditionType.READY)
    compensated = find(status.conditions, ConditionType.COMPENSATED)
    assert ready is not None
    assert compensated is not None
    assert "2 of 3 taken back; last error: the registry refuses" in ready.message
    assert compensated.status is ConditionStatus.UNKNOWN


def test_a_last_word_is_looked_at_soon() -> None:
    decision = life.decide(observed(build().finished(Phase.FAILED).undoing(), an_open_undo(state="Succeeded")))
    assert isinstance(decision, Project)
    assert decision.again == 0.3


def test_a_failed_undo_says_what_is_left_and_how_to_try_again() -> None:
    failed = a_closed_undo(CompensationState.FAILED, left=["r.test/a@sha256:1"], last_error="refused")
    status = told(observed(build().finished(Phase.FAILED).undoing(2), failed))
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert "r.test/a@sha256:1" in ready.message
    assert names.REQUESTED_AT in ready.message
    undo = status.compensation
    assert undo is not None
    assert (undo.attempt, undo.run_id, undo.workflow_id) == (2, "undo-1", f"imagebuild/{UID}/1/undo/2")


def test_nothing_watched_in_temporal_means_nothing_is_live() -> None:
    assert watched(build().finished().subject.status) == ""
    assert watched(build().running().subject.status) == f"imagebuild/{UID}/1"
    assert RunState.UNKNOWN is observed(build()).view.state
