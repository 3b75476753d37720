"""The next single step in the life of a resource's runs. Pure: what to do, and what the status says meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from bascule_api import names
from bascule_api.runs import CancelCause, OnDelete, RunRecord, RunStatus, Trigger
from bascule_operator.decisions import endings, schedules, starts, status, undoing
from bascule_operator.decisions.moves import (
    AddFinalizer,
    CancelRun,
    Decision,
    Leave,
    Look,
    Observed,
    Project,
    SendDesired,
    StartRun,
    belongs,
    identity_of,
    next_look,
    release,
)
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, Problem, RunState, RunView


def decide(observed: Observed) -> Decision:
    """Choose the next single step that moves the resource towards what it wants."""
    observed = schedules.brought_up(observed)
    subject = observed.subject
    if undoing.is_forced(subject):
        return undoing.let_go(observed)
    if subject.unfinished is not None:
        return _with_run(observed, subject.unfinished)
    if subject.undoing is not None:
        return _with_undo(observed)
    if subject.deleting:
        return _leaving(observed)
    return _idle(observed)


def _with_run(observed: Observed, run: RunRecord) -> Decision:
    subject, view = observed.subject, observed.view
    if observed.silence:
        return Project(status.unavailable(subject, observed.silence, observed.now))
    unsure = view.state is not RunState.OPEN or undoing.was_reset(run, view)
    if view.state is RunState.UNKNOWN or (unsure and not view.described):
        return Look(describe=True)
    match view.state:
        case RunState.ABSENT:
            return _absent(observed, run)
        case RunState.OPEN:
            return _open(observed, run)
        case _:
            return _closed(observed)


def _absent(observed: Observed, run: RunRecord) -> Decision:
    """Temporal knows no such run: it was lost, or it was never started."""
    subject = observed.subject
    if run.run_id or run.outcome is not None:
        how = f"Temporal does not know the workflow {run.workflow_id} in {run.temporal_namespace} any more"
        return Project(undoing.lost(subject, how, observed.view, observed.now), then=True, urgent=True)
    if subject.deleting:
        if not undoing.leaves_something(subject):
            return release(observed)
        marked = _marked(subject, CancelCause.DELETED)
        return Project(endings.ended(marked, endings.never_ran(), observed.view, observed.now), then=True)
    if starts.cancel_cause(subject) is CancelCause.REQUESTED:
        marked = _marked(subject, CancelCause.REQUESTED)
        return Project(endings.ended(marked, endings.never_ran(), observed.view, observed.now), then=True)
    if late := schedules.too_late(subject, run, observed.now):
        missed = _marked(schedules.never_started(subject), CancelCause.MISSED, late)
        return Project(endings.ended(missed, endings.never_ran(), observed.view, observed.now), then=True)
    return _intend(observed, run.trigger, run.number)


def _open(observed: Observed, run: RunRecord) -> Decision:
    subject, view = observed.subject, observed.view
    if not subject.deleting and view.identity is not None and not belongs(view.identity, subject, run):
        # Somebody used the id before, such as a leader that was paused: its run is cancelled by the sweep.
        return _intend(observed, run.trigger, run.number + 1)
    reset = CancelCause.RESET if undoing.was_reset(run, view) else None
    cause = run.cancel_cause or reset or starts.cancel_cause(subject)
    if cause is not None and run.cancel_cause is None:
        if not observed.fresh:
            return Look(fresh=True, describe=True)
        marked = _marked(subject, cause)
        return Project(status.running(marked, view, observed.now), then=True, urgent=True)
    if cause is not None and not view.cancel_requested:
        if not view.described:
            return Look(describe=True)
        return CancelRun(run, _cancel_words(subject, run))
    if cause is None and subject.spec is not None and subject.suspended != run.suspended:
        told = run.model_copy(update={"suspended": subject.suspended})
        after = subject.with_status(subject.status.model_copy(update={"run": told}))
        return SendDesired(run, subject.meta.generation, subject.suspended, status.running(after, view, observed.now))
    ending = view.progress is not None and view.progress.phase.terminal
    return Project(status.running(subject, view, observed.now), again=next_look(view, ending=ending))


def _marked(subject: Subject, cause: CancelCause, reason: str = "") -> Subject:
    """Why the run is cancelled, in the status before the cancellation is sent: a crash between forgets nothing."""
    run = subject.unfinished
    assert run is not None  # noqa: S101 - only unfinished runs are cancelled
    if cause is CancelCause.REQUESTED:
        reason = subject.meta.annotations.get(names.CANCEL, "")[:256]
    update: dict[str, object] = {"run": run.model_copy(update={"cancel_cause": cause, "cancel_reason": reason})}
    if cause is CancelCause.REQUESTED:
        update["handled"] = subject.handled.model_copy(update={"cancel": subject.cancel})
    return subject.with_status(subject.status.model_copy(update=update))


def _cancel_words(subject: Subject, run: RunRecord) -> str:
    match run.cancel_cause:
        case CancelCause.SUPERSEDED:
            return "superseded: the spec changed"
        case CancelCause.REQUESTED:
            return f"cancelled: {run.cancel_reason}"
        case CancelCause.RESET:
            return "the run was reset: what it made before that is taken back as well"
        case _:
            releases_only = undoing.on_delete(subject) is OnDelete.NEVER
            return names.CANCEL_DELETED_RELEASES_ONLY if releases_only else names.CANCEL_DELETED


def _closed(observed: Observed) -> Decision:
    """The run is over. Its end and the start of the next wanted one are one write."""
    run = observed.subject.unfinished
    assert run is not None  # noqa: S101 - the caller has an unfinished run
    subject, view, identity = observed.subject, observed.view, observed.view.identity
    if not subject.deleting and identity is not None and not belongs(identity, subject, run):
        return _intend(observed, run.trigger, run.number + 1)
    over = undoing.finished(subject, view, observed.now)
    if subject.deleting or subject.with_status(over).undoing is not None:
        return Project(over, then=True, urgent=True)
    return _followed(observed, over)


def _with_undo(observed: Observed) -> Decision:
    """An undo workflow is intended, or goes on; its end and the start of the next wanted run are one write, too."""
    decision, subject = undoing.go_on(observed), observed.subject
    if not isinstance(decision, Project) or subject.deleting:
        return decision
    told = decision.status.compensation
    return _followed(observed, decision.status) if told is not None and told.state.settled else decision


def _followed(observed: Observed, over: RunStatus) -> Decision:
    """Tell the end together with what comes next: for no moment a new spec is said to have failed."""
    after = decide(
        Observed(
            subject=observed.subject.with_status(over),
            fresh=observed.fresh,
            grounds=observed.grounds,
            view=RunView(),
            silence="",
            now=observed.now,
            ui_url=observed.ui_url,
        )
    )
    match after:
        case Project():
            return replace(after, ended=over)
        case Look():
            return after
        case _:
            return Project(over, then=True)


def _leaving(observed: Observed) -> Decision:
    """The resource is being deleted and nothing of it runs."""
    if not observed.subject.finalized:
        return Leave()
    return undoing.leaving(observed) if observed.subject.run else release(observed)


def _idle(observed: Observed) -> Decision:
    """Nothing runs. Whether something should, and what keeps it from starting."""
    subject, now = observed.subject, observed.now
    compensation = subject.status.compensation
    if subject.run is not None and compensation is not None and not compensation.state.settled:
        return undoing.held(observed)
    if subject.spec is None:
        return Project(status.rejected(subject, subject.invalid, now))
    if wrong := schedules.problem(subject):
        return Project(status.rejected(subject, wrong, now))
    trigger = Trigger.SCHEDULE if schedules.due(subject, now) else starts.wanted(subject)
    if trigger is None:
        return Project(endings.settled(_uncancelled(subject), now))
    return _intend(observed, trigger, starts.next_number(subject))


def _uncancelled(subject: Subject) -> Subject:
    """Once the annotation is gone, the same reason may cancel a later run."""
    if subject.cancel or not subject.handled.cancel:
        return subject
    handled = subject.handled.model_copy(update={"cancel": ""})
    return subject.with_status(subject.status.model_copy(update={"handled": handled}))


def _intend(observed: Observed, trigger: Trigger, number: int) -> Decision:
    """Write the intent, or start the run whose intent is written."""
    subject, now, grounds = observed.subject, observed.now, observed.grounds
    due = schedules.due(subject, now) if trigger is Trigger.SCHEDULE else None
    if subject.spec is None:
        return Project(status.rejected(subject, subject.invalid, now))
    if subject.suspended:
        return Project(status.suspended(subject, now))
    throttle = starts.throttled(subject, trigger, now) if subject.unfinished is None else None
    if throttle is not None:
        return Project(status.throttled(subject, throttle, now), again=(throttle.until - now).total_seconds() + 0.1)
    if isinstance(grounds, Problem):
        waits = status.blocked(subject, grounds, now)
        return Project(waits, again=_next_change(status.until_rejected(waits, now), due, now))
    if not observed.fresh:
        return Look(fresh=True)
    if not subject.finalized:
        return AddFinalizer()
    intent = _record(observed, grounds, trigger, number)
    if _written(subject, intent):
        return StartRun(identity_of(subject, intent), intent, grounds)
    subject = schedules.taken_up(subject, due, now) if due else subject
    handled = starts.handled_by_start(subject, trigger, now)
    return Project(status.intended(subject, intent, handled, now), then=True, urgent=True)


def _next_change(rejected: float | None, due: schedules.Due | None, now: datetime) -> float | None:
    """Seconds until time alone changes what keeps a run from starting, or that it is wanted."""
    late = (due.until - now).total_seconds() + 1 if due else None
    return min((wait for wait in (rejected, late) if wait is not None), default=None)


def _written(subject: Subject, intent: RunRecord) -> bool:
    run = subject.unfinished
    return run is not None and _intent(run) == _intent(intent)


def _intent(run: RunRecord) -> tuple[int, str, str, str]:
    return (run.number, run.revision, run.tenant, run.workflow_id)


def _record(observed: Observed, grounds: Grounds, trigger: Trigger, number: int) -> RunRecord:
    subject = observed.subject
    workflow_id = names.workflow_id(subject.kind, subject.meta.uid, number)
    temporal_namespace = grounds.tenant.temporal_namespace
    base = f"{observed.ui_url.rstrip('/')}/namespaces/{temporal_namespace}/workflows/{quote(workflow_id, safe='')}"
    return RunRecord(
        number=number,
        revision=subject.revision,
        trigger=trigger,
        tenant=grounds.tenant.metadata.name,
        temporal_namespace=temporal_namespace,
        workflow_id=workflow_id,
        url=base if observed.ui_url else "",
    )
