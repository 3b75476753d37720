"""What becomes of each due time: it runs, is missed, or waits. NOW is 2026-11-22 12:00 UTC, a Sunday."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_api.conditions import ConditionType, Phase, Reason
from bascule_api.runs import CancelCause, RunStatus, Trigger
from bascule_api.schedules import MissReason
from bascule_operator.decisions import life, schedules
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.happenings import happenings, missed
from bascule_operator.decisions.moves import Decision, Look, Observed, Project, StartRun
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Problem, RunView
from tests.support.subjects import ABSENT, NOW, ABuild, a_closed, an_open, an_open_undo, build, observed

HOURLY = "0 * * * *"


def at(text: str) -> datetime:
    """A time of the day of NOW, or a full one."""
    return datetime.fromisoformat(text if "T" in text else f"2026-11-22T{text}Z").astimezone(UTC)


def projected(seen: Observed) -> Project:
    decision = life.decide(seen)
    assert isinstance(decision, Project), decision
    return decision


def known(status: RunStatus) -> dict[str, Any]:
    """The schedule's status without the timetable."""
    assert status.schedule is not None
    return status.schedule.model_dump(exclude={"timetable"}, exclude_none=True)


def hourly(following: str, **changes: Any) -> ABuild:
    return build().scheduled(HOURLY).due(f"2026-11-22T{following}Z", HOURLY, **changes)


def and_then(subject: Subject | ABuild, decision: Decision) -> Subject:
    assert isinstance(decision, Project)
    before = subject.subject if isinstance(subject, ABuild) else subject
    return before.with_status(decision.status)


# Seen for the first time


FIRST = [
    pytest.param(build().scheduled(HOURLY), "13:00", id="new: from now on"),
    pytest.param(
        build().scheduled(HOURLY).created("2026-11-22T11:59:30Z").saying(observedGeneration=1), "13:00", id="set later"
    ),
    pytest.param(
        build().scheduled(HOURLY).due("2027-01-01T00:00:00Z", "0 0 1 1 *"), "13:00", id="changed: computed anew"
    ),
    pytest.param(
        build().scheduled("30 11 * * *").due("2026-11-22T20:00:00Z", "0 20 * * *"),
        "2026-11-23T11:30:00Z",
        id="changed: not what would have been due before",
    ),
    pytest.param(
        build().scheduled(HOURLY, timeZone="Asia/Kathmandu").due("2026-11-22T13:00:00Z", HOURLY),
        "12:15",
        id="another time zone",
    ),
    pytest.param(
        build().scheduled(HOURLY).due("2026-11-22T12:30:00Z", HOURLY), "13:00", id="the zone's rules have changed"
    ),
]


@pytest.mark.parametrize(("made", "following"), FIRST)
def test_with_a_schedule_nothing_starts_when_applied_but_the_next_time_is_known(made: ABuild, following: str) -> None:
    status = projected(observed(made)).status
    assert known(status) == {"next": at(following), "missed": 0}
    assert status.run is None
    assert status.phase is Phase.PENDING


def test_a_new_resource_may_have_waited_for_an_operator() -> None:
    status = projected(observed(build().scheduled(HOURLY).created("2026-11-22T08:30:00Z"))).status
    assert status.run is not None
    assert status.run.trigger is Trigger.SCHEDULE
    assert known(status) == {
        "next": at("13:00"), "last": at("12:00"), "missed": 3, "missed_at": at("11:00"),
        "missed_reason": MissReason.OVERTAKEN,
    }  # fmt: skip


def test_what_was_missed_is_still_known_after_the_schedule_was_changed() -> None:
    made = build().scheduled("0 20 * * *").due("2026-11-22T13:00:00Z", HOURLY, missed=4, last="2026-11-22T11:00:00Z")
    assert known(projected(observed(made)).status) == {"next": at("20:00"), "missed": 4, "last": at("11:00")}


def test_a_schedule_that_is_taken_away_leaves_nothing_and_the_revision_runs() -> None:
    status = projected(observed(build().due("2026-11-22T13:00:00Z", HOURLY))).status
    assert status.schedule is None
    assert find(status.conditions, ConditionType.SCHEDULED) is None
    assert status.run is not None
    assert status.run.trigger is Trigger.REVISION


# Due


