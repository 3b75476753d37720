"""When a person lets go by force: what that waits for, and what it leaves."""

from __future__ import annotations

import pytest

from bascule_api.conditions import CompensationState, ConditionType, Phase, Reason
from bascule_api.runs import CancelCause, CompensationScope, CompensationStatus
from bascule_operator.decisions import life
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.moves import LetGo, Observed
from tests.support.subjects import (
    UID,
    ABuild,
    an_open,
    an_open_undo,
    build,
    observed,
    publication,
)
from tests.unit.bascule_operator.decisions.test_undoing import GONE, after, published, shape, told

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
