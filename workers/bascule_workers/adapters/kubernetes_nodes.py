"""Nodes as the API server serves them: read from one shared watch, written with the version that was read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bascule_api import names
from bascule_api.selectors import LabelSelector
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.reflector import PAGE, Reflector
from bascule_workers.errors import ApiUnavailableError, TargetRefusedError, TargetTakenError
from bascule_workers.plans.nodes import Node, PodOnNode, label_query, matches, node_of, pod_of, refusal
from bascule_workers.ports.nodes import Evicted, Eviction

CONFLICTS = 5
"""How often a node may change between reading and writing it."""
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_PATH = "/api/v1/nodes"


class KubernetesNodes:
    """The port `Nodes`."""

    def __init__(self, api: ApiServer, watch: NodeWatch) -> None:
        self._api = api
        self._watch = watch

    async def select(self, selector: LabelSelector, within: Mapping[str, str]) -> list[Node]:
        listed = await self._list(label_query(selector, within))
        chosen = (node for node in listed if matches(selector, node.labels) and not refusal(node, within))
        return sorted(chosen, key=lambda node: node.name)

    async def get(self, name: str) -> Node | None:
        async with self._watch.view() as view:
            return view.node(name)

    async def fresh(self, name: str) -> Node | None:
        if not _NAME.fullmatch(name):
            return None
        body = await self._api.find(f"{_PATH}/{name}")
        return node_of(body) if body else None

    async def mark(self, name: str, run: str, resource: str, within: Mapping[str, str]) -> Node | None:
        def change(node: Node) -> JsonObject | None:
            if problem := refusal(node, within):
                raise TargetRefusedError(problem)
            if node.run not in ("", run):
                raise TargetTakenError(node.annotations.get(names.ANNOTATION_RESOURCE) or f"the run {node.run}")
            if node.run == run and node.unschedulable:
                return None
            labels, spec = {names.LABEL_RUN: run}, {}
            if not node.unschedulable:
                labels[names.LABEL_CORDONED_BY] = run
                spec["unschedulable"] = True
            return {"metadata": {"labels": labels, "annotations": {names.ANNOTATION_RESOURCE: resource}}, "spec": spec}

        try:
            seen = await self.get(name)
            if seen is not None and not seen.terminating and (marked := await self._change(seen, change)):
                return marked
        except (TargetRefusedError, TargetTakenError):
            pass  # The watch may be behind: what is refused is refused by the node as it is.
        for _ in range(CONFLICTS):
            node = await self.fresh(name)
            if node is None or node.terminating:
                return None
            if marked := await self._change(node, change):
                return marked
        raise ApiUnavailableError(f"the node {name} changes all the time")

    async def unmark(self, name: str, run: str) -> bool:
        def change(node: Node) -> JsonObject | None:
            labels = {key: None for key in (names.LABEL_RUN, names.LABEL_CORDONED_BY) if node.labels.get(key) == run}
            metadata: JsonObject = {"labels": labels}
            if names.LABEL_RUN in labels:
                metadata["annotations"] = {names.ANNOTATION_RESOURCE: None}
            return {
                "metadata": metadata,
                "spec": {"unschedulable": None} if names.LABEL_CORDONED_BY in labels else {},
            }

        seen = await self.get(name)
        if seen is not None and _is_marked(seen, run) and await self._change(seen, change):
            return True
        for _ in range(CONFLICTS):
            node = await self.fresh(name)
            if node is None or not _is_marked(node, run):
                return False
            if await self._change(node, change):
                return True
        raise ApiUnavailableError(f"the node {name} changes all the time")

    async def marked(self, run: str) -> list[Node]:
        listed = [await self._list(f"{label}={run}") for label in (names.LABEL_RUN, names.LABEL_CORDONED_BY)]
        found = {node.name: node for nodes in listed for node in nodes}
        return [found[name] for name in sorted(found)]

    @asynccontextmanager
    async def draining(self, name: str) -> AsyncIterator[_PodsOfNode]:
        pods = _PodsOfNode(self._api, name)
        await pods.begin()
        try:
            yield pods
        finally:
            await pods.end()

    async def evict(self, pod: PodOnNode, grace_seconds: int | None) -> Evicted:
        options: JsonObject = {"preconditions": {"uid": pod.uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": pod.namespace, "name": pod.name},
            "deleteOptions": options,
        }
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
        return _evicted(*await self._api.answer(path, body))

    async def until(self, name: str, holds: Callable[[Node | None], bool], limit_seconds: float) -> Node | None:
        async with self._watch.view() as view, view.changes.of(name) as changed:
            try:
                async with asyncio.timeout(limit_seconds):
                    while not holds(view.node(name)):
                        changed.clear()
                        await changed.wait()
            except TimeoutError:
                pass
            return view.node(name)

    async def _list(self, labels: str) -> list[Node]:
        found: list[Node] = []
        page: dict[str, str] = {}
        while True:
            answer = await self._api.get(_PATH, labelSelector=labels, limit=PAGE, **page)
            found += [node_of(item) for item in answer["items"] or []]
            if not (following := answer["metadata"].get("continue")):
                return found
            page = {"continue": following}

    async def _change(self, node: Node, change: Callable[[Node], JsonObject | None]) -> Node | None:
        """The node after the change; itself where there is nothing to change; None when it changed meanwhile."""
        body = change(node)
        if body is None:
            return node
        body["metadata"]["resourceVersion"] = node.version
        try:
            changed = node_of(await self._api.merge(f"{_PATH}/{node.name}", body))
        except ApiError as error:
            if error.status in (404, 409):
                return None
            raise TargetRefusedError(f"the API server refuses to change the node: {error.message}") from error
        async with self._watch.view() as view:
            view.learn(changed)
        return changed


class _PodsOfNode:
    """The port `PodsOfNode`."""

    def __init__(self, api: ApiServer, name: str) -> None:
        self._event = asyncio.Event()
        self._reflector = Reflector(
            api,
            "/api/v1/pods",
            lambda _: self._event.set(),
            read=pod_of,
            key=lambda body: f"{body['metadata']['namespace']}/{body['metadata']['name']}",
            fields=f"spec.nodeName={name}",
        )
        self._version = ""
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        try:
            self._version = await self._reflector.list()
        except ApiError as error:
            raise ApiUnavailableError(f"the API server does not list the pods: {error}") from error

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def pods(self) -> list[PodOnNode]:
        self._event.clear()
        return list(self._reflector.items.values())

    async def changed(self, limit_seconds: float) -> None:
        # Not before: most nodes of a large fleet have nothing to wait for.
        self._task = self._task or asyncio.create_task(self._reflector.run(self._version))
        try:
            async with asyncio.timeout(limit_seconds):
                await self._event.wait()
        except TimeoutError:
            pass


def _is_marked(node: Node, run: str) -> bool:
    return run in (node.run, node.cordoned_by)


def _evicted(status: int, answer: Mapping[str, Any]) -> Evicted:
    """What the API server's answer to an eviction means.

    Raises ApiUnavailableError when it says nothing about the pod.
    """
    message = str(answer.get("message") or status)
    causes = [entry for entry in (answer.get("details") or {}).get("causes") or [] if isinstance(entry, dict)]
    reasons = {str(entry.get("reason")): str(entry.get("message") or "") for entry in causes}
    if status < 300:
        return Evicted(Eviction.ACCEPTED)
    if status == 404 or (status == 409 and "precondition" in message.lower()):
        return Evicted(Eviction.GONE)
    if status == 403 and "NamespaceTerminating" in reasons:
        # Its namespace is being deleted, and the pod with it.
        return Evicted(Eviction.ACCEPTED)
    if status == 429 and "DisruptionBudget" in reasons:
        return Evicted(Eviction.BLOCKED, reasons["DisruptionBudget"] or message)
    if (status == 500 and "PodDisruptionBudget" in message) or (400 <= status < 500 and status not in (401, 408, 429)):
        return Evicted(Eviction.BLOCKED, message)
    raise ApiUnavailableError(f"the API server answers {status}: {message[:512]}")
