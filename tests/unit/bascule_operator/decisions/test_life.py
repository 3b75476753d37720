"""When a run starts, and everything else that a resource's life brings: one case per row of the design's table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bascule_api.conditions import CompensationState, ConditionType, Phase, Reason
from bascule_api.runs import CancelCause, RunStatus, Trigger
from bascule_operator.decisions import life
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.moves import (
    CancelRun,
    Decision,
    Look,
    Observed,
    Project,
    SendDesired,
    StartRun,
)
from bascule_operator.decisions.views import Problem
from tests.support.subjects import (
    ABSENT,
    a_closed,
    an_open,
    build,
    observed,
)


def shape(decision: Decision) -> tuple[object, ...]:
    """What a decision comes to: its kind, and of a status what it says."""
    match decision:
        case Project(status=status):
            ready = find(status.conditions, ConditionType.READY)
            return ("says", status.phase, ready.reason if ready else None, status.run.number if status.run else 0)
        case StartRun(run=run):
            return ("starts", run.number, run.trigger)
        case CancelRun(reason=reason):
            return ("cancels", reason)
        case Look(fresh=fresh, describe=describe):
            return ("looks", fresh, describe)
        case SendDesired(suspended=suspended):
            return ("tells", suspended)
        case _:
            return (type(decision).__name__,)


INTENDED_1 = ("says", Phase.PENDING, Reason.STARTING, 1)
INTENDED_2 = ("says", Phase.PENDING, Reason.STARTING, 2)
NOTHING = ("says", Phase.SUCCEEDED, Reason.SUCCEEDED, 1)
SUPERSEDED = {"cancelCause": "Superseded"}

TABLE = [
    pytest.param(observed(build()), INTENDED_1, id="a new resource: the intent is written"),
    pytest.param(observed(build().intended(), ABSENT), ("starts", 1, Trigger.REVISION), id="an intent: its run starts"),
    pytest.param(observed(build(), fresh=False), ("looks", True, False), id="the intent is decided on a fresh GET"),
    pytest.param(observed(build().without_finalizer()), ("AddFinalizer",), id="the finalizer is on before anything"),
    pytest.param(observed(build().finished().edited()), INTENDED_2, id="the revision differs from the last run's"),
    pytest.param(observed(build().finished().requested()), INTENDED_2, id="a request that was not handled"),
    pytest.param(
        observed(build().finished(Phase.FAILED).requested()), INTENDED_2, id="a request after a failed run, too"
    ),
    pytest.param(observed(build().scheduled()), ("says", Phase.PENDING, None, 0), id="a schedule: not now"),
    pytest.param(observed(build().scheduled().requested()), INTENDED_1, id="a schedule and a request"),
    pytest.param(
        observed(build().finished().scheduled().edited()),
        ("says", Phase.SUCCEEDED, None, 1),
        id="a schedule: another revision starts nothing, and is not said to have succeeded",
    ),
    pytest.param(
        observed(build().finished().scheduled("58 11 * * *").due("2026-11-22T11:58:00Z", "58 11 * * *")),
        INTENDED_2,
        id="a schedule is due",
    ),
    pytest.param(observed(build().finished()), NOTHING, id="nothing differs"),
    pytest.param(observed(build().finished().handling(request="r1").requested()), NOTHING, id="a request once handled"),
    pytest.param(observed(build().finished().handling(request="r1")), NOTHING, id="a request annotation removed"),
    pytest.param(observed(build().finished().saying(phase=None)), NOTHING, id="status lost in part: the phase"),
    pytest.param(
        observed(build().finished().saying(handled=None).requested()), NOTHING, id="status lost in part: handled"
    ),
    pytest.param(observed(build().finished().saying(run=None)), NOTHING, id="status lost in part: the run"),
    pytest.param(
        observed(build().finished().saying(compensation=None), a_closed()), NOTHING, id="status lost in part: the undo"
    ),
    pytest.param(
        observed(build().finished().saying(run={"number": "many"})), NOTHING, id="status broken in part: the run"
    ),
    pytest.param(
        observed(build().running().requested(), an_open()),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 1),
        id="a request while a run is unfinished is kept",
    ),
    pytest.param(observed(build().running().requested(), a_closed()), INTENDED_2, id="... and starts when it settled"),
    pytest.param(
        observed(build().running().edited(), an_open()),
        ("says", Phase.RUNNING, Reason.SUPERSEDED, 1),
        id="another revision while running: superseded is written first",
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED).edited(), an_open()),
        ("cancels", "superseded: the spec changed"),
        id="... then the run is cancelled",
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED).edited(), an_open(cancel_requested=True)),
        ("says", Phase.RUNNING, Reason.SUPERSEDED, 1),
        id="... once",
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED).edited(), a_closed(Phase.CANCELLED, CompensationState.SUCCEEDED)),
        INTENDED_2,
        id="... and when it settled, the wanted run starts",
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED), a_closed(Phase.CANCELLED, CompensationState.SUCCEEDED)),
        INTENDED_2,
        id="A to B to A: a superseded run does not count",
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED), a_closed(Phase.SUCCEEDED)), NOTHING, id="... unless it succeeded anyway"
    ),
    pytest.param(
        observed(build().running(**SUPERSEDED).edited(), a_closed(Phase.CANCELLED, CompensationState.FAILED)),
        ("says", Phase.CANCELLED, Reason.COMPENSATION_FAILED, 1),
        id="superseded, but the compensation failed: nothing starts",
    ),
    pytest.param(
        observed(build().suspended()), ("says", Phase.SUSPENDED, Reason.SUSPENDED, 0), id="suspended: nothing starts"
    ),
    pytest.param(
        observed(build().intended().suspended(), ABSENT),
        ("says", Phase.SUSPENDED, Reason.SUSPENDED, 1),
        id="suspended between intent and start: nothing starts",
    ),
    pytest.param(observed(build().finished().suspended()), NOTHING, id="suspended with nothing wanted"),
    pytest.param(
        observed(build().running(suspended=True).suspended().edited(), an_open()),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 1),
        id="suspended: another revision cancels nothing",
    ),
    pytest.param(
        observed(build().running().suspended().cancelled_by(), an_open()),
        ("says", Phase.RUNNING, Reason.COMPENSATING, 1),
        id="suspended: a cancel counts",
    ),
    pytest.param(observed(build().running().suspended(), an_open()), ("tells", True), id="a run is told to pause"),
    pytest.param(observed(build().running(suspended=True), an_open()), ("tells", False), id="... and to go on"),
    pytest.param(
        observed(build().finished().requested().edited().suspended()),
        ("says", Phase.SUSPENDED, Reason.SUSPENDED, 1),
        id="wanted while suspended waits",
    ),
    pytest.param(
        observed(build().running().cancelled_by("wrong base"), an_open()),
        ("says", Phase.RUNNING, Reason.COMPENSATING, 1),
        id="a cancel annotation: why is written first",
    ),
    pytest.param(
        observed(build().running(cancelCause="Requested", cancelReason="wrong base").cancelled_by(), an_open()),
        ("cancels", "cancelled: wrong base"),
        id="... then the run is cancelled",
    ),
    pytest.param(
        observed(build().finished(Phase.CANCELLED, cancelCause="Requested").handling(cancel="why").cancelled_by("why")),
        ("says", Phase.CANCELLED, Reason.CANCELLED, 1),
        id="cancelled counts as handled",
    ),
    pytest.param(
        observed(build().finished(Phase.CANCELLED).handling(cancel="wrong base").cancelled_by().requested()),
        INTENDED_2,
        id="... until it is requested again, even with the annotation still on",
    ),
    pytest.param(
        observed(build().running(2).handling(cancel="wrong base").cancelled_by(), an_open()),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 2),
        id="the same cancel never cancels a later run",
    ),
    pytest.param(
        observed(build().intended().cancelled_by(), ABSENT),
        ("says", Phase.CANCELLED, Reason.CANCELLED, 1),
        id="cancelled between intent and start: nothing starts",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed").requested()),
        ("says", Phase.FAILED, Reason.COMPENSATING, 1),
        id="the last compensation failed: a request tries it again, and no run starts",
    ),
    pytest.param(
        observed(build().finished(Phase.FAILED, "Failed").edited()),
        ("says", Phase.FAILED, Reason.COMPENSATION_FAILED, 1),
        id="... nor by another revision",
    ),
    pytest.param(observed(build().deleting().without_finalizer()), ("Leave",), id="terminating: nothing ever starts"),
    pytest.param(observed(build().deleting()), ("ReleaseFinalizer",), id="terminating before the intent: let go"),
    pytest.param(
        observed(build().deleting().intended(), ABSENT), ("ReleaseFinalizer",), id="terminating before the start"
    ),
    pytest.param(
        observed(build().deleting().intended(), ABSENT, fresh=False), ("looks", True, True), id="... on a fresh GET"
    ),
    pytest.param(
        observed(build().deleting().finished().requested()), ("ReleaseFinalizer",), id="terminating: a request"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), TABLE)
def test_when_a_run_starts(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


DELETION = [
    pytest.param(
        observed(build().deleting().running(), an_open()),
        ("says", Phase.RUNNING, Reason.DELETING, 1),
        id="an unfinished run: the status says that it is deleted",
    ),
    pytest.param(
        observed(build().deleting().running(cancelCause="Deleted"), an_open()),
        ("cancels", "the resource is deleted"),
        id="... it is cancelled",
    ),
    pytest.param(
        observed(build().deleting().running(cancelCause="Deleted"), replace(an_open(), described=False)),
        ("looks", False, True),
        id="... on a describe, not on a row of the feed",
    ),
    pytest.param(
        observed(build().deleting().running(), a_closed(Phase.CANCELLED, CompensationState.SUCCEEDED)),
        ("says", Phase.CANCELLED, Reason.CANCELLED, 1),
        id="... its end is written",
    ),
    pytest.param(
        observed(build().deleting().finished(Phase.CANCELLED, "Succeeded")), ("ReleaseFinalizer",), id="... and it goes"
    ),
    pytest.param(
        observed(build().deleting().finished(Phase.CANCELLED, "Failed")),
        ("says", Phase.CANCELLED, Reason.COMPENSATION_FAILED, 1),
        id="a failed compensation holds it",
    ),
    pytest.param(
        observed(build().deleting().running(), ABSENT),
        ("says", Phase.FAILED, Reason.DELETING, 1),
        id="a run that Temporal lost is undone first",
    ),
    pytest.param(
        observed(build().deleting().running(), silence="does not answer"),
        ("says", Phase.RUNNING, Reason.TEMPORAL_UNAVAILABLE, 1),
        id="Temporal away: it stays, and says so",
    ),
    pytest.param(
        observed(build().deleting().finished(Phase.FAILED, "Succeeded").with_spec(compensation={"onDelete": "Always"})),
        ("ReleaseFinalizer",),
        id="what a failed run made is undone already",
    ),
    pytest.param(
        observed(build().deleting().finished().with_spec(sign="no object")),
        ("ReleaseFinalizer",),
        id="a spec that cannot be read does not hold it",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), DELETION)
def test_deletion(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


def test_one_run_handles_request_revision_and_cancel_that_were_there_at_its_start() -> None:
    asked = build().finished().edited().requested("r9").cancelled_by("old reason")
    decision = life.decide(observed(asked))
    assert isinstance(decision, Project)
    handled = decision.status.handled
    assert handled is not None
    assert (handled.request, handled.cancel) == ("r9", "old reason")
    after = replace(asked.subject, status=decision.status)
    assert shape(life.decide(observed(after, ABSENT))) == ("starts", 2, Trigger.REVISION)


def test_the_end_of_a_run_and_the_next_intent_are_one_write() -> None:
    decision = life.decide(observed(build().running().requested(), a_closed(Phase.FAILED)))
    assert isinstance(decision, Project)
    assert decision.ended is not None
    assert decision.ended.phase is Phase.FAILED
    assert [(past.number, past.phase) for past in decision.status.history] == [(1, Phase.FAILED)]
    assert decision.status.run is not None
    assert decision.status.run.number == 2


def test_the_intent_names_everything_that_finds_the_run_again() -> None:
    decision = life.decide(observed(build()))
    assert isinstance(decision, Project)
    run = decision.status.run
    assert run is not None
    assert run.workflow_id == "imagebuild/2f0c4c1e-0000-4000-8000-000000000001/1"
    assert run.url == (
        "https://temporal.example.com/namespaces/acme/workflows/imagebuild%2F2f0c4c1e-0000-4000-8000-000000000001%2F1"
    )
    assert (run.tenant, run.temporal_namespace, run.trigger) == ("acme", "acme", Trigger.REVISION)


def test_a_run_superseded_by_deletion_keeps_its_first_cause() -> None:
    decision = life.decide(observed(build().deleting().running(cancelCause="Superseded"), an_open()))
    assert shape(decision) == ("cancels", "superseded: the spec changed")


def test_the_cause_of_a_cancellation_is_decided_on_a_fresh_get() -> None:
    decision = life.decide(observed(build().running().cancelled_by(), an_open(), fresh=False))
    assert shape(decision) == ("looks", True, True)


def test_a_cancel_is_marked_with_what_was_taken_up() -> None:
    decision = life.decide(observed(build().running().cancelled_by("wrong base"), an_open()))
    assert isinstance(decision, Project)
    status: RunStatus = decision.status
    assert status.run is not None
    assert status.handled is not None
    assert (status.run.cancel_cause, status.run.cancel_reason) == (CancelCause.REQUESTED, "wrong base")
    assert status.handled.cancel == "wrong base"
    assert (decision.then, decision.urgent) == (True, True)


def test_a_removed_cancel_annotation_may_cancel_again_later() -> None:
    decision = life.decide(observed(build().finished(Phase.CANCELLED).handling(cancel="wrong base")))
    assert isinstance(decision, Project)
    assert decision.status.handled is not None
    assert decision.status.handled.cancel == ""


def test_a_resource_that_waits_is_looked_at_again_when_its_patience_ends() -> None:
    decision = life.decide(observed(build(), grounds=Problem(Reason.TENANT_NOT_FOUND, "no Tenant")))
    assert isinstance(decision, Project)
    assert decision.again == 300


def test_a_release_is_decided_on_a_fresh_get() -> None:
    assert shape(life.decide(observed(build().deleting().finished(), fresh=False))) == ("looks", True, False)
