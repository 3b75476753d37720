"""Taking back what a run left once the run itself is over: by an undo workflow, with its intent written first."""

from __future__ import annotations

from datetime import datetime

from bascule_api import names
from bascule_api.conditions import CompensationState, ConditionStatus, ConditionType, Phase, Reason
from bascule_api.failures import FailureType
from bascule_api.progress import RunResult
from bascule_api.runs import (
    CancelCause,
    CompensationScope,
    CompensationSpec,
    CompensationStatus,
    Handled,
    OnDelete,
    RunRecord,
    RunStatus,
    Trigger,
)
from bascule_operator.decisions import endings, starts, status
from bascule_operator.decisions.conditions import Says, working
from bascule_operator.decisions.moves import (
    Decision,
    LetGo,
    Look,
    Observed,
    Project,
    StartUndo,
    belongs,
    identity_of,
    next_look,
    release,
)
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import RunState, RunView

LEFT_LIMIT = 50
REASON_LIMIT = 256
LAST_TRIES_SECONDS = 3600
"""What is at work past its deadline tries each counterweight once more, within this time."""


def on_delete(subject: Subject) -> OnDelete:
    """What deletion undoes. A spec that cannot be read holds nothing that is over."""
    return subject.spec.compensation.on_delete if subject.spec else OnDelete.WHEN_UNFINISHED


# A run that ended without compensating


def was_reset(run: RunRecord, view: RunView) -> bool:
    """Whether somebody reset the run in Temporal: another execution goes on under its id, from an earlier point.

    What the run did after that point is unknown to it, so that only an undo workflow can take all back. Of a row of
    the feed it may only be suspected: a run that continued as new has another execution as well.
    """
    return bool(view.run_id) and view.run_id != status.execution(run, view)


def finished(subject: Subject, view: RunView, now: datetime) -> RunStatus:
    """The status after a run that Temporal says is closed: its result, or the intent of undoing it without one."""
    result = endings.told_result(subject, view)
    if was_reset(_run(subject), view):
        return lost(subject, "somebody reset the run in Temporal", view, now)
    if result is None:
        return lost(subject, endings.untold(view), view, now)
    return endings.ended(subject, result, view, now)


def lost(subject: Subject, how: str, view: RunView, now: datetime) -> RunStatus:
    """The status of a run that Temporal ended or lost: it failed, and undoing it is intended in the same write."""
    run = _run(subject)
    over = subject.status
    if run.outcome is None:
        over = endings.ended(subject, endings.lost_result(run.progress_number, how), view, now)
    return intended(subject.with_status(over), now)


# The intent


def intended(subject: Subject, now: datetime, handled: Handled | None = None) -> RunStatus:
    """The status with the intent of the next attempt. What was left by the one before stays listed until it tells."""
    run, before = _run(subject), subject.status.compensation
    attempt = (before.attempt if before else 0) + 1
    undo = CompensationStatus(
        state=CompensationState.RUNNING,
        scope=_scope(subject),
        attempt=attempt,
        left=before.left if before else [],
        workflow_id=names.undo_workflow_id(subject.kind, subject.meta.uid, run.number, attempt),
    )
    update = {"compensation": undo} | ({"handled": handled} if handled else {})
    return _telling(subject.with_status(subject.status.model_copy(update=update)), now)


def _scope(subject: Subject) -> CompensationScope:
    """What is to be taken back. Of a run that did not succeed all goes; of one that did, what deletion says."""
    keeps = on_delete(subject) if subject.deleting else OnDelete.WHEN_UNFINISHED
    if keeps is OnDelete.ALWAYS:
        return CompensationScope.ALL
    if keeps is OnDelete.NEVER or _run(subject).outcome is Phase.SUCCEEDED:
        return CompensationScope.RELEASES
    return CompensationScope.RUN


def _begin(observed: Observed, handled: Handled | None = None) -> Decision:
    if not observed.fresh:
        return Look(fresh=True)
    return Project(intended(observed.subject, observed.now, handled), then=True, urgent=True)


# While it goes on


def go_on(observed: Observed) -> Decision:
    """An undo workflow is intended, or goes on."""
    subject, view = observed.subject, observed.view
    if observed.silence:
        return Project(status.unavailable(subject, observed.silence, observed.now))
    if view.state is RunState.UNKNOWN or (view.state is not RunState.OPEN and not view.described):
        return Look(describe=True)
    if view.identity is not None and not belongs(view.identity, subject, _run(subject)):
        # Somebody used the id for something else: that is none of ours.
        return _begin(observed)
    match view.state:
        case RunState.ABSENT:
            return _absent(observed)
        case RunState.OPEN:
            return _open(observed)
        case _:
            return Project(_closed(subject, view, observed.now), then=True)


