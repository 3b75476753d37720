"""What a schedule asks for now, and what becomes of due times that pass without a run. Pure.

`status.schedule.next` is the earliest due time that nothing was made of yet. It moves on in the write that takes it up,
or counts it as missed, so that whoever dies in between finds it again; while `spec.suspend` holds it, it stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bascule_api.conditions import ConditionStatus, ConditionType, Reason
from bascule_api.runs import RunRecord, RunStatus, Trigger
from bascule_api.schedules import MissReason, Schedule, ScheduleStatus
from bascule_operator.decisions import timetables
from bascule_operator.decisions.conditions import Says, conditions
from bascule_operator.decisions.moves import Observed
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.timetables import Timetable, TimetableError
from bascule_operator.decisions.views import Grounds, Problem, RunState
from bascule_operator.decisions.wording import stamp

COUNTED = 100
"""Due times of one absence that are counted; more are told as such."""
_MOMENT = timedelta(minutes=1)


@dataclass(frozen=True)
class Due:
    """The latest due time that nothing was made of yet."""

    at: datetime
    until: datetime
    """When it counts as missed."""
    passed: int
    """How many due times there were, this one included; at most one more than COUNTED."""


def problem(subject: Subject) -> str:
    """What is wrong with the schedule, with field and remedy; empty where nothing is, or there is none."""
    schedule = _schedule(subject)
    try:
        if schedule is not None:
            _read(schedule)
    except TimetableError as error:
        return str(error)
    return ""


def _schedule(subject: Subject) -> Schedule | None:
    return subject.spec.schedule if subject.spec else None


def _read(schedule: Schedule) -> Timetable:
    return timetables.read(schedule.cron, schedule.time_zone)


def brought_up(observed: Observed) -> Observed:
    """What was observed, with the schedule as it stands now: the next time known, and what was missed counted."""
    subject, now = observed.subject, observed.now
    if subject.spec is None or subject.deleting:
        return observed
    schedule = subject.spec.schedule
    if schedule is None and subject.status.schedule is None:
        return observed
    if schedule is None or problem(subject):
        told = _told(subject, None, [], now)
    else:
        told = _told(subject, _standing(observed, schedule), [_says(subject, schedule, observed.grounds)], now)
    return replace(observed, subject=subject.with_status(told))


def _told(subject: Subject, schedule: ScheduleStatus | None, says: list[Says], now: datetime) -> RunStatus:
    old, generation = subject.status.conditions, subject.meta.generation
    told = conditions(old, says, replaces=(ConditionType.SCHEDULED,), generation=generation, now=now)
    return subject.status.model_copy(update={"schedule": schedule, "conditions": told})


def _says(subject: Subject, schedule: Schedule, grounds: Grounds | Problem) -> Says:
    kind = ConditionType.SCHEDULED
    if subject.suspended:
        held = "spec.suspend is set: nothing starts when it is due"
        return Says(kind, ConditionStatus.FALSE, Reason.SUSPENDED, held)
    if isinstance(grounds, Problem):
        return Says(kind, ConditionStatus.FALSE, grounds.reason, f"no run could start: {grounds.message}")
    # The time itself is in status.schedule.next: a condition changes when something happens, not with the clock.
    when = f"{schedule.cron} in {schedule.time_zone}"
    return Says(kind, ConditionStatus.TRUE, Reason.SCHEDULED, f"a run starts when it is due: {when}")


def _standing(observed: Observed, schedule: Schedule) -> ScheduleStatus:
    """The schedule's status, with what nothing can be made of any more counted as missed."""
    subject, now, timetable = observed.subject, observed.now, _read(schedule)
    known = subject.status.schedule or ScheduleStatus()
    if known.timetable != str(timetable) or known.next is None:
        begin = _since(subject, now)
        known = known.model_copy(update={"timetable": str(timetable), "next": timetable.after(begin)})
    if known.next is None or now < known.next:
        # Computed anew: the rules of the time zone may have changed since. Not before what was due already, even when
        # the clock was put back.
        return known.model_copy(update={"next": timetable.after(max(now, known.last or now))})
    latest = timetable.latest(known.next - _MOMENT, now) or known.next
    reason = _why_missed(observed, latest, latest + timedelta(seconds=schedule.starting_deadline.seconds))
    if reason is None:
        return known
    number = timetable.count(known.next - _MOMENT, now, COUNTED)
    return known.model_copy(
        update={
            "next": timetable.after(now),
            "last": latest,
            "missed": known.missed + number,
            "missed_at": latest,
            "missed_reason": reason,
        }
    )


