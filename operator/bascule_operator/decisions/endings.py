"""How a run ended, and what the status says of a resource whose last run is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from bascule_api import names
from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, Reason, StepState
from bascule_api.failures import Failure, FailureType
from bascule_api.progress import RunResult
from bascule_api.runs import CompensationStatus, PastRun, ProgressStatus, RunRecord, RunStatus, StepStatus
from bascule_operator.decisions.conditions import RUN_LIFE, Says, ready, stalled
from bascule_operator.decisions.status import execution, said
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Closed, RunView
from bascule_operator.decisions.wording import in_short, length, step_words

HISTORY = 5
UNKNOWN = "unknown: the run ended without telling what it made"
AFTER = (*RUN_LIFE, ConditionType.COMPENSATED, ConditionType.RUN_HEALTHY)


def told_result(subject: Subject, view: RunView) -> RunResult | None:
    """The result of a run that Temporal says is closed; None when Temporal ended it before it could tell."""
    number = subject.status.run.progress_number if subject.status.run else 0
    if view.result is None and view.closed is Closed.CANCELED and view.progress is None and number == 0:
        # Cancelled before its first task: its code never ran, and its first act would have been to say so.
        return never_ran()
    return view.result


def untold(view: RunView) -> str:
    """Why a closed run told no result."""
    return view.unreadable or f"Temporal ended the run ({view.closed or 'gone'}) before it could compensate"


def ended(subject: Subject, result: RunResult, view: RunView, now: datetime) -> RunStatus:
    """The status after a run that ended with this result."""
    run, compensation = subject.status.run, result.compensation
    assert run is not None  # noqa: S101 - callers have an unfinished run
    if compensation.state is CompensationState.RUNNING:
        compensation = compensation.model_copy(update={"state": CompensationState.FAILED})
    record = _record(run, result, view, now)
    past = PastRun(
        number=record.number,
        revision=record.revision,
        trigger=record.trigger,
        phase=result.phase,
        started_at=record.started_at,
        finished_at=record.finished_at,
        summary=summary(result),
    )
    others = [item for item in subject.status.history if item.number != record.number]
    over = subject.status.model_copy(
        update={
            "run": record,
            "steps": result.steps or _stopped(subject.status.steps),
            "progress": _last_progress(subject.status, result),
            "waiting_for": None,
            "compensation": compensation,
            "failure": result.failure,
            "history": [past, *others][:HISTORY],
        }
    )
    return settled(subject.with_status(over), now)


def _record(run: RunRecord, result: RunResult, view: RunView, now: datetime) -> RunRecord:
    over, started = view.closed_at or now, run.started_at or view.started_at
    return run.model_copy(
        update={
            "run_id": execution(run, view),
            "outcome": result.phase,
            "version": result.version or run.version,
            "progress_number": max(result.progress_number, run.progress_number),
            "started_at": started,
            "finished_at": over,
            "duration": length(over - started) if started else "",
            "waited": length(timedelta(seconds=result.waited_seconds)) if result.waited_seconds else "",
        }
    )


def _stopped(steps: list[StepStatus]) -> list[StepStatus]:
    """Steps of a run that ended without a word: what ran did not finish."""
    over = {StepState.RUNNING: StepState.FAILED, StepState.PENDING: StepState.SKIPPED}
    return [step.model_copy(update={"state": over.get(step.state, step.state)}) for step in steps]


def _is_done(step: StepStatus) -> bool:
    """Carried out, or looked at and not needed; what was never reached has no end."""
    skipped = step.state is StepState.SKIPPED and step.finished_at is not None
    return skipped or step.state in (StepState.SUCCEEDED, StepState.UNDONE)


def _last_progress(old: RunStatus, result: RunResult) -> ProgressStatus:
    total = len(result.steps) or (old.progress.total if old.progress else 0)
    done = sum(1 for step in result.steps if _is_done(step))
    if not result.steps and old.progress:
        done = old.progress.completed
    return ProgressStatus(
        completed=done,
        total=total,
        percent=round(100 * done / total) if total else 0,
        summary=in_short(done, total, result.steps),
        message=summary(result),
    )


def never_ran() -> RunResult:
    """The result of a run that was cancelled before it did anything."""
    nothing = CompensationStatus(state=CompensationState.NOTHING_TO_DO)
    return RunResult(phase=Phase.CANCELLED, progress_number=0, compensation=nothing)


def lost_result(progress_number: int, how: str) -> RunResult:
    """What is known of a run that Temporal lost or ended by itself: it failed, and what it made is unknown."""
    unknown = CompensationStatus(state=CompensationState.FAILED, last_error=how[:4096], left=[UNKNOWN])
    failure = Failure(type=FailureType.RUN_LOST, message=how[:4096])
    return RunResult(phase=Phase.FAILED, progress_number=progress_number, failure=failure, compensation=unknown)


def is_lost(status: RunStatus) -> bool:
    """Whether the run ended without telling what it made."""
    return status.compensation is not None and UNKNOWN in status.compensation.left


def summary(result: RunResult) -> str:
    """One line on how a run ended."""
    if result.failure is None:
        return result.words[:256]
    first = next(iter(result.failure.message.strip().splitlines()), "")
    where = f"{step_words(result.failure.step)} " if result.failure.step else ""
    return f"{where}failed: {first}"[:256]


def settled(subject: Subject, now: datetime) -> RunStatus:
    """The status of a resource whose last run is over and which wants nothing else, or may not have it yet."""
    status, run = subject.status, subject.status.run
    if run is None or run.outcome is None:
        # It waits for its schedule, and for nobody: kstatus takes a resource without Ready for a current one.
        return said(subject, [], now, phase=Phase.PENDING)
    says = _outcome(subject, run)
    return said(subject, [*says, *_compensated(status)], now, replaces=AFTER, phase=run.outcome)


def _outcome(subject: Subject, run: RunRecord) -> list[Says]:
    status = subject.status
    if status.compensation is not None and not status.compensation.state.settled:
        return stalled(*_unsettled(subject, run, status.compensation))
    if subject.scheduled and subject.differs_from(run.revision):
        return []  # the spec's own run waits for its schedule, and says neither this nor that of it until then
    match run.outcome:
        case Phase.SUCCEEDED:
            return ready(Reason.SUCCEEDED, f"run {run.number} succeeded")
        case Phase.CANCELLED:
            return stalled(Reason.CANCELLED, _cancelled(status, run))
        case _:
            return stalled(*_failed(status))


def _cancelled(status: RunStatus, run: RunRecord) -> str:
    text = f"run {run.number} was cancelled{f' ({run.cancel_reason})' if run.cancel_reason else ''}"
    return f"{text}; what it had made was taken back" if _took_back(status) else text


def _took_back(status: RunStatus) -> bool:
    compensation = status.compensation
    return status.takes_all_back and compensation is not None and compensation.state is CompensationState.SUCCEEDED


_REASONS = {
    FailureType.RUN_LOST: Reason.RUN_LOST,
    FailureType.RUN_TIMED_OUT: Reason.TIMED_OUT,
    FailureType.APPROVAL_REJECTED: Reason.APPROVAL_REJECTED,
    FailureType.APPROVAL_TIMED_OUT: Reason.APPROVAL_TIMED_OUT,
}


def _failed(status: RunStatus) -> tuple[Reason, str]:
    failure = status.failure
    if failure is None:
        return Reason.STEP_FAILED, "the run failed"
    text = f"{step_words(failure.step)} failed: {failure.message.strip()}" if failure.step else failure.message.strip()
    reason = _REASONS.get(failure.type, Reason.STEP_FAILED)
    return reason, f"{text}; what the run had made was taken back" if _took_back(status) else text


def _unsettled(subject: Subject, run: RunRecord, compensation: CompensationStatus) -> tuple[Reason, str]:
    error = compensation.last_error or "the deadline passed"
    left = f"; left: {', '.join(compensation.left)}" if compensation.left else ""
    if is_lost(subject.status):
        left = f"; look for objects labelled {names.LABEL_RUN}={names.run_label(subject.meta.uid, run.number)}"
    return Reason.COMPENSATION_FAILED, (
        f"what run {run.number} made could not be taken back: {error}{left}. No run starts until that is settled: "
        f"a new value of {names.REQUESTED_AT} tries again"
    )


def _compensated(status: RunStatus) -> list[Says]:
    compensation, kind = status.compensation, ConditionType.COMPENSATED
    if compensation is None or compensation.state is CompensationState.NOTHING_TO_DO:
        return []
    match compensation.state:
        case CompensationState.SUCCEEDED:
            done = f"{compensation.completed} of {compensation.total} taken back"
            return [Says(kind, ConditionStatus.TRUE, Reason.SUCCEEDED, done)]
        case CompensationState.FORCED:
            return [Says(kind, ConditionStatus.FALSE, Reason.FORCED, f"let go by {names.FORCE_DELETE}")]
        case _:
            left = f"left: {', '.join(compensation.left)}" if compensation.left else "the deadline passed"
            error = f"{compensation.last_error}; " if compensation.last_error else ""
            return [Says(kind, ConditionStatus.FALSE, Reason.COMPENSATION_FAILED, error + left)]