def _absent(observed: Observed) -> Decision:
    """It was not started yet; or it is lost, which a new request may mend, and nothing else: no end in itself."""
    subject, run, undo = observed.subject, _run(observed.subject), _undo(observed.subject)
    if undo.run_id:
        how = f"Temporal does not know the workflow {undo.workflow_id} in {run.temporal_namespace} any more"
        return Project(_failed(subject, how, observed.now), then=True)
    if subject.spec is None and not subject.status.recorded:
        how = "what the run made is not recorded, and the spec that would tell it cannot be read"
        return Project(_failed(subject, how, observed.now), then=True)
    if not observed.fresh:
        return Look(fresh=True, describe=True)
    failure = subject.status.failure
    return StartUndo(
        identity=identity_of(subject, run),
        run=run,
        undo=undo,
        timeout_seconds=(subject.spec.compensation if subject.spec else CompensationSpec()).timeout.seconds,
        abandoned=undo.attempt == 1 and failure is not None and failure.type is FailureType.RUN_LOST,
        final=subject.deleting,
    )


def _open(observed: Observed) -> Decision:
    subject, view, undo = observed.subject, observed.view, _undo(observed.subject)
    told = view.progress.compensation if view.progress else None
    update: dict[str, object] = {"run_id": undo.run_id or view.run_id}
    if told is not None:
        shown = status.compensation_of(told)
        # A row of the feed may be older than one that was seen before.
        update |= {"completed": max(shown.completed, undo.completed), "total": shown.total, "left": shown.left}
        update |= {"last_error": shown.last_error, "deadline": shown.deadline}
    after = subject.status.model_copy(update={"compensation": undo.model_copy(update=update)})
    ending = told is not None and told.state is not CompensationState.RUNNING
    telling = _telling(subject.with_status(after), observed.now, view)
    return Project(telling, again=next_look(view, ending=ending))


def _closed(subject: Subject, view: RunView, now: datetime) -> RunStatus:
    undo = _undo(subject)
    if view.undone is None:
        how = view.unreadable or f"Temporal ended the workflow {undo.workflow_id} ({view.closed or 'gone'})"
        return _failed(subject, how, now)
    result = view.undone.compensation
    state = CompensationState.FAILED if result.state is CompensationState.RUNNING else result.state
    told = result.model_copy(
        update={
            "state": state,
            "scope": undo.scope,
            "attempt": undo.attempt,
            "workflow_id": undo.workflow_id,
            "run_id": view.run_id or undo.run_id,
        }
    )
    return _over(subject, told, now)


def _failed(subject: Subject, how: str, now: datetime) -> RunStatus:
    undo = _undo(subject)
    left = undo.left or [endings.UNKNOWN]
    told = undo.model_copy(update={"state": CompensationState.FAILED, "last_error": how[:4096], "left": left})
    return _over(subject, told, now)


def _over(subject: Subject, told: CompensationStatus, now: datetime) -> RunStatus:
    return endings.settled(subject.with_status(subject.status.model_copy(update={"compensation": told})), now)


def _telling(subject: Subject, now: datetime, view: RunView | None = None) -> RunStatus:
    """The status while an undo goes on. The phase of the run is over and stays."""
    run, undo = _run(subject), _undo(subject)
    doing = f"{undo.completed} of {undo.total} taken back" if undo.total else "no worker has taken it up yet"
    error = f"; last error: {undo.last_error}" if undo.last_error else ""
    words = f"{_why(subject, run)}; {doing}{error}"
    says = working(Reason.DELETING if subject.deleting else Reason.COMPENSATING, words)
    says.append(Says(ConditionType.COMPENSATED, ConditionStatus.UNKNOWN, Reason.COMPENSATING, f"{doing}{error}"))
    says += status.health(view) if view else []
    return status.said(subject, says, now, replaces=endings.AFTER, phase=run.outcome)


def _why(subject: Subject, run: RunRecord) -> str:
    undo, failure = _undo(subject), subject.status.failure
    again = f" (attempt {undo.attempt})" if undo.attempt > 1 else ""
    match undo.scope:
        case CompensationScope.ALL:
            what = f"what run {run.number} and those before it made is taken back{again}"
        case CompensationScope.RELEASES:
            what = f"what run {run.number} holds is released{again}"
        case _:
            what = f"what run {run.number} made is taken back{again}"
    if subject.deleting:
        return f"deleted: {what}"
    lost = failure is not None and failure.type is FailureType.RUN_LOST and undo.attempt == 1
    return f"{failure.message}: {what}" if failure and lost else what