def test_what_is_due_is_taken_up_in_one_write_with_the_intent() -> None:
    decision = projected(observed(hourly("12:00:00")))
    status = decision.status
    assert (decision.urgent, decision.then) == (True, True)
    assert status.run is not None
    assert (status.run.number, status.run.trigger) == (1, Trigger.SCHEDULE)
    assert status.handled is not None
    assert status.handled.scheduled_for == at("12:00")
    assert known(status) == {"next": at("13:00"), "last": at("12:00"), "missed": 0}
    again = life.decide(observed(and_then(hourly("12:00:00"), decision), ABSENT))
    assert isinstance(again, StartRun)
    assert (again.run.number, again.run.trigger) == (1, Trigger.SCHEDULE)


def test_once_it_ran_the_same_time_is_not_due_again_even_when_the_clock_is_put_back() -> None:
    ran = hourly("13:00:00", last="2026-11-22T12:00:00Z").finished().handling(scheduledFor="2026-11-22T12:00:00Z")
    for minutes in (1, 30, 59):
        status = projected(observed(ran, now=NOW - timedelta(minutes=minutes))).status
        assert status.phase is Phase.SUCCEEDED
        assert known(status)["next"] == at("13:00")


def test_the_intent_is_decided_on_a_fresh_get() -> None:
    assert life.decide(observed(hourly("12:00:00"), fresh=False)) == Look(fresh=True)


def test_of_several_due_times_the_latest_is_run_and_the_others_are_missed() -> None:
    status = projected(observed(hourly("09:00:00"), now=at("12:20"))).status
    assert status.handled is not None
    assert status.handled.scheduled_for == at("12:00")
    assert known(status) == {
        "next": at("13:00"), "last": at("12:00"), "missed": 3, "missed_at": at("11:00"),
        "missed_reason": MissReason.OVERTAKEN,
    }  # fmt: skip


def test_a_run_that_is_due_takes_up_a_request_as_well() -> None:
    status = projected(observed(hourly("12:00:00").requested("r1"))).status
    assert status.handled is not None
    assert (status.handled.request, status.handled.scheduled_for) == ("r1", at("12:00"))
    assert status.run is not None
    assert status.run.trigger is Trigger.SCHEDULE
    assert status.handled.reruns == []


def test_a_request_runs_meanwhile_and_leaves_the_next_time_alone() -> None:
    status = projected(observed(hourly("13:00:00").requested("r1"))).status
    assert status.run is not None
    assert status.run.trigger is Trigger.REQUEST
    assert known(status) == {"next": at("13:00"), "missed": 0}


def test_the_throttle_of_requests_holds_up_no_schedule() -> None:
    reruns = [f"2026-11-22T11:5{minute}:30Z" for minute in range(10)]
    status = projected(observed(hourly("12:00:00").finished().handling(reruns=reruns))).status
    assert status.run is not None
    assert status.run.number == 2


# Missed


MISSED = [
    pytest.param(
        build().scheduled("0 9 * * *").due("2026-11-22T09:00:00Z", "0 9 * * *"), None, "09:00", 1, NOW,
        MissReason.LATE, id="later than the deadline",
    ),
    pytest.param(
        build().scheduled("* * * * *", startingDeadline="5s").due("2026-11-22T09:01:00Z", "* * * * *"), None,
        "12:00", 100, NOW + timedelta(seconds=6), MissReason.LATE, id="many: at most a hundred of one absence",
    ),
    pytest.param(
        hourly("12:00:00").running(), an_open(), "12:00", 1, NOW, MissReason.UNFINISHED, id="a run goes on"
    ),
    pytest.param(
        hourly("10:00:00").running(), an_open(), "12:00", 3, NOW, MissReason.UNFINISHED, id="... for hours"
    ),
    pytest.param(
        hourly("11:00:00").finished(finishedAt="2026-11-22T11:00:20Z"), None, "11:00", 1, at("11:00:30"),
        MissReason.UNFINISHED, id="a run went on when it was due, and ended at once",
    ),
    pytest.param(
        hourly("12:00:00").finished(Phase.FAILED, "Failed"), None, "12:00", 1, NOW,
        MissReason.COMPENSATION_FAILED, id="what the last run left is not taken back",
    ),
    pytest.param(
        hourly("12:00:00").finished(Phase.FAILED).undoing(), an_open_undo(), "12:00", 1, NOW,
        MissReason.UNFINISHED, id="... or is being taken back",
    ),
]  # fmt: skip


FOLLOWING = {"0 * * * *": "13:00", "* * * * *": "12:01", "0 9 * * *": "2026-11-23T09:00:00Z"}


