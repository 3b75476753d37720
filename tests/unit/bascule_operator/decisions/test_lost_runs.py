"""Runs that Temporal ended, lost or went on with in another execution: what is a reset, and what is no end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bascule_api.conditions import CompensationState, ConditionType, Phase, Reason
from bascule_api.runs import CompensationScope
from bascule_operator.decisions import life
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.moves import Observed, StartUndo
from bascule_operator.decisions.subjects import watched
from bascule_operator.decisions.views import Closed
from tests.support.subjects import (
    ABSENT,
    UID,
    a_closed,
    a_closed_undo,
    an_open,
    an_open_undo,
    build,
    identity,
    observed,
)
from tests.unit.bascule_operator.decisions.test_undoing import TERMINATED, after, shape, told, undoing

LOST = undoing(Phase.FAILED, Reason.COMPENSATING, "Run")
RESET = {"cancelCause": "Reset"}
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


def test_the_execution_of_a_reset_run_stays_the_one_that_was_started() -> None:
    status = told(observed(build().running(**RESET), an_open(run_id="run-2", cancel_requested=True)))
    assert status.run is not None
    assert status.run.run_id == "run-1"


def test_the_execution_moves_on_with_a_run_that_continues_as_new() -> None:
    status = told(observed(build().running(), an_open(run_id="run-2", continues=True)))
    assert status.run is not None
    assert (status.run.run_id, status.run.cancel_cause) == ("run-2", None)
