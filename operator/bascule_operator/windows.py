"""What the change feed remembers of one Temporal namespace: what to ask next, and what of an answer is news.

Pure but for its own memory; times are the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_operator.decisions import moves
from bascule_operator.decisions.views import RunState
from bascule_operator.observe import Row
from bascule_operator.store import LiveRun

NEAR, NEAREST = timedelta(seconds=3), timedelta(seconds=0.5)
LATE_SAMPLES, LATE_ENOUGH = 200, 50
"""News whose lateness is remembered, and how many it takes to ask for less than `NEAR`."""
WIDE, WIDE_EVERY = timedelta(seconds=60), 10.0
FULL_EVERY = 300.0
HEALTH_EVERY = 30.0
AWAY_SECONDS = 30.0
"""Without a question for so long, one was away: what came meanwhile may be more than the windows show."""
VISIBLE_SECONDS = 2.0
"""How long a new run may be missing in visibility before one asks for it."""

_OURS = f"{names.SEARCH_UID} IS NOT NULL"
# Not `ExecutionStatus = 'Running'`: a run that somebody paused in Temporal is open, and has another status.
_OPEN = f"{_OURS} AND CloseTime IS NULL"
HEALTH_QUESTION = f"{_OPEN} AND TemporalReportedProblems IS NOT NULL"
_RESTING = (Phase.WAITING, Phase.SUSPENDED)


@dataclass(frozen=True)
class Seen:
    """What was handed on of a run."""

    execution: str
    started: datetime | None
    number: int
    """Of its progress."""
    closed: bool
    continued: bool
    """Whether the run goes on in another execution."""
    troubled: bool
    """Whether Temporal reports problems of its code, or somebody paused it there."""
    resting: bool
    """Whether it waits for people or time: then no news are no reason to look at it."""

    @classmethod
    def of(cls, row: Row) -> Seen:
        view = row.view
        return cls(
            execution=view.run_id,
            started=view.started_at,
            number=view.progress.number if view.progress else 0,
            closed=view.state is RunState.CLOSED,
            continued=view.continued,
            troubled=bool(view.problems) or view.paused,
            resting=view.progress is not None and view.progress.phase in _RESTING,
        )

    def precedes(self, other: Seen) -> bool:
        """Whether this is older than the other: a late row, or an execution that another one took the place of."""
        if self.execution != other.execution:
            if self.continued != other.continued:
                return self.continued
            if self.started is None or other.started is None or self.started == other.started:
                return self.closed and not other.closed
            return self.started < other.started
        if self.continued != other.continued:
            return other.continued
        return other.closed if self.closed != other.closed else self.number < other.number


@dataclass
class Window:
    """The memory of the feed."""

    mark: datetime | None = None
    """The largest stamp seen: Temporal's clock, never ours."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """By workflow id."""
    heard: dict[str, float] = field(default_factory=dict)
    """Workflow id to when there was news, or when the run was looked at for want of them."""
    answered: set[str] | None = None
    """Runs in the answer to the question for all open ones; None: the question was another."""
    sick: set[str] = field(default_factory=set)
    """Runs in the last answer to the question for problems."""
    shown: dict[str, int] = field(default_factory=dict)
    """Workflow id to the fingerprint of its last row."""
    asked: datetime | None = None
    """The mark as it was when the last question was asked."""
    late: deque[timedelta] = field(default_factory=lambda: deque(maxlen=LATE_SAMPLES))
    """How far behind the mark the last news were."""
    asked_at: float | None = None
    wide_at: float = float("-inf")
    full_at: float = float("-inf")
    health_at: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")

    def question(self, now: float) -> tuple[str, bool]:
        """The visibility query to ask now, and whether it is a wider one than usual."""
        if self.asked_at is not None and now - self.asked_at >= AWAY_SECONDS:
            self.resume(now)
        self.asked_at, self.asked, self.answered = now, self.mark, None
        if self.mark is None or now - self.full_at >= FULL_EVERY:
            self.full_at = self.wide_at = now
            self.answered = set()
            return _OPEN, True
        wide = now - self.wide_at >= WIDE_EVERY
        if wide:
            self.wide_at = now
        since = _quoted(self.mark - (WIDE if wide else self.near))
        newer = f"({names.SEARCH_UPDATED_AT} > {since} OR CloseTime > {since})"
        return f"{_OURS} AND {newer}", wide

    def resume(self, now: float) -> None:
        """One was away, or got no answers: ask for everything, and take nothing for silent that had no chance."""
        self.full_at = float("-inf")
        self.heard = dict.fromkeys(self.heard, now - VISIBLE_SECONDS)

    @property
    def near(self) -> timedelta:
        """How far a usual question looks back: half as far again as all but a fiftieth of the last news needed.

        Rows that come again and again are most of what the feed costs the server.
        """
        if len(self.late) < LATE_ENOUGH:
            return NEAR
        needed = sorted(self.late)[len(self.late) * 49 // 50]
        return min(NEAR, max(NEAREST, needed * 1.5))

    def known(self, workflow_id: str, fingerprint: int) -> bool:
        """Whether the row was taken before, just as it is."""
        if self.answered is not None:
            self.answered.add(workflow_id)
        return self.shown.get(workflow_id) == fingerprint

    def take(self, row: Row, now: float) -> bool:
        """Remember the row. Whether it is news: an older one than was seen never is."""
        if self.answered is not None:
            self.answered.add(row.workflow_id)
        self.shown[row.workflow_id] = row.fingerprint
        if row.stamp is not None and (self.mark is None or row.stamp > self.mark):
            self.mark = row.stamp
        known, found = self.seen.get(row.workflow_id), Seen.of(row)
        if known is not None and (known == found or found.precedes(known)):
            return False
        self.seen[row.workflow_id] = found
        self.heard[row.workflow_id] = now
        if self.asked is not None and self.answered is None and row.stamp is not None:
            self.late.append(max(timedelta(), self.asked - row.stamp))
        return True

    def silent(self, live: Mapping[str, LiveRun], now: float) -> list[LiveRun]:
        """Live runs that should move and had no news for too long, each named once per silence.

        Forgets runs that are over.
        """
        memories: tuple[dict[str, Any], ...] = (self.heard, self.seen, self.shown)
        for memory in memories:
            for gone in memory.keys() - live.keys():
                del memory[gone]
        for workflow_id in live:
            self.heard.setdefault(workflow_id, now)
        quiet = [run for workflow_id, run in live.items() if self._quiet(workflow_id, now)]
        for run in quiet:
            # Not before the next full question, unless there are news in between.
            self.heard[run.workflow_id] = now + FULL_EVERY - moves.NO_NEWS_SECONDS
        return quiet + [run for run in self._missing(live, now) if run not in quiet]

    def _quiet(self, workflow_id: str, now: float) -> bool:
        known = self.seen.get(workflow_id)
        return now - self.heard[workflow_id] >= moves.NO_NEWS_SECONDS and not (known and known.resting)

    def _missing(self, live: Mapping[str, LiveRun], now: float) -> list[LiveRun]:
        """Live runs that the answer to the question for all open ones did not contain: closed, most likely."""
        if self.answered is None:
            return []
        gone = [run for workflow_id, run in live.items() if workflow_id not in self.answered]
        late = [run for run in gone if now - self.heard[run.workflow_id] >= VISIBLE_SECONDS]
        for run in late:
            self.heard[run.workflow_id] = now
        return late

    def health_due(self, now: float) -> bool:
        """Whether it is time to ask which runs Temporal reports problems of."""
        if now - self.health_at < HEALTH_EVERY:
            return False
        self.health_at = now
        return True

    def no_health(self) -> None:
        """This server does not know the question."""
        self.health_at = float("inf")

    def cured(self, sick: Iterable[str]) -> set[str]:
        """Runs of the last answer that are not in this one: whether they are well has to be looked at."""
        before, self.sick = self.sick, set(sick)
        return before - self.sick


def _quoted(when: datetime) -> str:
    return f"'{when.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'"
