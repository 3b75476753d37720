"""Fakes of the ports for nodes, in memory; tests can make them fail, lie and wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from bascule_api import names
from bascule_api.selectors import LabelSelector
from bascule_workers.errors import TargetRefusedError, TargetTakenError
from bascule_workers.plans.nodes import Node, PodOnNode, matches, refusal
from bascule_workers.ports.nodes import Evicted, Eviction
from tests.support.fake_registry import Troubles


@dataclass
class FakeNodes:
    """Nodes by name, and the pods on each."""

    troubles: Troubles = field(default_factory=Troubles)
    nodes: dict[str, Node] = field(default_factory=dict)
    shown: dict[str, Node | None] = field(default_factory=dict)
    """What a watch that is behind shows instead, until it is asked for another node's news."""
    pods: dict[str, list[PodOnNode]] = field(default_factory=dict)
    budgets: dict[str, str] = field(default_factory=dict)
    """Pods (`namespace/name`) that may not be evicted, and why."""
    lingering: set[str] = field(default_factory=set)
    """Pods that do not end although they were evicted."""
    evictions: list[tuple[str, int | None]] = field(default_factory=list)
    """Accepted ones, with their grace."""
    clock: Callable[[], int] = lambda: 1_000
    patience: float = 600.0
    """Seconds of real time after which waiting for news ends at the latest: no server skips time meanwhile."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _version: int = 0

    # what tests do

    def put(self, node: Node) -> Node:
        """Add a node, or change it as somebody else does."""
        self._version += 1
        self.nodes[node.name] = replace(node, version=str(self._version), uid=node.uid or f"uid-{self._version}")
        self.pods.setdefault(node.name, [])
        self.tell()
        return self.nodes[node.name]

    def drop(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.tell()

    def tell(self) -> None:
        """Wake everybody who waits for a node or pod."""
        self._news.set()
        self._news = asyncio.Event()

    # the port

    async def select(self, selector: LabelSelector, within: Mapping[str, str]) -> list[Node]:
        async with self.troubles.around("select"):
            found = [self.nodes[name] for name in sorted(self.nodes)]
            return [node for node in found if matches(selector, node.labels) and not refusal(node, within)]

    async def get(self, name: str) -> Node | None:
        async with self.troubles.around("get_node"):
            return self.shown.get(name, self.nodes.get(name))

    async def fresh(self, name: str) -> Node | None:
        async with self.troubles.around("fresh"):
            return self.nodes.get(name)

    async def mark(self, name: str, run: str, resource: str, within: Mapping[str, str]) -> Node | None:
        async with self.troubles.around("mark"):
            node = self.nodes.get(name)
            if node is None or node.terminating:
                return None
            if problem := refusal(node, within):
                raise TargetRefusedError(problem)
            if node.run not in ("", run):
                raise TargetTakenError(node.annotations.get(names.ANNOTATION_RESOURCE) or f"the run {node.run}")
            if node.run == run and node.unschedulable:
                return node
            cordoned = {} if node.unschedulable else {names.LABEL_CORDONED_BY: run}
            return self.put(
                replace(
                    node,
                    labels={**node.labels, names.LABEL_RUN: run, **cordoned},
                    annotations={**node.annotations, names.ANNOTATION_RESOURCE: resource},
                    unschedulable=True,
                )
            )

    async def unmark(self, name: str, run: str) -> bool:
        async with self.troubles.around("unmark"):
            node = self.nodes.get(name)
            if node is None or run not in (node.run, node.cordoned_by):
                return False
            ours = {key for key in (names.LABEL_RUN, names.LABEL_CORDONED_BY) if node.labels.get(key) == run}
            told = {names.ANNOTATION_RESOURCE} if names.LABEL_RUN in ours else set()
            self.put(
                replace(
                    node,
                    labels={key: value for key, value in node.labels.items() if key not in ours},
                    annotations={key: value for key, value in node.annotations.items() if key not in told},
                    unschedulable=node.unschedulable and names.LABEL_CORDONED_BY not in ours,
                )
            )
            return True

    async def marked(self, run: str) -> list[Node]:
        async with self.troubles.around("marked"):
            return [node for _, node in sorted(self.nodes.items()) if run in (node.run, node.cordoned_by)]

    @asynccontextmanager
    async def draining(self, name: str) -> AsyncIterator[FakePodsOfNode]:
        async with self.troubles.around("pods"):
            yield FakePodsOfNode(self, name)

    async def evict(self, pod: PodOnNode, grace_seconds: int | None) -> Evicted:
        async with self.troubles.around("evict"):
            node, current = next(
                ((node, one) for node, pods in self.pods.items() for one in pods if one.reference == pod.reference),
                ("", None),
            )
            if current is None or current.uid != pod.uid:
                return Evicted(Eviction.GONE)
            if why := self.budgets.get(pod.reference):
                return Evicted(Eviction.BLOCKED, why)
            self.evictions.append((pod.reference, grace_seconds))
            others = [one for one in self.pods[node] if one is not current]
            ending = [replace(current, terminating_since=current.terminating_since or self.clock())]
            self.pods[node] = others + (ending if pod.reference in self.lingering else [])
            self.tell()
            return Evicted(Eviction.ACCEPTED)

    async def until(self, name: str, holds: Callable[[Node | None], bool], limit_seconds: float) -> Node | None:
        async with self.troubles.around("until"):
            try:
                async with asyncio.timeout(min(limit_seconds, self.patience)):
                    while not holds(self.nodes.get(name)):
                        await self._news.wait()
            except TimeoutError:
                pass
            return self.nodes.get(name)

    async def pods_changed(self, limit_seconds: float) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                await self._news.wait()
        except TimeoutError:
            pass


@dataclass
class FakePodsOfNode:
    nodes: FakeNodes
    name: str
    seen: list[PodOnNode] = field(default_factory=list)

    def pods(self) -> list[PodOnNode]:
        self.seen = list(self.nodes.pods.get(self.name, []))
        return self.seen

    async def changed(self, limit_seconds: float) -> None:
        if self.seen == self.nodes.pods.get(self.name, []):
            await self.nodes.pods_changed(limit_seconds)


@dataclass
class FakeTargetLeases:
    """Holders (run and resource) by namespace and target."""

    troubles: Troubles = field(default_factory=Troubles)
    holders: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    async def acquire(self, namespace: str, target: str, run: str, resource: str) -> str:
        async with self.troubles.around("acquire"):
            holder, held_for = self.holders.setdefault((namespace, target), (run, resource))
            return "" if holder == run else held_for

    async def release(self, namespace: str, target: str, run: str) -> bool:
        async with self.troubles.around("release_lease"):
            if self.holders.get((namespace, target), ("", ""))[0] != run:
                return False
            del self.holders[(namespace, target)]
            return True

    async def held(self, namespace: str, run: str) -> list[str]:
        async with self.troubles.around("held"):
            return sorted(
                target for (where, target), (holder, _) in self.holders.items() if (where, holder) == (namespace, run)
            )
