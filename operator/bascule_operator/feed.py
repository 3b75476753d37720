"""The change feed: what is new among the live runs, asked of each tenant's Temporal namespace with one question.

The mark is the largest stamp seen, never our clock. Rows may appear late, so the question looks back: 3 s every
second, 60 s every 10 s, and everything every 5 minutes. What was seen before is dropped by run and progress number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bascule_api import names
from bascule_operator import metrics, observe
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.decisions.life import NO_NEWS_SECONDS
from bascule_operator.decisions.views import RunState
from bascule_operator.errors import OperatorError
from bascule_operator.reconcilers.world import News
from bascule_operator.store import Key, LiveRun, Store

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
NEAR = timedelta(seconds=3)
WIDE, WIDE_EVERY = timedelta(seconds=60), 10.0
FULL_EVERY = 300.0
VISIBLE_SECONDS = 2.0
"""How long a new run may be missing in visibility before one asks for it."""
_WORST_PAUSE = 15.0


@dataclass
class Window:
    """What the feed remembers of one Temporal namespace. Pure but for its own memory; times are the caller's."""

    mark: datetime | None = None
    seen: dict[str, tuple[int, str, bool]] = field(default_factory=dict)
    """Workflow id to the progress number, execution and end that were handed on."""
    heard: dict[str, float] = field(default_factory=dict)
    """Workflow id to when there was news, or when the run was looked at for want of them."""
    answered: set[str] | None = None
    """Runs in the answer to the question for all open ones; None: the question was another."""
    wide_at: float = float("-inf")
    full_at: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")

    def question(self, now: float) -> tuple[str, bool]:
        """The visibility query to ask now, and whether it is a wider one than usual."""
        self.answered = None
        if self.mark is None or now - self.full_at >= FULL_EVERY:
            self.full_at = self.wide_at = now
            self.answered = set()
            return f"{names.SEARCH_UID} IS NOT NULL AND ExecutionStatus = 'Running'", True
        wide = now - self.wide_at >= WIDE_EVERY
        if wide:
            self.wide_at = now
        since = _quoted(self.mark - (WIDE if wide else NEAR))
        newer = f"({names.SEARCH_UPDATED_AT} > {since} OR CloseTime > {since})"
        return f"{names.SEARCH_UID} IS NOT NULL AND {newer}", wide

    def take(self, row: observe.Row, now: float) -> bool:
        """Remember the row. Whether it is news."""
        if self.answered is not None:
            self.answered.add(row.workflow_id)
        if row.stamp is not None and (self.mark is None or row.stamp > self.mark):
            self.mark = row.stamp
        number = row.view.progress.number if row.view.progress else 0
        state = (number, row.view.run_id, row.view.state is RunState.CLOSED)
        if self.seen.get(row.workflow_id) == state:
            return False
        self.seen[row.workflow_id] = state
        self.heard[row.workflow_id] = now
        return True

    def silent(self, live: Mapping[str, LiveRun], now: float) -> list[LiveRun]:
        """Live runs without news for too long, each named once per silence. Forgets runs that are over."""
        for gone in self.heard.keys() - live.keys():
            del self.heard[gone]
        for gone in self.seen.keys() - live.keys():
            del self.seen[gone]
        for workflow_id in live:
            self.heard.setdefault(workflow_id, now)
        quiet = [run for workflow_id, run in live.items() if now - self.heard[workflow_id] >= NO_NEWS_SECONDS]
        for run in quiet:
            # Not before the next full question, unless there are news in between.
            self.heard[run.workflow_id] = now + FULL_EVERY - NO_NEWS_SECONDS
        return quiet + [run for run in self._missing(live, now) if run not in quiet]

    def _missing(self, live: Mapping[str, LiveRun], now: float) -> list[LiveRun]:
        """Live runs that the answer to the question for all open ones did not contain: closed, most likely."""
        if self.answered is None:
            return []
        gone = [run for workflow_id, run in live.items() if workflow_id not in self.answered]
        late = [run for run in gone if now - self.heard[run.workflow_id] >= VISIBLE_SECONDS]
        for run in late:
            self.heard[run.workflow_id] = now
        return late


def _quoted(when: datetime) -> str:
    return f"'{when.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'"


class Feed:
    """Asks every Temporal namespace that has live runs, and hands on what is new."""

    def __init__(
        self,
        temporal: Temporal,
        store: Store,
        place: Callable[[LiveRun], Place],
        hand_on: Callable[[Key, News | None], None],
        clock: Callable[[], float],
    ) -> None:
        self._temporal = temporal
        self._store = store
        self._place = place
        self._hand_on = hand_on
        self._clock = clock
        self._windows: dict[Place, Window] = {}

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            begun = self._clock()
            try:
                await self.tick()
            except Exception:
                # A bug met by one run's data must not end the operator for all of them.
                log.exception("the feed failed")
            await asyncio.sleep(max(0.0, TICK_SECONDS - (self._clock() - begun)))

    async def tick(self) -> None:
        """One round over all namespaces with live runs; namespaces without are forgotten."""
        places: dict[Place, dict[str, LiveRun]] = {}
        for namespace, runs in self._store.live_runs().items():
            metrics.LIVE_RUNS.labels(namespace).set(len(runs))
            for workflow_id, run in runs.items():
                places.setdefault(self._place(run), {})[workflow_id] = run
        for gone in self._windows.keys() - places.keys():
            metrics.LIVE_RUNS.labels(gone.namespace).set(0)
            del self._windows[gone]
        await asyncio.gather(*(self._ask(place, runs) for place, runs in places.items()))

    async def _ask(self, place: Place, live: dict[str, LiveRun]) -> None:
        window = self._windows.setdefault(place, Window())
        now = self._clock()
        if now < window.not_before:
            return
        query, wide = window.question(now)
        known = window.mark
        try:
            async for row in observe.rows(self._temporal, place, query):
                run = live.get(row.workflow_id)
                if window.take(row, now) and run is not None:
                    self._measure(row, wide, known)
                    self._hand_on(run.key, News(row.workflow_id, row.view))
        except OperatorError as error:
            metrics.FEED_ERRORS.inc()
            window.failures += 1
            window.not_before = now + min(_WORST_PAUSE, 2.0**window.failures)
            if window.failures == 1:
                log.warning(
                    "the feed gets no answer", extra={"temporal_namespace": place.namespace, "error": str(error)}
                )
            return
        if window.failures:
            log.info("the feed gets answers again", extra={"temporal_namespace": place.namespace})
            # What happened meanwhile may lie far behind the mark of those who were faster.
            window.failures, window.full_at = 0, float("-inf")
        for run in window.silent(live, now):
            self._hand_on(run.key, None)

    def _measure(self, row: observe.Row, wide: bool, mark: datetime | None) -> None:
        if row.updated_at is None:
            return
        metrics.FEED_LAG_SECONDS.observe(max(0.0, (datetime.now(UTC) - row.updated_at).total_seconds()))
        if wide and mark is not None and row.stamp is not None and row.stamp < mark - NEAR:
            metrics.FEED_LATE_ROWS.inc()