# When it failed, and when the resource goes


def held(observed: Observed) -> Decision:
    """The last compensation failed: a new request tries what remains, and nothing else starts."""
    subject, now = observed.subject, observed.now
    if not starts.asks_again(subject):
        return Project(endings.settled(subject, now))
    throttle = starts.throttled(subject, Trigger.REQUEST, now)
    if throttle is not None:
        waits = status.throttled(subject, throttle, now, what="what was left is taken back by another attempt")
        return Project(waits, again=(throttle.until - now).total_seconds() + 0.1)
    return _begin(observed, starts.handled_by_start(subject, Trigger.REQUEST, now))


def leaving(observed: Observed) -> Decision:
    """The resource is being deleted, and its last run and what that had to take back are over."""
    subject = observed.subject
    run, compensation = _run(subject), subject.status.compensation
    # Where only the history remembers the run, not even its tenant is known.
    if compensation is None or not run.workflow_id or compensation.state is CompensationState.FORCED:
        return release(observed)
    if not compensation.state.settled:
        return held(observed)
    return _begin(observed) if leaves_something(subject) else release(observed)


def leaves_something(subject: Subject) -> bool:
    """Whether finished runs left what deletion has to take back."""
    undoes = on_delete(subject) is OnDelete.ALWAYS and subject.status.stands
    return undoes or subject.status.keeps


# When a person lets go


def is_forced(subject: Subject) -> bool:
    """Whether a person lets go of something that deletion would wait for."""
    if not (subject.deleting and subject.finalized and subject.force and subject.run):
        return False
    compensation = subject.status.compensation
    if subject.run.outcome is None or compensation is None or not compensation.state.settled:
        return bool(subject.run.workflow_id)
    return leaves_something(subject) and compensation.state is not CompensationState.FORCED


def let_go(observed: Observed) -> Decision:
    """Write that it was forced; asking a live run to stop is all that happens to it."""
    subject, run, now = observed.subject, _run(observed.subject), observed.now
    if not observed.fresh:
        return Look(fresh=True)
    before = subject.status.compensation or CompensationStatus(state=CompensationState.FORCED)
    forced = before.model_copy(update={"state": CompensationState.FORCED, "left": before.left[:LEFT_LIMIT]})
    live = run.outcome is None
    if live:
        marked = run.model_copy(update={"cancel_cause": run.cancel_cause or CancelCause.DELETED})
        cancelled = subject.with_status(subject.status.model_copy(update={"run": marked}))
        result = RunResult(phase=Phase.CANCELLED, progress_number=run.progress_number, compensation=forced)
        after = endings.ended(cancelled, result, RunView(), now)
    else:
        after = _over(subject, forced, now)
    return LetGo(after, run if live else None, subject.force[:REASON_LIMIT], _last_release(subject))


def _last_release(subject: Subject) -> StartUndo | None:
    """Releases only, such as of copies of logins: nobody is left to ask for an undoing that would need them.

    A run or an undo workflow that is still at work has its own time for taking back, and needs them until then.
    """
    run, before = _run(subject), subject.status.compensation
    if not (run.workflow_id and subject.status.may_hold):
        return None
    attempt = (before.attempt if before else 0) + 1
    timeout = (subject.spec.compensation if subject.spec else CompensationSpec()).timeout.seconds
    busy = run.outcome is None or subject.undoing is not None
    return StartUndo(
        identity=identity_of(subject, run),
        run=run,
        undo=CompensationStatus(
            state=CompensationState.RUNNING,
            scope=CompensationScope.RELEASES,
            attempt=attempt,
            workflow_id=names.undo_workflow_id(subject.kind, subject.meta.uid, run.number, attempt),
        ),
        timeout_seconds=timeout,
        abandoned=False,
        final=True,
        delay_seconds=timeout + LAST_TRIES_SECONDS if busy else 0,
    )


def _run(subject: Subject) -> RunRecord:
    run = subject.run
    assert run is not None  # noqa: S101 - only what ran is undone
    return run


def _undo(subject: Subject) -> CompensationStatus:
    undo = subject.status.compensation
    assert undo is not None  # noqa: S101 - callers have an undo that is intended
    return undo
