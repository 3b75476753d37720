"""The next single step in the life of a resource's runs. Pure: what to do, and what the status says meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.progress import RunIdentity
from bascule_api.runs import CancelCause, OnDelete, RunRecord, RunStatus, Trigger
from bascule_operator.decisions import endings, starts, status
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, Problem, RunState, RunView

NO_NEWS_SECONDS = 30.0
STARTED_SECONDS = 2.0


@dataclass(frozen=True)
class Observed:
    """Everything that a decision rests on."""

    subject: Subject
    fresh: bool
    """Whether resource, Tenant and Procedures were read from the API server for this decision."""
    grounds: Grounds | Problem
    view: RunView
    silence: str
    """What Temporal does instead of answering; empty when it answered, or was not asked."""
    now: datetime
    ui_url: str = ""


@dataclass(frozen=True)
class Look:
    """More has to be known: the resource as it is now, or the run as Temporal has it."""

    fresh: bool = False
    describe: bool = False


@dataclass(frozen=True)
class AddFinalizer:
    """Before anything starts."""


@dataclass(frozen=True)
class ReleaseFinalizer:
    """Nothing of the resource's runs is left."""


@dataclass(frozen=True)
class Leave:
    """Nothing of this resource is ours."""


@dataclass(frozen=True)
class Project:
    """Write the status if it changed. `then`: whether to decide again at once; `again`: after how many seconds."""

    status: RunStatus
    then: bool = False
    again: float | None = None
    urgent: bool = False
    """Whether the write precedes an act and may not wait its turn."""
    ended: RunStatus | None = None
    """The status between: the end of a run, written together with the intent of the next."""


@dataclass(frozen=True)
class StartRun:
    """The intent is written: start its workflow."""

    identity: RunIdentity
    run: RunRecord
    grounds: Grounds


@dataclass(frozen=True)
class CancelRun:
    """Ask the run to stop and to take back what it made."""

    run: RunRecord
    reason: str


@dataclass(frozen=True)
class SendDesired:
    """Tell the run whether it should be suspended."""

    run: RunRecord
    sequence: int
    suspended: bool
    status: RunStatus
    """To be written once it was told."""


Decision = Look | AddFinalizer | ReleaseFinalizer | Leave | Project | StartRun | CancelRun | SendDesired


def decide(observed: Observed) -> Decision:
    """Choose the next single step that moves the resource towards what it wants."""
    if observed.subject.unfinished is not None:
        return _with_run(observed, observed.subject.unfinished)
    if observed.subject.deleting:
        return _leaving(observed)
    return _idle(observed)


def _with_run(observed: Observed, run: RunRecord) -> Decision:
    subject, view = observed.subject, observed.view
    if observed.silence:
        return Project(status.unavailable(subject, observed.silence, observed.now))
    if view.state is RunState.UNKNOWN or (view.state is not RunState.OPEN and not view.described):
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
    if run.run_id:
        how = f"Temporal does not know the workflow {run.workflow_id} in {run.temporal_namespace} any more"
        return Project(
            endings.ended(subject, endings.lost_result(run.progress_number, how), observed.view, observed.now)
        )
    if subject.deleting:
        return _release(observed)
    if starts.cancel_cause(subject) is CancelCause.REQUESTED:
        marked = _marked(subject, CancelCause.REQUESTED)
        return Project(endings.ended(marked, endings.never_ran(), observed.view, observed.now), then=True)
    return _intend(observed, run.trigger, run.number)


def _open(observed: Observed, run: RunRecord) -> Decision:
    subject, view = observed.subject, observed.view
    if not subject.deleting and view.identity is not None and not belongs(view.identity, subject, run):
        # Somebody used the id before, such as a leader that was paused: its run is cancelled by the sweep.
        return _intend(observed, run.trigger, run.number + 1)
    cause = run.cancel_cause or starts.cancel_cause(subject)
    if cause is not None and run.cancel_cause is None:
        if not observed.fresh:
            return Look(fresh=True, describe=True)
        marked = _marked(subject, cause)
        return Project(status.running(marked, view, observed.now), then=True, urgent=True)
    if cause is not None and not view.cancel_requested:
        if not view.described:
            return Look(describe=True)
        return CancelRun(run, _cancel_words(run))
    if cause is None and subject.spec is not None and subject.suspended != run.suspended:
        told = run.model_copy(update={"suspended": subject.suspended})
        after = subject.with_status(subject.status.model_copy(update={"run": told}))
        return SendDesired(run, subject.meta.generation, subject.suspended, status.running(after, view, observed.now))
    return Project(status.running(subject, view, observed.now), again=_next_look(view))


