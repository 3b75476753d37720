"""What the status says before and while a run goes on.

Every function returns the complete status: what is not known now is carried forward.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, Reason, StepState
from bascule_api.progress import CompensationProgress, Progress
from bascule_api.runs import (
    Blocked,
    CancelCause,
    CompensationStatus,
    Handled,
    ProgressStatus,
    RunRecord,
    RunStatus,
    StepStatus,
)
from bascule_operator.decisions import waits
from bascule_operator.decisions.conditions import RUN_LIFE, Says, conditions, find, stalled, working
from bascule_operator.decisions.starts import Throttled
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Problem, RunView
from bascule_operator.decisions.wording import at, in_short, stamp

PATIENCE = timedelta(minutes=5)
"""How long a missing Tenant or Procedure is waited for before the resource counts as rejected."""
FAILING_ATTEMPTS = 3
"""Attempts of one workflow task after which the run's code counts as failing."""


def said(
    subject: Subject,
    says: list[Says],
    now: datetime,
    *,
    replaces: tuple[ConditionType, ...] = RUN_LIFE,
    **fields: Any,
) -> RunStatus:
    """The status with other conditions and other fields. Of the types in `replaces` only those said remain."""
    generation = subject.meta.generation
    told = conditions(subject.status.conditions, says, replaces=replaces, generation=generation, now=now)
    return subject.status.model_copy(
        update={"observed_generation": generation, "conditions": told, "blocked": None, **fields}
    )


def rejected(subject: Subject, message: str, now: datetime) -> RunStatus:
    """The spec cannot be understood."""
    return said(subject, stalled(Reason.SPEC_INVALID, message), now, phase=Phase.REJECTED)


def blocked(subject: Subject, problem: Problem, now: datetime) -> RunStatus:
    """A wanted run cannot start: Pending at first, Rejected when it lasts, and healing by itself even then."""
    since = subject.status.blocked.since if subject.status.blocked else now
    for_good = problem.final or (problem.reason is not Reason.TEMPORAL_UNAVAILABLE and now - since >= PATIENCE)
    says = stalled(problem.reason, problem.message) if for_good else working(problem.reason, problem.message)
    return said(
        subject,
        says,
        now,
        phase=Phase.REJECTED if for_good else Phase.PENDING,
        blocked=Blocked(reason=problem.reason, since=since),
    )


def until_rejected(status: RunStatus, now: datetime) -> float | None:
    """Seconds until a blocked resource has to be looked at again, if nothing changes before."""
    if status.blocked is None or status.phase is Phase.REJECTED:
        return None
    return max(1.0, (status.blocked.since + PATIENCE - now).total_seconds())


def suspended(subject: Subject, now: datetime) -> RunStatus:
    """A run is wanted, but spec.suspend holds it back."""
    message = "spec.suspend is set: nothing starts until it is taken away"
    return said(subject, working(Reason.SUSPENDED, message), now, phase=Phase.SUSPENDED)


def throttled(
    subject: Subject, throttle: Throttled, now: datetime, what: str = "the requested re-run starts"
) -> RunStatus:
    """A re-run, or another attempt, is wanted too soon; the phase is still that of the last run."""
    message = f"{what} at {stamp(throttle.until)}: at most one a minute and ten an hour"
    return said(subject, working(Reason.RERUN_THROTTLED, message), now)


def intended(subject: Subject, run: RunRecord, handled: Handled, now: datetime) -> RunStatus:
    """The intent of a run, written before anything is started."""
    says = working(Reason.STARTING, f"run {run.number} is about to start")
    gone = (ConditionType.COMPENSATED, ConditionType.RUN_HEALTHY, ConditionType.VERIFIED)
    return said(
        subject,
        says,
        now,
        replaces=RUN_LIFE + gone,
        phase=Phase.PENDING,
        run=run,
        handled=handled,
        progress=None,
        steps=[],
        waiting_for=None,
        compensation=None,
        failure=None,
    )


def unavailable(subject: Subject, silence: str, now: datetime) -> RunStatus:
    """Temporal cannot be asked (`silence`: what it does instead): the phase stays, Ready says so and since when."""
    before = find(subject.status.conditions, ConditionType.READY)
    begin = f"Temporal {silence} since "
    known = before is not None and before.reason == Reason.TEMPORAL_UNAVAILABLE and before.message.startswith(begin)
    if before is not None and known:
        message = before.message
    else:
        message = f"{begin}{stamp(now)}: {_unseen(subject)}; tried again until it does"
    phase = subject.status.phase or Phase.PENDING
    return said(subject, working(Reason.TEMPORAL_UNAVAILABLE, message), now, phase=phase)


def _unseen(subject: Subject) -> str:
    run = subject.unfinished
    if subject.undoing is not None and subject.run is not None:
        return f"what run {subject.run.number} left is not taken back yet"
    return f"run {run.number} goes on unseen or waits" if run and run.run_id else "nothing can start"


def running(subject: Subject, view: RunView, now: datetime) -> RunStatus:
    """A run that Temporal says is open."""
    run = subject.status.run
    assert run is not None  # noqa: S101 - callers have an unfinished run
    progress = view.progress
    if progress is not None and progress.number < run.progress_number:
        progress = None  # an older row of the feed: progress never goes backwards
    record = run.model_copy(
        update={
            "run_id": execution(run, view),
            "started_at": run.started_at or view.started_at,
            "version": (progress.version if progress else "") or run.version,
            "progress_number": progress.number if progress else run.progress_number,
        }
    )
    fields = _progress_fields(subject, progress) if progress else {}
    told = subject.with_status(subject.status.model_copy(update=fields | {"run": record}))
    replaces = RUN_LIFE + ((ConditionType.RUN_HEALTHY,) if view.described or progress else ())
    says = [*_open_says(told, progress), *health(view)]
    return said(told, says, now, replaces=replaces, phase=_open_phase(progress, subject.status.phase))


