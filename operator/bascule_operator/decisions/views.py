"""What is known of a run and of a tenant's claim, as decisions see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bascule_api.conditions import Reason
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import Progress, RunIdentity, RunResult, UndoResult
from bascule_api.tenants import Tenant


class RunState(StrEnum):
    UNKNOWN = "Unknown"
    """Not asked, or Temporal does not answer."""
    ABSENT = "Absent"
    """Temporal knows no such run."""
    OPEN = "Open"
    CLOSED = "Closed"


class Closed(StrEnum):
    """How Temporal says that a workflow closed."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    TERMINATED = "Terminated"
    TIMED_OUT = "TimedOut"
    OTHER = "Other"


@dataclass(frozen=True)
class RunView:
    """A run as Temporal shows it. `described`: strongly consistent, unlike a row of the feed."""

    state: RunState = RunState.UNKNOWN
    described: bool = False
    run_id: str = ""
    first_run_id: str = ""
    """The execution that its chain began with; another than `run_id` once it was reset or continued as new."""
    continues: bool = False
    """Whether this execution goes on where the known one stopped, by continuing as new alone."""
    continued: bool = False
    """Whether it stopped in favour of another execution of the same run: it is not open, and that is no end."""
    closed: Closed | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    identity: RunIdentity | None = None
    progress: Progress | None = None
    result: RunResult | None = None
    undone: UndoResult | None = None
    """The result of an undo workflow."""
    cancel_requested: bool = False
    task_attempt: int = 0
    """Attempt of the pending workflow task; more than a few mean that the run's code fails."""
    problems: str = ""
    """What Temporal itself reports of a run whose code fails again and again."""
    paused: bool = False
    """Whether somebody paused it with Temporal's own pause."""
    unreadable: str = ""
    """Why progress or result could not be read."""


@dataclass(frozen=True)
class Problem:
    """What keeps a wanted run from starting."""

    reason: Reason
    message: str
    final: bool = False
    """Nothing but a change of the resource, or of what it names, can help."""


@dataclass(frozen=True)
class Grounds:
    """What a run may be started on: its tenant and the pinned Procedures."""

    tenant: Tenant
    procedures: dict[str, PinnedProcedure]
