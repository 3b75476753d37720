"""Taking back what a run left once it is over: when, what of it, what the status says, and how people get out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, Reason
from bascule_api.runs import CancelCause, CompensationScope, CompensationStatus, RunStatus
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
    identity,
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


LOST = undoing(Phase.FAILED, Reason.COMPENSATING, "Run")
RESET = {"cancelCause": "Reset"}
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


ENDED = [
    pytest.param(observed(build().running(), TERMINATED), LOST, id="terminated"),
    pytest.param(observed(build().running(), replace(TERMINATED, closed=Closed.TIMED_OUT)), LOST, id="timed out"),
    pytest.param(observed(build().running(), replace(TERMINATED, closed=Closed.OTHER)), LOST, id="continued as new"),
    pytest.param(
        observed(build().running(progressNumber=3), replace(TERMINATED, closed=Closed.CANCELED)),
        LOST,
        id="cancelled without a word",
    ),
    pytest.param(observed(build().running(), a_closed(result=None, unreadable="odd")), LOST, id="an unreadable result"),
    pytest.param(observed(build().running(), ABSENT), LOST, id="lost, or past its retention"),
    pytest.param(
        observed(build().running(), replace(TERMINATED, described=False)),
        ("looks", False, True),
        id="the feed is not believed",
    ),
    pytest.param(
        observed(build().running(), an_open(run_id="run-2")),
        ("says", Phase.RUNNING, Reason.COMPENSATING),
        id="reset while it ran: why it is cancelled is written first",
    ),
    pytest.param(
        observed(build().intended(), an_open(None, run_id="run-2", first_run_id="run-1")),
        ("says", Phase.PENDING, Reason.COMPENSATING),
        id="... also before its execution was known",
    ),
    pytest.param(
        observed(build().running(), replace(an_open(run_id="run-2"), described=False)),
        ("looks", False, True),
        id="... not on a row of the feed",
    ),
    pytest.param(
        observed(build().running(), an_open(run_id="run-2", continues=True)),
        ("says", Phase.RUNNING, Reason.PROGRESSING),
        id="continued as new: the same run goes on",
    ),
    pytest.param(
        observed(build().running(), a_closed(Phase.SUCCEEDED, run_id="run-2", continues=True)),
        ("says", Phase.SUCCEEDED, Reason.SUCCEEDED, CompensationState.NOTHING_TO_DO, None, 0),
        id="... and ends as it says itself",
    ),
    pytest.param(
        observed(build().running(), replace(an_open(continued=True), described=False)),
        ("says", Phase.RUNNING, Reason.PROGRESSING),
        id="... the execution that stopped for another is no end",
    ),
    pytest.param(
        observed(build().running(**RESET), an_open(run_id="run-2")),
        ("cancels", "the run was reset: what it made before that is taken back as well"),
        id="... then what goes on instead is cancelled",
    ),
    pytest.param(
        observed(build().running(**RESET), an_open(run_id="run-2", cancel_requested=True)),
        ("says", Phase.RUNNING, Reason.COMPENSATING),
        id="... waited for",
    ),
    pytest.param(
        observed(build().running(**RESET), a_closed(Phase.CANCELLED, run_id="run-2")),
        LOST,
        id="... and then all is undone",
    ),
    pytest.param(
        observed(build().running(), a_closed(Phase.SUCCEEDED, run_id="run-2")), LOST, id="... also if it succeeded"
    ),
    pytest.param(
        observed(build().finished().saying(compensation=None), ABSENT),
        undoing(Phase.SUCCEEDED, Reason.COMPENSATING, "Releases"),
        id="a success whose compensation is forgotten is released, and stays a success",
    ),
    pytest.param(
        observed(build().finished().saying(compensation=None), a_closed(Phase.CANCELLED, run_id="run-2")),
        undoing(Phase.SUCCEEDED, Reason.COMPENSATING, "Releases"),
        id="... also if it was reset meanwhile",
    ),
    pytest.param(
        observed(build().running().requested().edited(), TERMINATED), LOST, id="nothing starts until it is undone"
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing().edited(), ABSENT),
        ("undoes", CompensationScope.RUN, 1),
        id="... whatever is wanted meanwhile",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(), a_closed_undo()),
        ("says", Phase.FAILED, Reason.STEP_FAILED, CompensationState.SUCCEEDED, CompensationScope.RUN, 1),
        id="undone: the run has failed, and that is all",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing().edited(), a_closed_undo()),
        ("says", Phase.PENDING, Reason.STARTING),
        id="... unless something else is wanted by now, which is intended in the same write",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Succeeded").edited()),
        ("says", Phase.PENDING, Reason.STARTING),
        id="... and what is wanted starts",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(run_id="undo-1"), ABSENT),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, CompensationScope.RUN, 1),
        id="an undo that Temporal lost has failed: it does not start by itself again",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(), replace(a_closed_undo(), undone=None)),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, CompensationScope.RUN, 1),
        id="... nor one that Temporal ended",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(), a_closed_undo(CompensationState.RUNNING)),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, CompensationScope.RUN, 1),
        id="... nor one that closed in the middle",
    ),
    pytest.param(
        observed(
            build().finished(Phase.FAILED).undoing(),
            replace(an_open_undo(), identity=identity(build().subject, uid="another")),
        ),
        undoing(Phase.FAILED, Reason.COMPENSATING, "Run", 2),
        id="an id that somebody used for something else is not ours: the next attempt",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing(), replace(an_open_undo(), identity=identity(build().subject))),
        undoing(Phase.FAILED, Reason.COMPENSATING, "Run"),
        id="started before: it counts if its memo matches",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).undoing().with_spec(sign="no object"), ABSENT),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, CompensationScope.RUN, 1),
        id="no record and no spec: nobody knows what to undo, which is said",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED).standing().undoing().with_spec(sign="no object"), ABSENT),
        ("undoes", CompensationScope.RUN, 1),
        id="the record is enough",
    ),
]


@pytest.mark.parametrize(("seen", "expected"), ENDED)
def test_runs_that_did_not_compensate(seen: Observed, expected: tuple[object, ...]) -> None:
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


FORCED = [
    pytest.param(observed(GONE.forced_by().running(), an_open()), ("lets go", 1), id="a live run is asked to stop"),
    pytest.param(observed(GONE.forced_by().running(), fresh=False), ("looks", True, False), id="... on a fresh GET"),
    pytest.param(
        observed(GONE.forced_by().running(), silence="does not answer"), ("lets go", 1), id="... Temporal or not"
    ),
    pytest.param(
        observed(GONE.forced_by().finished(Phase.FAILED, "Failed")), ("lets go", None), id="a failed compensation"
    ),
    pytest.param(
        observed(GONE.forced_by().finished(Phase.FAILED).undoing(), an_open_undo()),
        ("lets go", None),
        id="one that goes on: it may finish by itself",
    ),
    pytest.param(
        observed(published(GONE.forced_by().compensating("Always"))), ("lets go", None), id="what is published stays"
    ),
    pytest.param(
        observed(GONE.forced_by().finished(Phase.FAILED, "Forced").compensating("Always").standing()),
        ("ReleaseFinalizer",),
        id="once written, it goes",
    ),
    pytest.param(observed(GONE.forced_by().finished()), ("ReleaseFinalizer",), id="nothing to force: it goes as ever"),
    pytest.param(observed(GONE.forced_by()), ("ReleaseFinalizer",), id="... also if it never ran"),
    pytest.param(
        observed(GONE.forced_by("  ").finished(Phase.FAILED, "Failed")),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, None, 0),
        id="without a reason it is not forced",
    ),
    pytest.param(
        observed(build().forced_by().finished(Phase.FAILED, "Failed")),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, CompensationState.FAILED, None, 0),
        id="nor without a deletion",
    ),
]


@pytest.mark.parametrize(("seen", "expected"), FORCED)
def test_letting_go(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


def told(seen: Observed) -> RunStatus:
    decision = life.decide(seen)
    assert isinstance(decision, Project | LetGo)
    return decision.status


def after(made: ABuild, status: RunStatus) -> Subject:
    return made.subject.with_status(status)


def test_the_end_of_a_lost_run_and_the_intent_of_undoing_it_are_one_write() -> None:
    status = told(observed(build().running(), TERMINATED))
    assert status.run is not None
    assert (status.run.outcome, status.run.run_id) == (Phase.FAILED, "run-1")
    assert [(past.number, past.phase) for past in status.history] == [(1, Phase.FAILED)]
    assert status.failure is not None
    assert status.failure.type == "RunLost"
    assert watched(status) == f"imagebuild/{UID}/1/undo/1"
    decision = life.decide(observed(after(build().running(), status), ABSENT))
    assert isinstance(decision, StartUndo)
    assert (decision.abandoned, decision.final, decision.timeout_seconds) == (True, False, 1800)
    assert decision.identity.number == 1


def test_a_lost_run_says_so_after_it_was_undone_and_starts_nothing_by_itself() -> None:
    made = build().running()
    undoing_it = after(made, told(observed(made, TERMINATED)))
    over = told(observed(undoing_it, a_closed_undo()))
    ready = find(over.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.reason == Reason.RUN_LOST
    assert ready.message.endswith("what the run had made was taken back")
    assert find(over.conditions, ConditionType.STALLED) is not None
    again = life.decide(observed(after(made, over)))
    assert shape(again)[:3] == ("says", Phase.FAILED, Reason.RUN_LOST)


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


PRIVATE = GONE.forced_by()
LOGS_IN = publication(secret="registry", kept=True)
HOUR_AND_A_HALF = 5400
RELEASES = [
    pytest.param(PRIVATE.finished().standing(LOGS_IN).compensating("Always"), 1, 0, id="a login kept by a success"),
    pytest.param(
        PRIVATE.finished(Phase.FAILED, "Failed").standing(standing=[], secret="registry"),
        1,
        0,
        id="one kept by a compensation that failed",
    ),
    pytest.param(
        PRIVATE.running().standing(standing=[], secret="registry"),
        1,
        HOUR_AND_A_HALF,
        id="a live run has its time for taking back first",
    ),
    pytest.param(
        PRIVATE.finished(Phase.FAILED).standing(standing=[], secret="registry").undoing(2),
        3,
        HOUR_AND_A_HALF,
        id="an undo workflow that goes on as well",
    ),
]


@pytest.mark.parametrize(("made", "attempt", "delay"), RELEASES)
def test_letting_go_releases_logins_that_may_be_kept(made: ABuild, attempt: int, delay: int) -> None:
    decision = life.decide(observed(made))
    assert isinstance(decision, LetGo)
    start = decision.release
    assert start is not None
    assert (start.undo.scope, start.undo.workflow_id) == (
        CompensationScope.RELEASES,
        f"imagebuild/{UID}/1/undo/{attempt}",
    )
    assert (start.final, start.abandoned, start.delay_seconds) == (True, False, delay)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(PRIVATE.running().standing(standing=[]), id="no login"),
        pytest.param(PRIVATE.finished(Phase.FAILED, "Failed"), id="no record"),
    ],
)
def test_letting_go_starts_nothing_where_there_is(made: ABuild) -> None:
    decision = life.decide(observed(made))
    assert isinstance(decision, LetGo)
    assert decision.release is None


def test_what_was_forced_is_over_and_says_so() -> None:
    status = told(observed(GONE.forced_by("no registry any more").running(), an_open()))
    assert status.run is not None
    assert (status.run.outcome, status.run.cancel_cause) == (Phase.CANCELLED, CancelCause.DELETED)
    assert status.compensation == CompensationStatus(state=CompensationState.FORCED)
    compensated = find(status.conditions, ConditionType.COMPENSATED)
    assert compensated is not None
    assert compensated.reason == Reason.FORCED
    assert [past.phase for past in status.history] == [Phase.CANCELLED]
    assert shape(life.decide(observed(after(GONE.forced_by().running(), status)))) == ("ReleaseFinalizer",)


def test_what_was_forced_keeps_what_is_left_listed() -> None:
    left = {"state": "Failed", "attempt": 2, "left": ["r.test/a@sha256:1"]}
    status = told(observed(GONE.forced_by().finished(Phase.FAILED).saying(compensation=left)))
    assert status.compensation is not None
    assert (status.compensation.state, status.compensation.left) == (CompensationState.FORCED, ["r.test/a@sha256:1"])
    assert status.phase is Phase.FAILED


def test_the_execution_of_a_reset_run_stays_the_one_that_was_started() -> None:
    status = told(observed(build().running(**RESET), an_open(run_id="run-2", cancel_requested=True)))
    assert status.run is not None
    assert status.run.run_id == "run-1"


def test_the_execution_moves_on_with_a_run_that_continues_as_new() -> None:
    status = told(observed(build().running(), an_open(run_id="run-2", continues=True)))
    assert status.run is not None
    assert (status.run.run_id, status.run.cancel_cause) == ("run-2", None)


def test_nothing_watched_in_temporal_means_nothing_is_live() -> None:
    assert watched(build().finished().subject.status) == ""
    assert watched(build().running().subject.status) == f"imagebuild/{UID}/1"
    assert RunState.UNKNOWN is observed(build()).view.state