def execution(run: RunRecord, view: RunView) -> str:
    """Id of the execution that is the run. It moves on as the run continues as new.

    After a reset it stays: what goes on instead is not this run.
    """
    return view.run_id if view.continues else run.run_id or view.first_run_id or view.run_id


def _open_phase(progress: Progress | None, known: Phase | None) -> Phase:
    if progress is None:
        return known if known in (Phase.RUNNING, Phase.WAITING, Phase.COMPENSATING) else Phase.PENDING
    # The last word of a run precedes its close by a moment, and only the close counts.
    return Phase.RUNNING if progress.phase.terminal else progress.phase


_PAUSED = (
    "somebody paused the run's workflow in Temporal: nothing goes on until it is unpaused there; "
    "spec.suspend pauses a run at a step boundary"
)


def health(view: RunView) -> list[Says]:
    """What is wrong with the code of a live workflow, or with how it is kept."""
    if view.paused:
        return [Says(ConditionType.RUN_HEALTHY, ConditionStatus.FALSE, Reason.PAUSED_IN_TEMPORAL, _PAUSED)]
    if view.unreadable:
        why = view.unreadable
    elif view.problems:
        why = f"the run's code fails again and again: Temporal reports {view.problems}; see the workers' logs"
    elif view.task_attempt >= FAILING_ATTEMPTS:
        why = f"the run's code fails: attempt {view.task_attempt} of one workflow task; see the workers' logs"
    else:
        return []
    return [Says(ConditionType.RUN_HEALTHY, ConditionStatus.FALSE, Reason.WORKFLOW_TASK_FAILING, why)]


def _open_says(subject: Subject, progress: Progress | None) -> list[Says]:
    run, doing = subject.status.run, _doing(subject, progress)
    assert run is not None  # noqa: S101 - callers have an unfinished run
    if subject.deleting:
        return working(Reason.DELETING, f"deleted: run {run.number} is cancelled and takes back what it made; {doing}")
    if run.cancel_cause is CancelCause.SUPERSEDED:
        return working(Reason.SUPERSEDED, f"the spec changed: run {run.number} is cancelled first; {doing}")
    if run.cancel_cause is CancelCause.RESET:
        reset = f"run {run.number} was reset in Temporal: what goes on there instead is stopped first; {doing}"
        return working(Reason.COMPENSATING, reset)
    if run.cancel_cause is not None:
        return working(Reason.COMPENSATING, f"cancelled ({run.cancel_reason or 'no reason given'}); {doing}")
    if progress is None:
        taken = f"run {run.number} goes on" if run.progress_number else f"run {run.number} is started; {doing}"
        return working(Reason.PROGRESSING if run.progress_number else Reason.STARTING, taken)
    match progress.phase:
        case Phase.WAITING:
            return working(Reason.WAITING, doing)
        case Phase.SUSPENDED:
            return working(Reason.SUSPENDED, "spec.suspend is set: paused at a step boundary")
        case Phase.COMPENSATING:
            return working(Reason.COMPENSATING, doing)
        case _:
            return working(Reason.PROGRESSING, doing)


def _doing(subject: Subject, progress: Progress | None) -> str:
    """What the run does, for people."""
    if progress is None:
        return "no worker has taken it up yet"
    if progress.compensation is not None and progress.compensation.state is CompensationState.RUNNING:
        compensation = progress.compensation
        text = f"{compensation.completed} of {compensation.total} taken back"
        return f"{text}; last error: {compensation.last_error}" if compensation.last_error else text
    if progress.waiting is not None:
        return waits.words(subject, progress.waiting)
    live = [_step_words(step) for step in subject.status.steps if step.state is StepState.RUNNING]
    if live:
        return (
            f"{'step' if len(live) == 1 else 'steps'} {', '.join(live[:5])} {'is' if len(live) == 1 else 'are'} running"
        )
    return progress.message or f"{progress.completed} of {progress.total} steps done"


def _step_words(step: StepStatus) -> str:
    attempt = f" (attempt {step.attempts})" if step.attempts > 1 else ""
    return f"{step.name}{attempt}{' since ' + stamp(step.started_at) if step.started_at else ''}"


def _progress_fields(subject: Subject, progress: Progress) -> dict[str, Any]:
    before = {step.name: step for step in subject.status.steps}
    return {
        "steps": [
            StepStatus(
                name=step.name,
                state=step.state,
                started_at=at(step.started),
                finished_at=at(step.finished),
                attempts=step.attempts,
                message=before[step.name].message if step.name in before else "",
                log=before[step.name].log if step.name in before else None,
            )
            for step in progress.steps
        ],
        "progress": ProgressStatus(
            completed=progress.completed,
            total=progress.total,
            percent=round(100 * progress.completed / progress.total) if progress.total else 0,
            summary=in_short(progress.completed, progress.total, progress.steps),
            message=progress.message[:256],
        ),
        "waiting_for": waits.waiting_for(subject, progress.waiting),
        "compensation": compensation_of(progress.compensation) if progress.compensation else None,
    }


def compensation_of(progress: CompensationProgress) -> CompensationStatus:
    """A run's own compensation, as its progress tells it."""
    return CompensationStatus(
        state=progress.state,
        attempt=1,
        completed=progress.completed,
        total=progress.total,
        last_error=progress.last_error[:4096],
        deadline=at(progress.deadline),
        left=[item[:256] for item in progress.left[:50]],
    )
