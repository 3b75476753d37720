"""A run while it goes on, and what keeps a wanted one from starting."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bascule_api.conditions import Phase, Reason
from bascule_operator.decisions import life
from bascule_operator.decisions.moves import (
    Observed,
)
from bascule_operator.decisions.views import Closed, Problem, RunState, RunView
from tests.support.subjects import (
    ABSENT,
    NOW,
    a_closed,
    an_open,
    build,
    identity,
    observed,
    progress,
)
from tests.unit.bascule_operator.decisions.test_life import INTENDED_1, INTENDED_2, shape

MISSING = Problem(Reason.TENANT_NOT_FOUND, "no Tenant claims the namespace acme-dev")
LONG_AGO = {"reason": "TenantNotFound", "since": (NOW - timedelta(minutes=5)).isoformat()}

TROUBLES = [
    pytest.param(
        observed(build(), grounds=MISSING), ("says", Phase.PENDING, Reason.TENANT_NOT_FOUND, 0), id="no tenant: pending"
    ),
    pytest.param(
        observed(build().saying(blocked=LONG_AGO), grounds=MISSING),
        ("says", Phase.REJECTED, Reason.TENANT_NOT_FOUND, 0),
        id="no tenant for five minutes: rejected",
    ),
    pytest.param(observed(build().saying(blocked=LONG_AGO, phase="Rejected")), INTENDED_1, id="... it heals"),
    pytest.param(
        observed(build().saying(blocked=LONG_AGO), grounds=Problem(Reason.TEMPORAL_UNAVAILABLE, "away")),
        ("says", Phase.PENDING, Reason.TEMPORAL_UNAVAILABLE, 0),
        id="Temporal away rejects nothing, however long",
    ),
    pytest.param(
        observed(build(), grounds=Problem(Reason.PARAMETERS_INVALID, "spec.build.parameters.x: …", final=True)),
        ("says", Phase.REJECTED, Reason.PARAMETERS_INVALID, 0),
        id="wrong parameters: rejected at once",
    ),
    pytest.param(
        observed(build().with_spec(build="no object")),
        ("says", Phase.REJECTED, Reason.SPEC_INVALID, 0),
        id="a spec that cannot be read: rejected",
    ),
    pytest.param(
        observed(build().running().with_spec(build="no object"), an_open()),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 1),
        id="... but its run goes on",
    ),
    pytest.param(
        observed(build().intended(), silence="does not answer"),
        ("says", Phase.PENDING, Reason.TEMPORAL_UNAVAILABLE, 1),
        id="Temporal away at the start",
    ),
    pytest.param(
        observed(build().finished().requested().handling(reruns=[(NOW - timedelta(seconds=20)).isoformat()])),
        ("says", Phase.SUCCEEDED, Reason.RERUN_THROTTLED, 1),
        id="a second re-run within a minute is throttled",
    ),
    pytest.param(
        observed(build().finished().edited().handling(reruns=[(NOW - timedelta(seconds=20)).isoformat()])),
        INTENDED_2,
        id="another revision is never throttled",
    ),
    pytest.param(
        observed(
            build().finished().requested().handling(
                reruns=[(NOW - timedelta(minutes=2 + 5 * index)).isoformat() for index in range(10)]
            )
        ),
        ("says", Phase.SUCCEEDED, Reason.RERUN_THROTTLED, 1),
        id="an eleventh re-run within the hour is throttled",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), TROUBLES)
def test_what_keeps_a_run_from_starting(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected


SUBJECT = build().running().subject

RUNS = [
    pytest.param(observed(build().running()), ("looks", False, True), id="nothing known of the run: describe it"),
    pytest.param(
        observed(build().running(), RunView(RunState.CLOSED)), ("looks", False, True), id="a row says closed"
    ),
    pytest.param(
        observed(build().running(), RunView(RunState.OPEN, progress=progress(3))),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 1),
        id="progress needs no describe",
    ),
    pytest.param(
        observed(build().intended(), an_open(None)),
        ("says", Phase.PENDING, Reason.STARTING, 1),
        id="started, and no worker has taken it up",
    ),
    pytest.param(
        observed(build().running(), an_open(identity=identity(SUBJECT))),
        ("says", Phase.RUNNING, Reason.PROGRESSING, 1),
        id="the run in Temporal is ours",
    ),
    pytest.param(
        observed(build().intended(), an_open(identity=identity(SUBJECT, revision="1-0000000000"))),
        INTENDED_2,
        id="somebody used the id for another revision: the next number",
    ),
    pytest.param(
        observed(build().intended(), a_closed(identity=identity(SUBJECT, revision="1-0000000000"))),
        INTENDED_2,
        id="... also when that one is over",
    ),
    pytest.param(
        observed(build().intended().edited(), ABSENT),
        INTENDED_1,
        id="edited between intent and start: the intent is written anew",
    ),
    pytest.param(
        observed(build().running(), a_closed(Phase.FAILED, closed=Closed.FAILED)),
        ("says", Phase.FAILED, Reason.STEP_FAILED, 1),
        id="failed",
    ),
    pytest.param(
        observed(build().running(), a_closed(result=None, closed=Closed.TERMINATED)),
        ("says", Phase.FAILED, Reason.COMPENSATING, 1),
        id="terminated in Temporal: lost, and undone at once",
    ),
    pytest.param(
        observed(build().intended(), a_closed(result=None, closed=Closed.CANCELED)),
        ("says", Phase.CANCELLED, Reason.CANCELLED, 1),
        id="cancelled before its first task: nothing was done",
    ),
    pytest.param(
        observed(build().running(), ABSENT), ("says", Phase.FAILED, Reason.COMPENSATING, 1), id="unknown to Temporal"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), RUNS)
def test_runs(seen: Observed, expected: tuple[object, ...]) -> None:
    assert shape(life.decide(seen)) == expected
