"""When a run starts: the table of the design, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bascule_api.conditions import Phase
from bascule_api.runs import CancelCause, Handled, RunRecord, Trigger
from bascule_operator.decisions.subjects import Subject

RERUN_INTERVAL = timedelta(minutes=1)
RERUNS_PER_HOUR = 10
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Throttled:
    """A re-run is wanted too soon after others."""

    until: datetime


def wanted(subject: Subject) -> Trigger | None:
    """Why another run is wanted, whatever may keep it from starting now; None when all is handled."""
    last = subject.run
    if last is None:
        if subject.scheduled:
            return Trigger.REQUEST if subject.request else None
        return Trigger.REVISION
    if not subject.scheduled and (subject.differs_from(last.revision) or _does_not_count(last)):
        return Trigger.REVISION
    return Trigger.REQUEST if asks_again(subject) else None


def _does_not_count(run: RunRecord) -> bool:
    """A superseded run is not handled, even when the spec went back to what it was (A→B→A)."""
    return run.cancel_cause is CancelCause.SUPERSEDED and run.outcome is not Phase.SUCCEEDED


def asks_again(subject: Subject) -> bool:
    """Whether there is a request that was not taken up."""
    # A run without a record of what was handled: that part of the status was lost, and starts nothing.
    return bool(subject.request) and subject.status.handled is not None and subject.request != subject.handled.request


def throttled(subject: Subject, trigger: Trigger, now: datetime) -> Throttled | None:
    """At most one requested re-run a minute and ten an hour."""
    if trigger is not Trigger.REQUEST:
        return None
    recent = sorted(at for at in subject.handled.reruns if at > now - _HOUR)
    allowed = [recent[-1] + RERUN_INTERVAL] if recent else []
    if len(recent) >= RERUNS_PER_HOUR:
        allowed.append(recent[-RERUNS_PER_HOUR] + _HOUR)
    until = max(allowed, default=now)
    return Throttled(until) if until > now else None


def handled_by_start(subject: Subject, trigger: Trigger, now: datetime) -> Handled:
    """What counts as handled once a run starts: everything that was asked for until then."""
    reruns = [at for at in subject.handled.reruns if at > now - _HOUR]
    if trigger is Trigger.REQUEST and subject.run is not None:
        reruns = [*reruns, now][-RERUNS_PER_HOUR:]
    return subject.handled.model_copy(
        update={"request": subject.request, "cancel": subject.cancel, "reruns": reruns},
    )


def cancel_cause(subject: Subject) -> CancelCause | None:
    """Why the unfinished run has to be cancelled; None when it may go on."""
    run = subject.unfinished
    if run is None:
        return None
    if subject.deleting:
        return CancelCause.DELETED
    if subject.cancel and subject.cancel != subject.handled.cancel:
        return CancelCause.REQUESTED
    if not subject.suspended and not subject.scheduled and subject.differs_from(run.revision):
        return CancelCause.SUPERSEDED
    return None


def next_number(subject: Subject) -> int:
    """Numbers count up over everything the status remembers."""
    known = [past.number for past in subject.status.history]
    if subject.run is not None:
        known.append(subject.run.number)
    return max(known, default=0) + 1
