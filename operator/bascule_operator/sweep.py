"""What events cannot be trusted with: every so often all resources are listed, and compared with what runs.

A watch may miss deletions, a patch may have failed, and a leader that was paused may have started a run late.
"""

from __future__ import annotations

import asyncio
import logging

from bascule_api import names
from bascule_api.progress import RunIdentity
from bascule_operator import apply, metrics, observe, standings
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions.happenings import Happening
from bascule_operator.decisions.tenants import serves
from bascule_operator.errors import OperatorError
from bascule_operator.reconcilers.served import SERVED
from bascule_operator.reconcilers.world import World, place_of
from bascule_operator.store import Json, Key, due_at, key_of, live_workflow

log = logging.getLogger(__name__)

_OPEN_RUNS = f"{names.SEARCH_UID} IS NOT NULL AND CloseTime IS NULL"


class Sweep:
    """Lists, compares, and has looked at again what needs it."""

    def __init__(self, world: World, selector: str = "") -> None:
        self._world = world
        self._selector = selector

    async def run(self, interval: float) -> None:
        """Serve for ever. The first listing was done before the watches began."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.resync()
                await self.orphans()
            except OperatorError as error:
                log.warning("the sweep was not finished", extra={"error": str(error)})
            except Exception:
                # A bug met by one resource's data must not end the operator for all of them.
                log.exception("the sweep failed")

    async def resync(self) -> None:
        """List everything; forget what is gone; have looked at again what is not at rest. Raises OperatorError."""
        for kind in ("Procedure", "Tenant", *SERVED):
            selector = self._selector if kind in SERVED else ""
            known, found = set(self._world.store.keys(kind)), set[Key]()
            async for body in observe.listed(self._world.kube, kind, selector):
                key = key_of(kind, body)
                found.add(key)
                news = self._world.store.put(key, body)
                if kind != "Procedure" and (kind == "Tenant" or self._restless(body) or (news and key not in known)):
                    self._world.queue.add(key)
            for missing in known - found:
                await self._missing(missing)
        await self._undecided()
        standings.tell(self._world.store, self._world.clock())

    def _restless(self, body: Json) -> bool:
        due = due_at(body)
        return restless(body) or (due is not None and due <= self._world.clock())

    async def _undecided(self) -> None:
        """Approvals are not remembered: most are decided, and then never looked at again."""
        async for body in observe.listed(self._world.kube, "Approval", self._selector):
            if undecided(body):
                self._world.queue.add(key_of("Approval", body))

    async def _missing(self, key: Key) -> None:
        """It may have come while the pages were read: only the API server itself knows."""
        body = await observe.read(self._world.kube, key)
        if body is not None:
            self._world.store.put(key, body)
            return
        self._world.store.remove(key)
        if key.kind == "Tenant":
            self._world.queue.add(key)

    async def orphans(self) -> None:
        """Cancel runs whose resource is gone, in the namespace of every Tenant that is served."""
        places = {
            place_of(tenant)
            for tenant in self._world.store.tenants.values()
            if serves(tenant) or tenant.metadata.deletion_timestamp
        }
        for place in sorted(places):
            try:
                async for row in observe.rows(self._world.temporal, place, _OPEN_RUNS):
                    if row.view.identity is not None and await self._is_orphan(row, row.view.identity):
                        await self._cancel(place, row, row.view.identity)
            except OperatorError as error:
                extra = {"temporal_namespace": place.namespace, "error": str(error)}
                log.warning("orphans could not be looked for", extra=extra)

    async def _is_orphan(self, row: observe.Row, identity: RunIdentity) -> bool:
        """Whether nothing speaks for the run: not what was last seen, and not the API server either."""
        key = Key(identity.kind, identity.namespace, identity.name)
        if identity.kind not in SERVED or row.uid != identity.uid:
            return False
        if row.workflow_id != names.workflow_id(identity.kind, identity.uid, identity.number):
            return False  # an undo workflow: it ends by itself, and takes back what nobody else would
        entry = self._world.store.get(key)
        if entry is not None and speaks_for(entry.body, identity):
            return False
        body = await observe.read(self._world.kube, key)
        return body is None or not speaks_for(body, identity)

    async def _cancel(self, place: Place, row: observe.Row, identity: RunIdentity) -> None:
        key = Key(identity.kind, identity.namespace, identity.name)
        entry = self._world.store.get(key)
        past = entry is not None and entry.uid == identity.uid
        reason = "the run is over: somebody reset it in Temporal" if past else "the resource is gone"
        if not await apply.cancel_run(self._world.temporal, place, row.workflow_id, reason):
            return  # visibility is late: it is over already
        if row.view.paused:
            await apply.unpause_run(self._world.temporal, place, row.workflow_id, reason)
        metrics.ORPHANS_CANCELLED.inc()
        extra = {"workflow": row.workflow_id, "temporal_namespace": place.namespace, "resource": str(key)}
        log.warning("a run without a resource that speaks for it is cancelled: %s", reason, extra=extra)
        if entry is not None and past:
            told = f"run {identity.number} is over, but goes on in Temporal: it is cancelled and compensates"
            self._world.recorder.record(key, entry.body, Happening("RunReset", told, warning=True))


def speaks_for(body: Json, identity: RunIdentity) -> bool:
    """Whether the resource is the one that the run belongs to, and the run not one of its past.

    A run of its past that is open was reset in Temporal after it was over, or started late by a paused leader.
    """
    run: Json = (body.get("status") or {}).get("run") or {}
    if body["metadata"].get("uid") != identity.uid:
        return False
    current = (int(run.get("number", 0)), str(run.get("revision", "")))
    return identity.number > current[0] or ((identity.number, identity.revision) == current and not run.get("outcome"))


def undecided(approval: Json) -> bool:
    """Whether nothing was said to an Approval yet."""
    return not (approval.get("status") or {}).get("state") and "deletionTimestamp" not in approval["metadata"]


def restless(body: Json) -> bool:
    """Whether the resource may need something: not all of it was seen, something runs, waits, or is leaving."""
    metadata, status = body["metadata"], body.get("status") or {}
    return bool(
        "deletionTimestamp" in metadata
        or status.get("observedGeneration") != metadata.get("generation")
        or live_workflow(status) is not None
        or status.get("blocked")
        or _asks(metadata, status)
    )


def _asks(metadata: Json, status: Json) -> bool:
    """Whether an annotation asks for something that was not taken up."""
    annotations, handled = metadata.get("annotations") or {}, status.get("handled") or {}
    request, cancel = annotations.get(names.REQUESTED_AT, ""), annotations.get(names.CANCEL, "")
    return bool(request != handled.get("request", "") or cancel != handled.get("cancel", ""))