@pytest.mark.parametrize(("made", "view", "latest", "number", "now", "reason"), MISSED)
def test_a_due_time_is_missed(
    made: ABuild, view: RunView | None, latest: str, number: int, now: datetime, reason: MissReason
) -> None:
    seen = observed(made, view, now=now)
    told = schedules.brought_up(seen).subject.status
    following = at("12:00") if now < at("12:00") else at(FOLLOWING[made.body["spec"]["schedule"]["cron"]])
    assert known(told) == {
        "next": following, "last": at(latest), "missed": number, "missed_at": at(latest), "missed_reason": reason,
    }  # fmt: skip
    decision = life.decide(seen)
    assert not isinstance(decision, Project) or decision.status.schedule == told.schedule
    [note] = [item for item in happenings(made.subject.status, told) if item.reason == "ScheduleMissed"]
    assert note.warning
    assert missed(made.subject.status, told) == number


def test_what_is_missed_is_told_with_its_number_and_why() -> None:
    made = hourly("10:00:00").running()
    told = schedules.brought_up(observed(made, an_open())).subject.status
    [note] = happenings(made.subject.status, told)
    assert note.note == "3 runs, the last of them due at 2026-11-22T12:00:00Z did not start: a run was not over yet"


def test_what_was_due_after_a_run_ended_while_the_operator_was_away_still_runs() -> None:
    made = hourly("11:00:00").running()
    view = a_closed(closed_at=at("11:10"))
    status = projected(observed(made, view, now=at("12:05"))).status
    assert [past.number for past in status.history] == [1]
    assert status.run is not None
    assert (status.run.number, status.run.trigger) == (2, Trigger.SCHEDULE)
    assert status.handled is not None
    assert status.handled.scheduled_for == at("12:00")


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(observed(hourly("11:00:00").running(), silence="does not answer", now=at("12:05")), id="silent"),
        pytest.param(observed(hourly("11:00:00").running(), ABSENT, now=at("12:05")), id="lost"),
        pytest.param(observed(hourly("11:00:00").running(), now=at("12:05")), id="not asked yet"),
    ],
)
def test_nothing_is_counted_while_it_is_not_known_whether_a_run_goes_on(seen: Observed) -> None:
    assert known(schedules.brought_up(seen).subject.status) == {"next": at("11:00"), "missed": 0}


# Held up


def test_suspended_nothing_is_due_and_nothing_is_written_meanwhile() -> None:
    made = hourly("12:00:00").suspended()
    first = projected(observed(made))
    assert known(first.status) == {"next": at("12:00"), "missed": 0}
    assert first.status.phase is Phase.PENDING
    held = find(first.status.conditions, ConditionType.SCHEDULED)
    assert held is not None
    assert (held.status, held.reason) == ("False", Reason.SUSPENDED)
    later = projected(observed(and_then(made, first), now=NOW + timedelta(days=40)))
    assert later.status == first.status
    assert later.again is None


def test_on_resume_the_latest_due_time_runs_within_its_deadline() -> None:
    status = projected(observed(hourly("09:00:00"), now=at("12:59"))).status
    assert status.handled is not None
    assert status.handled.scheduled_for == at("12:00")
    made = build().scheduled("0 9 * * *").due("2026-11-20T09:00:00Z", "0 9 * * *")
    status = projected(observed(made)).status
    assert status.run is None
    assert known(status)["missed"] == 3