def _since(subject: Subject, now: datetime) -> datetime:
    """From when on a schedule counts that was not seen before: with a schedule nothing runs because it was applied.

    A new resource may have waited for an operator since it was created.
    """
    unseen = subject.status.observed_generation < 0 and subject.run is None
    created = subject.meta.creation_timestamp
    return min(created, now) if unseen and created else now


def _why_missed(observed: Observed, latest: datetime, until: datetime) -> MissReason | None:
    """Why nothing can be made of the latest due time; None while something may."""
    subject = observed.subject
    run, compensation = subject.run, subject.status.compensation
    if subject.unfinished is not None or subject.undoing is not None:
        # Where it is not known to go on, its end may have been before: that shows when it is known.
        goes_on = observed.view.state is RunState.OPEN and not (run and _only_intended(run))
        return MissReason.UNFINISHED if goes_on else None
    if run is not None and compensation is not None and not compensation.state.settled:
        return MissReason.COMPENSATION_FAILED
    if run is not None and run.finished_at is not None and latest <= run.finished_at:
        return MissReason.UNFINISHED
    if subject.suspended or observed.now <= until:
        return None
    return MissReason.LATE


def _only_intended(run: RunRecord) -> bool:
    """Whether it is a due run that nothing was seen of yet: it may still become that of a later due time."""
    return run.trigger is Trigger.SCHEDULE and not run.run_id and run.outcome is None


def due(subject: Subject, now: datetime) -> Due | None:
    """What is due, of a subject that was brought up to now and has no run that goes on."""
    schedule, known = _schedule(subject), subject.status.schedule
    if schedule is None or known is None or known.next is None or now < known.next or subject.suspended:
        return None
    timetable, since = _read(schedule), known.next - _MOMENT
    at = timetable.latest(since, now) or known.next
    until = at + timedelta(seconds=schedule.starting_deadline.seconds)
    return Due(at, until, timetable.count(since, now, COUNTED + 1)) if now <= until else None


def taken_up(subject: Subject, found: Due, now: datetime) -> Subject:
    """The subject once a run takes up what is due; written together with the run's intent."""
    schedule, known = _schedule(subject), subject.status.schedule
    assert schedule is not None  # noqa: S101 - only schedules are due
    assert known is not None  # noqa: S101 - the same
    timetable = _read(schedule)
    update: dict[str, object] = {"next": timetable.after(now), "last": found.at}
    if found.passed > 1 and known.next is not None:
        before = timetable.latest(known.next - _MOMENT, found.at - _MOMENT)
        update |= {"missed": known.missed + found.passed - 1, "missed_at": before}
        update["missed_reason"] = MissReason.OVERTAKEN
    handled = subject.handled.model_copy(update={"scheduled_for": found.at})
    told = {"schedule": known.model_copy(update=update), "handled": handled}
    return subject.with_status(subject.status.model_copy(update=told))


def too_late(subject: Subject, run: RunRecord, now: datetime) -> str:
    """Why a due run whose intent is written may not start any more; empty where it may, or was not due."""
    schedule, scheduled_for = _schedule(subject), subject.handled.scheduled_for
    if run.trigger is not Trigger.SCHEDULE or schedule is None or scheduled_for is None or problem(subject):
        return ""
    until = scheduled_for + timedelta(seconds=schedule.starting_deadline.seconds)
    if now <= until or due(subject, now) is not None:
        return ""
    return f"due at {stamp(scheduled_for)}, and nothing could be started until {stamp(until)}: startingDeadline"


def never_started(subject: Subject) -> Subject:
    """The subject with the due time of a run that never started counted as missed."""
    known = subject.status.schedule or ScheduleStatus()
    missed = {"missed": known.missed + 1, "missed_at": subject.handled.scheduled_for, "missed_reason": MissReason.LATE}
    return subject.with_status(subject.status.model_copy(update={"schedule": known.model_copy(update=missed)}))
