"""What people should hear about as Kubernetes Events: transitions, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from bascule_api.conditions import (
    CompensationState,
    Condition,
    ConditionStatus,
    ConditionType,
    Phase,
    Reason,
    StepState,
)
from bascule_api.dr_drill_status import DRDrillStatus, DrillVerdict, PastDrill
from bascule_api.patch_campaign_status import FailedTarget, PatchCampaignStatus
from bascule_api.runs import RunRecord, RunStatus
from bascule_api.schedules import MissReason
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.schedules import COUNTED
from bascule_operator.decisions.wording import stamp, step_words

NOTE_LIMIT = 1000


@dataclass(frozen=True)
class Happening:
    """An Event to be: `warning` is its type, `note` its text."""

    reason: str
    note: str
    warning: bool = False


def happenings(old: RunStatus, new: RunStatus) -> list[Happening]:
    """What happened between two statuses of one resource."""
    return [
        *_steps(old, new),
        *_targets(old, new),
        *_finished(old, new),
        *_drills(old, new),
        *_compensation(old, new),
        *_missed(old, new),
        *_said(old, new),
    ]


def started(run: RunRecord) -> Happening:
    return Happening("RunStarted", f"run {run.number} of revision {run.revision} started, by {run.trigger.lower()}")


def let_go(status: RunStatus, reason: str, who: str) -> Happening:
    """A person let go of what was not taken back."""
    number = status.run.number if status.run else 0
    left = ", ".join(status.compensation.left) if status.compensation else ""
    note = f"run {number}: let go of by force ({reason}), the annotation set by {who}; left: {left or 'not known'}"
    return Happening("Forced", note, warning=True)


def _same_run(old: RunStatus, new: RunStatus) -> bool:
    return old.run is not None and new.run is not None and old.run.number == new.run.number


def _steps(old: RunStatus, new: RunStatus) -> list[Happening]:
    before = {step.name: step.state for step in old.steps} if _same_run(old, new) else {}
    return [
        Happening("StepFailed", f"{step_words(step.name)} failed{': ' + step.message if step.message else ''}", True)
        for step in new.steps
        if step.state is StepState.FAILED and before.get(step.name) is not StepState.FAILED
    ]


def _targets(old: RunStatus, new: RunStatus) -> list[Happening]:
    """Targets of a campaign that failed, as far as they are named."""
    known = {target.name for target in _failures(old)} if _same_run(old, new) else set()
    return [
        Happening("TargetFailed", f"{target.name} failed ({target.phase}): {target.message or 'no reason given'}", True)
        for target in _failures(new)
        if target.name not in known
    ]


def _failures(status: RunStatus) -> list[FailedTarget]:
    told = status.targets if isinstance(status, PatchCampaignStatus) else None
    return told.failures if told else []


_ENDS = {Phase.SUCCEEDED: "RunSucceeded", Phase.FAILED: "RunFailed", Phase.CANCELLED: "RunCancelled"}


def _finished(old: RunStatus, new: RunStatus) -> list[Happening]:
    known = {past.number for past in old.history}
    return [
        Happening(_ENDS[past.phase], f"run {past.number}: {past.summary}", past.phase is Phase.FAILED)
        for past in reversed(new.history)
        if past.number not in known and past.phase in _ENDS
    ]


def _drills(old: RunStatus, new: RunStatus) -> list[Happening]:
    """Drills that are over."""
    known = {past.number for past in _held(old)}
    return [
        Happening(
            _VERDICTS[past.verdict],
            f"drill {past.number}: {past.words}{'; ' + past.message if past.message else ''}",
            past.verdict is not DrillVerdict.MET,
        )
        for past in reversed(_held(new))
        if past.number not in known and past.verdict is not None
    ]


_VERDICTS = {
    DrillVerdict.MET: "DrillMet",
    DrillVerdict.MISSED: "DrillMissed",
    DrillVerdict.INCONCLUSIVE: "DrillInconclusive",
}


def _held(status: RunStatus) -> list[PastDrill]:
    return status.drills if isinstance(status, DRDrillStatus) else []


def _compensation(old: RunStatus, new: RunStatus) -> list[Happening]:
    if new.compensation is None or new.run is None:
        return []
    before = old.compensation.state if old.compensation and _same_run(old, new) else None
    if new.compensation.state is before:
        return []
    number = new.run.number
    match new.compensation.state:
        case CompensationState.SUCCEEDED:
            return [Happening("Compensated", f"run {number}: what it had made was taken back")]
        case CompensationState.FAILED:
            left = ", ".join(new.compensation.left) or new.compensation.last_error
            return [Happening("CompensationFailed", f"run {number}: {left}", True)]
        case CompensationState.RUNNING:
            total, again = new.compensation.total, new.compensation.attempt
            what = f"{total} effects" if total else "what it made"
            return [Happening("Compensating", f"run {number}: taking back {what}, attempt {max(1, again)}")]
        case _:
            return []


def missed(old: RunStatus, new: RunStatus) -> int:
    """How many due times were missed between two statuses."""
    before = old.schedule.missed if old.schedule else 0
    return max(0, new.schedule.missed - before) if new.schedule else 0


_WHY_MISSED = {
    MissReason.UNFINISHED: "a run was not over yet",
    MissReason.LATE: "nothing could be started within spec.schedule.startingDeadline",
    MissReason.OVERTAKEN: "only the latest of those that are due at once is run",
    MissReason.COMPENSATION_FAILED: "what the last run left is not taken back yet",
}


def _missed(old: RunStatus, new: RunStatus) -> list[Happening]:
    number, schedule = missed(old, new), new.schedule
    if not number or schedule is None or schedule.missed_reason is None:
        return []
    many = "100 or more" if number >= COUNTED else str(number)
    what = "the run" if number == 1 else f"{many} runs, the last of them"
    why = _WHY_MISSED[schedule.missed_reason]
    return [Happening("ScheduleMissed", f"{what} due at {stamp(schedule.missed_at)} did not start: {why}", True)]


_TROUBLE = frozenset(
    {
        Reason.TENANT_NOT_FOUND,
        Reason.TENANT_AMBIGUOUS,
        Reason.TENANT_NOT_READY,
        Reason.PROCEDURE_NOT_FOUND,
        Reason.PROCEDURE_FORBIDDEN,
        Reason.TARGETS_FORBIDDEN,
        Reason.PARAMETERS_INVALID,
        Reason.SPEC_INVALID,
        Reason.TEMPORAL_UNAVAILABLE,
    }
)
_NEWS = frozenset({Reason.WAITING, Reason.SUSPENDED, Reason.SUPERSEDED, Reason.RERUN_THROTTLED})


def _is_news(old: RunStatus, new: RunStatus, before: Condition | None, after: Condition) -> bool:
    if before is not None and before.reason == after.reason:
        return after.reason == Reason.WAITING and _waits_for(old) != _waits_for(new)
    return after.reason in _TROUBLE | _NEWS


def _waits_for(status: RunStatus) -> tuple[str, ...]:
    """What is waited for, without what changes while the wait is the same."""
    waiting = status.waiting_for
    return (waiting.gate, waiting.kind, waiting.subject) if waiting else ()


def _said(old: RunStatus, new: RunStatus) -> list[Happening]:
    """What the conditions newly say: troubles as warnings, waits as news."""
    told = []
    before, after = find(old.conditions, ConditionType.READY), find(new.conditions, ConditionType.READY)
    if after is not None:
        rejected = new.phase is Phase.REJECTED and old.phase is not Phase.REJECTED
        if rejected:
            told.append(Happening("Rejected", f"{after.reason}: {after.message}", True))
        elif _is_news(old, new, before, after):
            told.append(Happening(after.reason, after.message, after.reason in _TROUBLE))
    return [*told, *_sick(old, new), *_moved(old, new)]


def _sick(old: RunStatus, new: RunStatus) -> list[Happening]:
    """The run's code fails, or somebody paused it."""
    before, after = find(old.conditions, ConditionType.RUN_HEALTHY), find(new.conditions, ConditionType.RUN_HEALTHY)
    if after is None or (before is not None and before.reason == after.reason):
        return []
    return [Happening(after.reason, after.message, True)]


def _moved(old: RunStatus, new: RunStatus) -> list[Happening]:
    published = find(new.conditions, ConditionType.PUBLISHED)
    known = find(old.conditions, ConditionType.PUBLISHED)
    moved = published is not None and published.status is ConditionStatus.FALSE
    if published is not None and moved and (known is None or known.message != published.message):
        return [Happening(published.reason, published.message, True)]
    return []
