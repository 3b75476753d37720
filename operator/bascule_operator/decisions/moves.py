"""What decisions rest on, and what they may come to: one of these at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bascule_api.progress import RunIdentity
from bascule_api.runs import CompensationStatus, RunRecord, RunStatus
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, Problem, RunView

NO_NEWS_SECONDS = 30.0
STARTED_SECONDS = 5.0


@dataclass(frozen=True)
class Observed:
    """Everything that a decision rests on."""

    subject: Subject
    fresh: bool
    """Whether resource, Tenant and Procedures were read from the API server for this decision."""
    grounds: Grounds | Problem
    view: RunView
    """The live workflow of the resource: its unfinished run, or what undoes a finished one."""
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
class StartUndo:
    """The intent is written: start the workflow that takes back what the run left."""

    identity: RunIdentity
    run: RunRecord
    undo: CompensationStatus
    timeout_seconds: int
    abandoned: bool
    """Whether the run was ended by others, so that something of it may still be at work."""
    final: bool
    """Whether the resource goes."""
    delay_seconds: int = 0
    """How long Temporal holds it back."""


@dataclass(frozen=True)
class CancelRun:
    """Ask the run to stop and to take back what it made."""

    run: RunRecord
    reason: str


@dataclass(frozen=True)
class LetGo:
    """Somebody who may forces the deletion: ask a live run to stop, wait for nothing, and write that it was forced."""

    status: RunStatus
    run: RunRecord | None
    reason: str
    release: StartUndo | None = None
    """Deletes what was kept for an undoing that nobody will ask for any more."""


@dataclass(frozen=True)
class SendDesired:
    """Tell the run whether it should be suspended."""

    run: RunRecord
    sequence: int
    suspended: bool
    status: RunStatus
    """To be written once it was told."""


Decision = (
    Look | AddFinalizer | ReleaseFinalizer | Leave | Project | StartRun | StartUndo | CancelRun | LetGo | SendDesired
)


def next_look(view: RunView, *, ending: bool) -> float | None:
    """When to ask again without news. A workflow that said its last word (`ending`) closes within moments."""
    if view.progress is None:
        return STARTED_SECONDS if not view.described else NO_NEWS_SECONDS
    return 0.3 if ending else None


def release(observed: Observed) -> Decision:
    """Let go of the resource, on a fresh look at it."""
    if not observed.subject.finalized:
        return Leave()
    return ReleaseFinalizer() if observed.fresh else Look(fresh=True, describe=observed.view.described)


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


def belongs(identity: RunIdentity, subject: Subject, run: RunRecord) -> bool:
    """Whether a workflow in Temporal is of the run that the status speaks of."""
    return (identity.uid, identity.number, identity.revision) == (subject.meta.uid, run.number, run.revision)
