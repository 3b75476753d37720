"""Kubernetes Events: one object per (resource, reason, note), counted when it happens again. Never in the way."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_operator import metrics
from bascule_operator.connections.kube import FIELD_MANAGER, MERGE_PATCH, Json, Kube
from bascule_operator.decisions.happenings import NOTE_LIMIT, Happening
from bascule_operator.errors import ConflictError, GoneError, OperatorError
from bascule_operator.store import Key

log = logging.getLogger(__name__)

_BACKLOG = 1000
_REMEMBERED = 4096
_NAME_LIMIT = 220


class Recorder:
    """Records happenings in the background. A backlog that grows too long loses its newest."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._backlog: asyncio.Queue[tuple[str, str, Json]] = asyncio.Queue(_BACKLOG)
        self._counts: OrderedDict[str, int] = OrderedDict()

    def record(self, key: Key, body: Json, happening: Happening) -> None:
        """Have the happening recorded soon."""
        event = event_for(key, body, happening, datetime.now(UTC), self._instance)
        namespace = key.namespace or "default"
        try:
            self._backlog.put_nowait((namespace, event["metadata"]["name"], event))
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            namespace, name, event = await self._backlog.get()
            try:
                await self._write(namespace, name, event)
            except OperatorError as error:
                metrics.EVENTS_DROPPED.inc()
                log.warning("an event could not be recorded", extra={"event": name, "error": str(error)})
            finally:
                self._backlog.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait for the backlog, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._backlog.join()

    async def _write(self, namespace: str, name: str, event: Json) -> None:
        count = self._counts.pop(name, 0) + 1
        self._counts[name] = count
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        if count == 1:
            try:
                await self._create(namespace, event)
            except ConflictError:
                # An earlier process recorded it: this is the second time.
                count = self._counts[name] = 2
            else:
                return
        try:
            await self._again(namespace, name, count, event["eventTime"])
        except GoneError:
            # Events expire after an hour; the next one begins anew.
            self._counts[name] = 1
            await self._create(namespace, event)

    async def _create(self, namespace: str, event: Json) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        await self._kube.request("POST", path, resource="events", body=event, query={"fieldManager": FIELD_MANAGER})

    async def _again(self, namespace: str, name: str, count: int, when: str) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}"
        body = {"series": {"count": count, "lastObservedTime": when}}
        query = {"fieldManager": FIELD_MANAGER}
        await self._kube.request("PATCH", path, resource="events", body=body, content_type=MERGE_PATCH, query=query)


def event_for(key: Key, body: Json, happening: Happening, now: datetime, instance: str) -> dict[str, Any]:
    """The Event object. Its name is made of what it says, so that saying it again finds it."""
    uid = body["metadata"].get("uid", "")
    note = happening.note if len(happening.note) <= NOTE_LIMIT else happening.note[: NOTE_LIMIT - 1] + "…"
    digest = hashlib.sha256("\0".join((uid, happening.reason, note)).encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{key.name[:_NAME_LIMIT].rstrip('.-')}.{digest}",
            "namespace": key.namespace or "default",
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": f"{names.GROUP}/operator",
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": happening.reason,
        "type": "Warning" if happening.warning else "Normal",
        "note": note,
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": key.kind,
            "name": key.name,
            "uid": uid,
            **({"namespace": key.namespace} if key.namespace else {}),
        },
    }