def _next_look(view: RunView) -> float | None:
    """When to ask again without news. A run that said its last word closes within moments."""
    if view.progress is None:
        return STARTED_SECONDS if not view.described else NO_NEWS_SECONDS
    return 0.3 if view.progress.phase.terminal else None


def belongs(identity: RunIdentity, subject: Subject, run: RunRecord) -> bool:
    """Whether a run in Temporal is the one that the status speaks of."""
    return (identity.uid, identity.number, identity.revision) == (subject.meta.uid, run.number, run.revision)


def _marked(subject: Subject, cause: CancelCause) -> Subject:
    """Why the run is cancelled, in the status before the cancellation is sent: a crash between forgets nothing."""
    run = subject.unfinished
    assert run is not None  # noqa: S101 - only unfinished runs are cancelled
    reason = subject.meta.annotations.get(names.CANCEL, "")[:256] if cause is CancelCause.REQUESTED else ""
    update: dict[str, object] = {"run": run.model_copy(update={"cancel_cause": cause, "cancel_reason": reason})}
    if cause is CancelCause.REQUESTED:
        update["handled"] = subject.handled.model_copy(update={"cancel": subject.cancel})
    return subject.with_status(subject.status.model_copy(update=update))


def _cancel_words(run: RunRecord) -> str:
    match run.cancel_cause:
        case CancelCause.SUPERSEDED:
            return "superseded: the spec changed"
        case CancelCause.REQUESTED:
            return f"cancelled: {run.cancel_reason}"
        case _:
            return "the resource is deleted"


def _closed(observed: Observed) -> Decision:
    """The run is over. Its end and the start of the next wanted one are one write."""
    run = observed.subject.unfinished
    assert run is not None  # noqa: S101 - the caller has an unfinished run
    subject, identity = observed.subject, observed.view.identity
    if not subject.deleting and identity is not None and not belongs(identity, subject, run):
        return _intend(observed, run.trigger, run.number + 1)
    over = endings.finished(subject, observed.view, observed.now)
    if subject.deleting:
        return Project(over, then=True)
    after = decide(
        Observed(
            subject=subject.with_status(over),
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
    subject = observed.subject
    if not subject.finalized:
        return Leave()
    run, compensation = subject.run, subject.status.compensation
    if run is None:
        return _release(observed)
    if compensation is None or not compensation.state.settled:
        return Project(endings.settled(subject, observed.now))
    on_delete = subject.spec.compensation.on_delete if subject.spec else OnDelete.WHEN_UNFINISHED
    if on_delete is OnDelete.ALWAYS and run.outcome is Phase.SUCCEEDED:
        return Project(endings.not_undone(subject, observed.now))
    return _release(observed)


def _release(observed: Observed) -> Decision:
    if not observed.subject.finalized:
        return Leave()
    return ReleaseFinalizer() if observed.fresh else Look(fresh=True, describe=observed.view.described)


def _idle(observed: Observed) -> Decision:
    """Nothing runs. Whether something should, and what keeps it from starting."""
    subject, now = observed.subject, observed.now
    if subject.spec is None:
        return Project(status.rejected(subject, subject.invalid, now))
    compensation = subject.status.compensation
    if subject.run is not None and compensation is not None and not compensation.state.settled:
        return Project(endings.settled(subject, now))
    trigger = starts.wanted(subject)
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
    if subject.spec is None:
        return Project(status.rejected(subject, subject.invalid, now))
    if subject.suspended:
        return Project(status.suspended(subject, now))
    throttle = starts.throttled(subject, trigger, now) if subject.unfinished is None else None
    if throttle is not None:
        return Project(status.throttled(subject, throttle, now), again=(throttle.until - now).total_seconds() + 0.1)
    if isinstance(grounds, Problem):
        waits = status.blocked(subject, grounds, now)
        return Project(waits, again=status.until_rejected(waits, now))
    if not observed.fresh:
        return Look(fresh=True)
    if not subject.finalized:
        return AddFinalizer()
    intent = _record(observed, grounds, trigger, number)
    if _written(subject, intent):
        return StartRun(identity_of(subject, intent), intent, grounds)
    handled = starts.handled_by_start(subject, trigger, now)
    return Project(status.intended(subject, intent, handled, now), then=True, urgent=True)


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


def identity_of(subject: Subject, run: RunRecord) -> RunIdentity:
    return RunIdentity(
        kind=subject.kind,
        namespace=subject.meta.namespace or "",
        name=subject.meta.name,
        uid=subject.meta.uid,
        number=run.number,
        revision=run.revision,
        tenant=run.tenant,
    )
