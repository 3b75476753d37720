"""Draining one node: pods are evicted, budgets respected, and what stands in the way is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from bascule_api.conditions import WaitKind
from bascule_workers.errors import DrainBlockedError
from bascule_workers.messages import Done, Left, NotYet
from bascule_workers.patch_campaigns import DrainRequest
from bascule_workers.plans import failures
from bascule_workers.plans.nodes import PodOnNode
from bascule_workers.plans.patch_targets import Obstacle, blocked, drainage, stuck
from bascule_workers.ports.nodes import Eviction, Nodes, PodsOfNode

AGAIN_SECONDS = 5.0
"""Between two attempts to evict a pod whose budget allows none, as `kubectl drain` does it."""
SETTLES_SECONDS = 5.0
"""How long something must stand in the way before it is told: most of it passes."""
AT_A_TIME = 10
"""Evictions of one node that are asked for side by side."""


class Draining:
    """One attempt, of bounded time. Everything it knows it finds again in the pods, and in the last note."""

    def __init__(self, nodes: Nodes, request: DrainRequest) -> None:
        self._nodes = nodes
        self._request = request
        self._drain = request.drain
        self._gives_up = (request.since or time.time()) + request.drain.timeout.seconds
        self._asked: set[str] = set()
        """Uids of pods whose eviction was accepted."""
        self._blocked: dict[str, Obstacle] = {}
        """By uid."""
        self._again: dict[str, float] = {}
        """When a pod that was blocked is asked for again, by uid."""
        self._in_the_way: tuple[str, float] = ("", 0.0)

    async def result(self, limit_seconds: float) -> Done[Left] | NotYet:
        """Drain until nothing is left to leave, the time is up, or something stands in the way that is not told yet.

        Raises DrainBlockedError.
        """
        ends = time.time() + limit_seconds
        async with self._nodes.draining(self._request.target.name) as view:
            while True:
                leaving = self._leaving(view)
                if not leaving:
                    return Done(value=Left(found=len(self._asked)))
                await self._evict(pod for pod in leaving if self._is_due(pod))
                now = time.time()
                obstacle = self._obstacle(leaving, int(now))
                if now >= self._gives_up:
                    raise DrainBlockedError(self._too_late(leaving, obstacle))
                if now >= ends or self._worth_telling(obstacle, now):
                    return self._not_yet(leaving, obstacle)
                await view.changed(self._pause(leaving, now, min(ends, self._gives_up)))

    def _leaving(self, view: PodsOfNode) -> list[PodOnNode]:
        found = drainage(view.pods(), self._drain, self._request.tenant.steps_namespace)
        if found.refused:
            raise DrainBlockedError(f"pods may not be evicted: {failures.listed(found.refused)}")
        return found.leaving

    def _is_due(self, pod: PodOnNode) -> bool:
        if pod.terminating_since or pod.uid in self._asked:
            return False
        return time.time() >= self._again.get(pod.uid, 0.0)

    async def _evict(self, pods: Iterable[PodOnNode]) -> None:
        side_by_side = asyncio.Semaphore(AT_A_TIME)

        async def one(pod: PodOnNode) -> None:
            async with side_by_side:
                await self._ask(pod)

        # All are asked before the first trouble is told: one refused request must not keep the others waiting.
        for answer in await asyncio.gather(*(one(pod) for pod in pods), return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def _ask(self, pod: PodOnNode) -> None:
        grace = self._drain.grace_period
        answer = await self._nodes.evict(pod, grace.seconds if grace is not None else None)
        if answer.outcome == Eviction.BLOCKED:
            since = self._blocked[pod.uid].since if pod.uid in self._blocked else int(time.time())
            self._blocked[pod.uid] = blocked(pod, since, answer.reason).as_told(self._request.note)
            self._again[pod.uid] = time.time() + AGAIN_SECONDS
            return
        self._asked.add(pod.uid)
        self._blocked.pop(pod.uid, None)

    def _obstacle(self, leaving: list[PodOnNode], now: int) -> Obstacle | None:
        """What has stood in the way for longest."""
        uids = {pod.uid for pod in leaving}
        found = [obstacle for uid, obstacle in self._blocked.items() if uid in uids]
        if late := stuck(leaving, now):
            found.append(late)
        return min(found, key=lambda obstacle: (obstacle.since, obstacle.subject), default=None)

    def _worth_telling(self, obstacle: Obstacle | None, now: float) -> bool:
        """Whether something that the last note does not tell has stood in the way for a while."""
        if obstacle is None or obstacle.told_by(self._request.note):
            return False
        if self._in_the_way[0] != obstacle.subject:
            self._in_the_way = (obstacle.subject, now)
        return now - self._in_the_way[1] >= SETTLES_SECONDS

    def _pause(self, leaving: list[PodOnNode], now: float, latest: float) -> float:
        due = [self._again[pod.uid] for pod in leaving if pod.uid in self._again and pod.uid not in self._asked]
        return max(0.1, min([latest, now + AGAIN_SECONDS * 2, *due]) - now)

    def _not_yet(self, leaving: list[PodOnNode], obstacle: Obstacle | None) -> NotYet:
        if obstacle is None:
            return NotYet(reason=f"waiting for {_names(leaving)} to end", waits_for=WaitKind.DISRUPTION)
        return NotYet(reason=failures.shortened(str(obstacle)), waits_for=WaitKind.DISRUPTION, subject=obstacle.subject)

    def _too_late(self, leaving: list[PodOnNode], obstacle: Obstacle | None) -> str:
        what = str(obstacle) if obstacle else f"{_names(leaving)} did not end"
        return f"the node was not drained within {self._drain.timeout}: {what}"


def _names(pods: list[PodOnNode]) -> str:
    return failures.listed([pod.reference for pod in pods])