def test_what_keeps_a_due_run_from_starting_is_told_until_it_is_too_late() -> None:
    problem = Problem(Reason.TENANT_NOT_FOUND, "no Tenant")
    waits = projected(observed(hourly("12:00:00"), grounds=problem, now=at("12:58")))
    assert waits.status.phase is Phase.PENDING
    ready = find(waits.status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.reason == Reason.TENANT_NOT_FOUND
    assert waits.again == 121
    over = projected(observed(and_then(hourly("12:00:00"), waits), grounds=problem, now=at("13:00:01")))
    assert known(over.status)["missed"] == 0, "the one at 13:00 is due meanwhile, and may still start"
    daily = build().scheduled("0 12 * * *").due("2026-11-22T12:00:00Z", "0 12 * * *")
    over = projected(observed(daily, grounds=problem, now=at("13:00:01")))
    assert known(over.status)["missed_reason"] is MissReason.LATE
    assert over.status.blocked is None
    assert find(over.status.conditions, ConditionType.READY) is None


def test_long_before_it_is_due_it_is_told_that_no_run_could_start() -> None:
    problem = Problem(Reason.PARAMETERS_INVALID, "spec.build.parameters.base: is missing", final=True)
    status = projected(observed(hourly("13:00:00"), grounds=problem)).status
    told = find(status.conditions, ConditionType.SCHEDULED)
    assert told is not None
    assert (told.status, told.reason) == ("False", Reason.PARAMETERS_INVALID)
    assert told.message == "no run could start: spec.build.parameters.base: is missing"
    assert find(status.conditions, ConditionType.READY) is None


def an_intent(made: ABuild | None = None) -> ABuild:
    """A due run whose intent is written, and which Temporal does not know."""
    made = made or hourly("13:00:00", last="2026-11-22T12:00:00Z")
    return made.intended(trigger="Schedule").handling(scheduledFor="2026-11-22T12:00:00Z")


def test_an_intent_starts_late_but_within_the_deadline() -> None:
    assert isinstance(life.decide(observed(an_intent(), ABSENT, now=at("12:59"))), StartRun)


def test_an_intent_that_could_not_be_started_in_time_is_missed_and_ends() -> None:
    daily = build().scheduled("0 12 * * *").due("2026-11-23T12:00:00Z", "0 12 * * *", last="2026-11-22T12:00:00Z")
    status = projected(observed(an_intent(daily), ABSENT, now=at("13:00:01"))).status
    assert status.run is not None
    assert (status.run.outcome, status.run.cancel_cause) == (Phase.CANCELLED, CancelCause.MISSED)
    assert known(status)["missed_reason"] is MissReason.LATE
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message == (
        "run 1 was cancelled (due at 2026-11-22T12:00:00Z, and nothing could be started until 2026-11-22T13:00:00Z: "
        "startingDeadline)"
    )


def test_an_intent_that_could_not_be_started_becomes_that_of_a_later_due_time() -> None:
    made = an_intent()
    decision = life.decide(observed(made, ABSENT, now=at("13:00:30")))
    assert isinstance(decision, StartRun), "the run at 13:00 is this one: there is at most one"
    assert known(schedules.brought_up(observed(made, ABSENT, now=at("13:00:30"))).subject.status)["missed"] == 0


def test_an_intent_that_is_suspended_waits_and_is_too_late_when_it_is_resumed() -> None:
    daily = build().scheduled("0 12 * * *").due("2026-11-23T12:00:00Z", "0 12 * * *", last="2026-11-22T12:00:00Z")
    status = projected(observed(an_intent(daily).suspended(), ABSENT, now=at("12:30"))).status
    assert status.phase is Phase.SUSPENDED
    status = projected(observed(an_intent(daily), ABSENT, now=at("15:00"))).status
    assert status.phase is Phase.CANCELLED


# What is said


def test_waiting_for_its_schedule_it_is_neither_ready_nor_under_way_nor_stalled() -> None:
    conditions = {item.type: item for item in projected(observed(hourly("13:00:00"))).status.conditions}
    assert set(conditions) == {ConditionType.SCHEDULED}
    assert conditions[ConditionType.SCHEDULED].message == "a run starts when it is due: 0 * * * * in Etc/UTC"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED])
def test_after_a_run_it_is_said_how_that_came_out(phase: Phase) -> None:
    status = projected(observed(hourly("13:00:00").finished(phase))).status
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.status == ("True" if phase is Phase.SUCCEEDED else "False")
    assert status.phase is phase


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_a_spec_that_changed_since_is_not_said_to_have_come_out(phase: Phase) -> None:
    conditions = projected(observed(hourly("13:00:00").finished(phase).edited())).status.conditions
    assert [item.type for item in conditions] == [ConditionType.SCHEDULED]


def test_what_can_never_be_due_is_rejected_and_a_request_does_not_start_it() -> None:
    made = build().scheduled("0 0 30 2 *").requested("r1")
    status = projected(observed(made)).status
    assert status.phase is Phase.REJECTED
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message.startswith("spec.schedule.cron: 0 0 30 2 * never comes")
    assert status.schedule is None


def test_a_run_goes_on_when_its_schedule_becomes_wrong() -> None:
    made = hourly("13:00:00").scheduled("0 0 30 2 *").running()
    status = projected(observed(made, an_open())).status
    assert status.phase is Phase.RUNNING


def test_being_deleted_nothing_is_due() -> None:
    decision = life.decide(observed(hourly("12:00:00").deleting()))
    assert type(decision).__name__ == "ReleaseFinalizer"


def test_without_a_schedule_nothing_is_added() -> None:
    seen = observed(build().finished())
    assert schedules.brought_up(seen) is seen
