"""What the status of a DRDrill says of its drills, and that it stays small."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from bascule_api import names
from bascule_api.conditions import ConditionType, Phase
from bascule_api.dr_drill_status import DRDrillStatus
from bascule_api.failures import FailureType
from bascule_operator.decisions import endings, happenings, status, undoing
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.drill_status import complete
from bascule_operator.decisions.views import Closed, RunState, RunView
from bascule_operator.decisions.wire import STATUS_LIMIT, wire
from bascule_operator.reconcilers import telling
from bascule_operator.store import Key
from tests.support.drill_subjects import REPORT, UID, ADrill, drill, figures, missed, parsed, result
from tests.support.subjects import NOW, an_open, progress

UNMEASURED = figures(verdict=None, reason=None, message="", rto="", rtoSeconds=None, rpo="", rpoSeconds=None)


def going_on(made: ADrill, number: int = 5, **facts: Any) -> DRDrillStatus:
    subject = made.subject
    view = an_open(progress=progress(number, facts=facts))
    return completed(made, status.running(subject, view, NOW), view)


def over(made: ADrill, view: RunView) -> DRDrillStatus:
    return completed(made, undoing.finished(made.subject, view, NOW), view)


def completed(made: ADrill, new: Any, view: RunView | None = None) -> DRDrillStatus:
    assert isinstance(new, DRDrillStatus)
    return complete(made.subject, made.status, new, view or RunView(), NOW)


def said(told: DRDrillStatus, kind: ConditionType = ConditionType.READY) -> tuple[str, str]:
    found = find(told.conditions, kind)
    return (found.status, found.reason) if found else ("", "")


def words(told: DRDrillStatus) -> str:
    found = find(told.conditions, ConditionType.READY)
    return found.message if found else ""


def test_the_timeline_is_shown_while_the_drill_goes_on() -> None:
    timeline = {"provision": {"startedAt": "2026-11-22T11:51:00Z"}}
    told = going_on(drill().running(), drill=UNMEASURED | {"timeline": timeline})
    assert told.drill is not None
    assert told.drill.timeline.provision is not None
    assert (told.drill.verdict, told.drills) == (None, [])
    assert find(told.conditions, ConditionType.OBJECTIVES_MET) is None


def test_with_the_intent_of_a_run_its_namespace_is_known() -> None:
    made = drill().running(run_id="")
    told = completed(drill(), made.status)
    assert told.drill is not None
    assert told.drill.namespace == names.drill_namespace(UID, 1)
    assert told.may_hold


def test_older_news_and_facts_that_cannot_be_understood_change_nothing() -> None:
    made = drill().running(progressNumber=7).saying(drill=figures())
    for number, facts in ((6, {"drill": missed()}), (9, {"drill": {"rtoSeconds": "many"}}), (9, {})):
        told = going_on(made, number, **facts)
        assert told.drill == made.status.drill


def test_a_drill_that_met_its_objectives_is_ready() -> None:
    told = over(drill().running(), result(told=figures()))
    assert said(told) == ("True", "Succeeded")
    assert said(told, ConditionType.OBJECTIVES_MET) == ("True", "ObjectivesMet")
    assert words(told) == "drill 1 met its objectives: RTO 4m12s (objective 15m), RPO 7m (objective 1h)"
    assert told.history[0].summary == "Met: RTO 4m12s, RPO 7m"
    assert [(past.number, past.verdict, past.report) for past in told.drills] == [(1, "Met", REPORT)]
    assert told.drills[0].finished_at == NOW


NOT_READY = [
    pytest.param(missed(), ("False", "ObjectivesMissed"), "False", id="missed"),
    pytest.param(
        figures(verdict="Inconclusive", reason="RecoveryPointUnknown", message="none was reported", rpo=""),
        ("False", "Inconclusive"),
        "Unknown",
        id="inconclusive",
    ),
    pytest.param(None, ("False", "Inconclusive"), "Unknown", id="a result without figures"),
]


@pytest.mark.parametrize(("told_by_run", "ready", "met"), NOT_READY)
def test_a_drill_that_did_not_meet_them_is_over_and_not_ready(told_by_run: Any, ready: Any, met: str) -> None:
    told = over(drill().running(), result(told=told_by_run))
    assert told.phase is Phase.SUCCEEDED
    assert said(told) == ready
    assert said(told, ConditionType.STALLED) == ("True", ready[1])
    assert said(told, ConditionType.OBJECTIVES_MET) == (met, ready[1])
    assert find(told.conditions, ConditionType.RECONCILING) is None


def test_what_was_missed_and_by_how_much_is_said() -> None:
    told = over(drill().running(), result(told=missed()))
    assert words(told) == (
        "drill 1 missed its objectives (RTOExceeded): the recovery took 21m, the objective is 15m; "
        "RTO 21m (objective 15m), RPO 7m (objective 1h)"
    )
    assert told.history[0].summary == "Missed (RTOExceeded): RTO 21m, RPO 7m"


def test_a_restore_that_failed_is_a_failed_run_and_a_verdict() -> None:
    failure = {"step": "restore", "type": FailureType.RESTORE_FAILED, "message": "pg_restore: no"}
    view = result(Phase.FAILED, missed(reason="RestoreFailed", rto="", rpo=""), failure=failure)
    told = over(drill().running(), view)
    assert (told.phase, said(told)) == (Phase.FAILED, ("False", "StepFailed"))
    assert said(told, ConditionType.OBJECTIVES_MET) == ("False", "ObjectivesMissed")
    assert [(past.verdict, past.reason) for past in told.drills] == [("Missed", "RestoreFailed")]


def test_a_cancelled_drill_has_measured_nothing() -> None:
    told = over(drill().running(), result(Phase.CANCELLED, UNMEASURED))
    assert said(told) == ("False", "Cancelled")
    assert said(told, ConditionType.OBJECTIVES_MET) == ("Unknown", "Inconclusive")
    assert [(past.verdict, past.reason) for past in told.drills] == [("Inconclusive", "NotMeasured")]


def test_a_run_that_temporal_ended_is_remembered_with_what_it_told_last() -> None:
    made = drill().running().saying(drill=UNMEASURED)
    view = RunView(RunState.CLOSED, described=True, run_id="run-1", closed=Closed.TERMINATED, closed_at=NOW)
    told = over(made, view)
    assert told.drill is not None
    assert (told.drill.namespace, told.drill.verdict) == (names.drill_namespace(UID, 1), "Inconclusive")
    assert "Temporal ended the run" in told.drill.message
    assert [past.number for past in told.drills] == [1]
    assert said(told, ConditionType.OBJECTIVES_MET) == ("Unknown", "Inconclusive")


def test_saying_it_again_adds_nothing() -> None:
    made = drill().running()
    told = over(made, result(told=missed()))
    later = NOW + timedelta(minutes=5)
    subject = made.subject.with_status(told)
    again = endings.settled(subject, later)
    assert isinstance(again, DRDrillStatus)
    assert complete(subject, told, again, RunView(), later) == told


def test_the_next_drill_keeps_the_history_and_begins_with_nothing() -> None:
    told = over(drill().running(), result(told=figures()))
    made = ADrill(drill().body | {"status": wire(told)})
    told = going_on(made.running(number=2), 1)
    second = complete(made.subject, made.status, made.running(number=2, run_id="").status, RunView(), NOW)
    assert second.drill is not None
    assert (second.drill.namespace, second.drill.verdict) == (names.drill_namespace(UID, 2), None)
    assert [past.number for past in second.drills] == [1]
    assert said(second, ConditionType.OBJECTIVES_MET) == ("True", "ObjectivesMet")


def test_the_end_of_one_and_the_intent_of_the_next_in_one_write_lose_no_drill() -> None:
    made, view = drill().running(), result(told=figures())
    ended = undoing.finished(made.subject, view, NOW)
    assert isinstance(ended, DRDrillStatus)
    next_run = made.running(number=2, run_id="").status.run
    told = completed(made, ended.model_copy(update={"run": next_run}), view)
    assert told.drill is not None
    assert told.drill.namespace == names.drill_namespace(UID, 2)
    assert [(past.number, past.verdict) for past in told.drills] == [(1, "Met")]


def test_twenty_drills_are_remembered_newest_first() -> None:
    past = [{"number": number, "verdict": "Met"} for number in range(30, 10, -1)]
    told = over(drill().running(number=31).saying(drills=past), result(told=figures()))
    assert [known.number for known in told.drills] == list(range(31, 11, -1))


def test_a_status_whose_figures_were_lost_does_not_pass_for_ready() -> None:
    made = drill().running().finished()
    told = completed(made, endings.settled(made.subject, NOW))
    assert said(told) == ("False", "Inconclusive")
    assert "not on record any more" in words(told)


def test_what_the_history_still_knows_counts() -> None:
    made = drill().running().finished().saying(drills=[figures() | {"number": 1}])
    assert said(completed(made, endings.settled(made.subject, NOW))) == ("True", "Succeeded")


def test_a_changed_spec_is_not_measured_by_its_objectives() -> None:
    made = drill().running().finished().saying(drill=figures())
    edited = made.with_spec(objectives={"rto": "1m"}, suspend=True)
    told = completed(edited, endings.settled(edited.subject, NOW))
    assert words(told) == "drill 1 met its objectives: RTO 4m12s, RPO 7m"


@pytest.mark.parametrize("letter", ["x", "ü", "☃"])
def test_the_largest_status_stays_within_its_limit(letter: str) -> None:
    text = letter * 256
    told = figures(
        verdict="Missed", reason="ProbeFailed", message=text, rto=text[:32], rpo=text[:32], namespace=text[:63],
        backup=text,
        probes=[{"name": text[:40], "message": text, "passedAt": "2026-11-22T11:55:00Z"} for _ in range(16)],
        searched=[{"kind": text[:63], "before": 9, "after": 9} for _ in range(24)],
        left=[text for _ in range(20)],
    )  # fmt: skip
    past = [told | {"number": number, "finishedAt": "2026-11-22T11:55:00Z"} for number in range(20, 0, -1)]
    failure = {"step": "probe-a", "type": FailureType.INTERNAL, "message": letter * 4096, "log": letter * 16_000}
    steps = [{"name": f"{text[:250]}{n}", "state": "Failed", "message": letter * 4096} for n in range(24)]
    left = {"state": "Failed", "left": [text] * 50, "lastError": letter * 4096}
    made = drill().running().saying(drill=told, drills=past, steps=steps)
    view = result(Phase.FAILED, told, failure=failure, steps=steps, compensation=left)
    size = len(json.dumps(wire(over(made, view)), ensure_ascii=False).encode())
    assert size <= STATUS_LIMIT
    kept = parsed(made.body | {"status": wire(over(made, view))}).status
    assert isinstance(kept, DRDrillStatus)
    assert [known.number for known in kept.drills][:1] == [1]


@pytest.mark.parametrize(
    ("told_by_run", "event"),
    [
        pytest.param(figures(), ("DrillMet", "drill 1: Met: RTO 4m12s, RPO 7m", False), id="met"),
        pytest.param(missed(), ("DrillMissed", "drill 1: Missed (RTOExceeded): RTO 21m, RPO 7m", True), id="missed"),
        pytest.param(
            figures(verdict="Inconclusive", reason="IsolationNotEnforced", rto="", rpo=""),
            ("DrillInconclusive", "drill 1: Inconclusive (IsolationNotEnforced)", True),
            id="inconclusive",
        ),
    ],
)
def test_the_verdict_is_told_once(told_by_run: Any, event: tuple[str, str, bool]) -> None:
    made = drill().running()
    told = over(made, result(told=told_by_run | {"message": ""}))
    found = happenings.happenings(made.status, told)
    assert [(item.reason, item.note, item.warning) for item in found if item.reason.startswith("Drill")] == [event]
    assert happenings.happenings(told, told) == []


def test_what_was_measured_is_counted() -> None:
    made = drill().running()
    told = over(made, result(told=missed()))
    before = {name: _sample(name) for name in _COUNTED}
    telling.finished(Key("DRDrill", "acme-dev", "web"), made.subject, told)
    telling.finished(Key("DRDrill", "acme-dev", "web"), made.subject.with_status(told), told)
    assert {name: _sample(name) - before[name] for name in _COUNTED} == {
        "bascule_drill_verdicts_total": 1, "bascule_drill_rto_seconds_sum": 1260, "bascule_drill_rpo_seconds_sum": 420,
    }  # fmt: skip


_COUNTED = ("bascule_drill_verdicts_total", "bascule_drill_rto_seconds_sum", "bascule_drill_rpo_seconds_sum")


def _sample(name: str) -> float:
    labels = {"tenant": "acme", "verdict": "Missed"}
    reason = {"reason": "RTOExceeded"} if name.endswith("_total") else {}
    return REGISTRY.get_sample_value(name, labels | reason) or 0.0
