"""Tenants: their Temporal namespaces, and who depends on them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import ValidationError

from bascule_api import names
from bascule_api.conditions import ConditionStatus
from bascule_api.tenants import Management, Tenant
from bascule_operator import apply, observe
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions import tenants
from bascule_operator.decisions.happenings import Happening
from bascule_operator.decisions.tenants import AddAttributes, Bank, Register, SetRetention, Tell, TenantDecision
from bascule_operator.decisions.wire import dense
from bascule_operator.errors import (
    ConflictError,
    GoneError,
    NamespaceMissingError,
    OperatorError,
    TemporalError,
)
from bascule_operator.reconcilers.served import SERVED
from bascule_operator.reconcilers.world import News, World, place_of
from bascule_operator.store import Json, Key

log = logging.getLogger(__name__)

_PASSES = 8


@dataclass(frozen=True)
class Found:
    """A Tenant and what it says now."""

    key: Key
    body: Json
    tenant: Tenant


class TenantsReconciler:
    """Makes Tenants ready."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def reconcile(self, key: Key, news: News | None) -> float | None:
        """Bring one Tenant forward. Returns after how many seconds to look again, or None."""
        body = await observe.read(self._world.kube, key)
        if body is None:
            self._world.store.remove(key)
            self._world.queue.forget(key)
            self._neighbours(key)
            return None
        self._world.store.put(key, body)
        try:
            found = Found(key, body, Tenant.parse(body))
        except ValidationError:
            log.warning("a Tenant does not fit its schema", extra={"resource": str(key)})
            return None
        try:
            return await (self._leave(found) if found.tenant.metadata.deletion_timestamp else self._serve(found))
        except ConflictError:
            return 0.1
        except GoneError:
            return 0.0

    async def _serve(self, found: Found) -> float | None:
        if names.TENANT_FINALIZER not in found.tenant.metadata.finalizers:
            finalizers = [*found.tenant.metadata.finalizers, names.TENANT_FINALIZER]
            body = await apply.set_finalizers(self._world.kube, found.key, found.body, finalizers)
            self._world.store.put(found.key, body)
            found = Found(found.key, body, Tenant.parse(body))
        tenant = found.tenant
        place = _administered_at(tenant)
        already = tenants.taken(tenant, self._world.store.tenants.values())
        steps = await observe.namespace_exists(self._world.kube, tenant.steps_namespace)
        prepared: list[TenantDecision] = []
        for _ in range(_PASSES):
            bank, trouble = await self._bank(place, place_of(tenant))
            decision = tenants.decide(tenant, already, steps, bank)
            if isinstance(decision, Tell):
                await self._tell(found, decision)
                if trouble:
                    raise trouble
                return decision.again
            if decision in prepared:
                break
            await self._prepare(place, tenant, decision)
            prepared.append(decision)
        # What was just made takes a moment until every frontend of Temporal knows it.
        return 0.5

    async def _bank(self, place: Place, runs: Place) -> tuple[Bank, OperatorError | None]:
        try:
            facts = await observe.temporal_namespace(self._world.temporal, place)
        except NamespaceMissingError:
            return Bank(exists=False), None
        except TemporalError as error:
            return Bank(exists=None, silence=error.words), error
        closed = ""
        if runs != place:
            # What it holds is known by now; this is about the tenant's credentials alone.
            try:
                await observe.described_namespace(self._world.temporal, runs)
            except NamespaceMissingError:
                closed = "does not know the namespace"
            except TemporalError as error:
                closed = error.words
        return Bank(True, facts.owner, facts.retention_seconds, facts.attributes, closed=closed), None

    async def _prepare(self, place: Place, tenant: Tenant, decision: Register | SetRetention | AddAttributes) -> None:
        temporal = self._world.temporal
        extra = {"tenant": tenant.metadata.name, "temporal_namespace": place.namespace}
        match decision:
            case Register():
                await apply.register_namespace(temporal, place, tenant)
                log.info("Temporal namespace registered", extra=extra)
            case SetRetention():
                await apply.set_retention(temporal, place, decision.seconds)
            case AddAttributes():
                await apply.add_search_attributes(temporal, place, set(decision.missing))

    async def _tell(self, found: Found, tell: Tell) -> None:
        active = sum(
            1
            for runs in self._world.store.live_runs().values()
            for run in runs.values()
            if run.tenant == found.key.name
        )
        new = tenants.status(found.tenant, tell, active, self._world.clock())
        was_ready, changed = tenants.serves(found.tenant), tenants.is_changed(found.tenant)
        if found.tenant.status is not None and dense(found.tenant.status.to_wire()) == dense(new.to_wire()):
            return
        written = await apply.write_status(self._world.kube, found.key, found.body, dense(new.to_wire()))
        self._world.store.put(found.key, written)
        if was_ready != tenants.serves(Tenant.parse(written)):
            warning = tell.status is not ConditionStatus.TRUE
            self._world.recorder.record(found.key, written, Happening(tell.reason, tell.message, warning))
        if changed or was_ready != tenants.serves(Tenant.parse(written)):
            self._neighbours(found.key)

    async def _leave(self, found: Found) -> float | None:
        """A Tenant that is being deleted goes when nothing depends on it."""
        if names.TENANT_FINALIZER not in found.tenant.metadata.finalizers:
            return None
        dependants = await self._dependants(found.tenant)
        if dependants:
            await self._tell(found, tenants.leaving(dependants))
            return 5.0
        finalizers = [name for name in found.tenant.metadata.finalizers if name != names.TENANT_FINALIZER]
        await apply.set_finalizers(self._world.kube, found.key, found.body, finalizers)
        log.info("nothing depends on the Tenant any more", extra={"tenant": found.key.name})
        return None

    async def _dependants(self, tenant: Tenant) -> list[str]:
        """Resources whose runs belong to the Tenant, as they are now."""
        found = []
        for kind in SERVED:
            async for body in observe.listed(self._world.kube, kind):
                run = (body.get("status") or {}).get("run") or {}
                finalizers = body["metadata"].get("finalizers") or []
                if run.get("tenant") == tenant.metadata.name and names.FINALIZER in finalizers:
                    found.append(f"{kind} {body['metadata']['namespace']}/{body['metadata']['name']}")
        return found

    def _neighbours(self, key: Key) -> None:
        """Other Tenants may have waited for this one's Temporal namespace or nodes, or lose them to it."""
        for other in self._world.store.keys("Tenant"):
            if other != key:
                self._world.queue.add(other)


def _administered_at(tenant: Tenant) -> Place:
    """Where the tenant's Temporal namespace is made: on the platform's server that is the platform's right."""
    temporal = tenant.spec.temporal
    if temporal.management is Management.CREATE and not temporal.address:
        return Place(tenant.temporal_namespace)
    return place_of(tenant)
