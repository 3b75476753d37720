"""The change feed: what is new among the live runs, asked of each tenant's Temporal namespace with one question.

The mark is the largest stamp seen, never our clock. Rows may appear late, so the question looks back: up to 3 s every
second, 60 s every 10 s, and everything every 5 minutes. What was seen before is dropped by run and progress number.
Every half minute one more question is for the runs whose code fails, as Temporal itself reports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from bascule_operator import metrics, observe
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.errors import OperatorError, TemporalRefusedError
from bascule_operator.reconcilers.world import News
from bascule_operator.store import Key, LiveRun, Store
from bascule_operator.windows import HEALTH_QUESTION, NEAR, Window

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
_WORST_PAUSE = 15.0


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
        self.windows: dict[Place, Window] = {}

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
        for gone in self.windows.keys() - places.keys():
            metrics.LIVE_RUNS.labels(gone.namespace).set(0)
            del self.windows[gone]
        await asyncio.gather(*(self._ask(place, runs) for place, runs in places.items()))

    async def _ask(self, place: Place, live: dict[str, LiveRun]) -> None:
        window = self.windows.setdefault(place, Window())
        now = self._clock()
        if now < window.not_before:
            return
        query, wide = window.question(now)
        known = window.mark
        try:
            async for row in observe.rows(self._temporal, place, query, window.known):
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
            window.failures = 0
            window.resume(now)
        for run in window.silent(live, now):
            self._hand_on(run.key, None)
        if window.health_due(now):
            await self._ask_for_problems(place, window, live, now)

    async def _ask_for_problems(self, place: Place, window: Window, live: dict[str, LiveRun], now: float) -> None:
        """Which runs fail in their own code: a condition of theirs, from one question for all instead of one each."""
        sick = set()
        try:
            async for row in observe.rows(self._temporal, place, HEALTH_QUESTION):
                run = live.get(row.workflow_id)
                if run is not None:
                    sick.add(row.workflow_id)
                    if window.take(row, now):
                        self._hand_on(run.key, News(row.workflow_id, row.view))
        except TemporalRefusedError as error:
            window.no_health()
            extra = {"temporal_namespace": place.namespace, "error": str(error)}
            log.info("Temporal cannot be asked for problems of runs; they are found one by one", extra=extra)
            return
        except OperatorError:
            metrics.FEED_ERRORS.inc()
            return
        for workflow_id in window.cured(sick):
            if workflow_id in live:
                self._hand_on(live[workflow_id].key, None)

    def _measure(self, row: observe.Row, wide: bool, mark: datetime | None) -> None:
        if row.updated_at is None:
            return
        metrics.FEED_LAG_SECONDS.observe(max(0.0, (datetime.now(UTC) - row.updated_at).total_seconds()))
        if wide and mark is not None and row.stamp is not None and row.stamp < mark - NEAR:
            metrics.FEED_LATE_ROWS.inc()
