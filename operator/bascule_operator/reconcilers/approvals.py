"""Approvals: looked at once, compared with what the run waits for, handed over, and told what came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from bascule_api import names
from bascule_api.approvals import Approval, ApprovalState, ApprovalStatus
from bascule_operator import apply, metrics, observe
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions import approvals
from bascule_operator.decisions.approvals import AskRun, HandOver, Observed, Settle
from bascule_operator.decisions.subjects import Subject, parse
from bascule_operator.decisions.wire import dense
from bascule_operator.errors import (
    ApiRefusedError,
    ConflictError,
    GoneError,
    NamespaceMissingError,
    OperatorError,
    RunMissingError,
    TemporalError,
    UpdateRejectedError,
)
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.world import News, World
from bascule_operator.store import Json, Key
from bascule_operator.sweep import undecided

log = logging.getLogger(__name__)

_PASSES = 5
_STALE = "Stale"


@dataclass(frozen=True)
class _Found:
    """An Approval and the resource that it is for, both as they are now."""

    key: Key
    body: Json
    approval: Approval
    owner: Key
    subject: Subject | None
    owner_body: Json | None


class ApprovalsReconciler:
    """Brings decisions of people to the runs that wait for them."""

    def __init__(self, kinds: Mapping[str, RunKind], world: World) -> None:
        self._kinds = kinds
        self._world = world

    async def reconcile(self, key: Key, news: News | None) -> float | None:
        """Decide on one Approval. Returns after how many seconds to look again, or None."""
        body = await observe.read(self._world.kube, key)
        if body is None or not undecided(body):
            self._world.queue.forget(key)
            return None
        try:
            found = await self._found(key, body, Approval.parse(body))
        except ValidationError as error:
            log.warning("an Approval does not fit its schema", extra={"resource": str(key), "error": str(error)})
            return None
        try:
            await self._decide(await self._with_owner(found))
        except ConflictError:
            return 0.1
        except GoneError:
            return None
        return None

    async def _found(self, key: Key, body: Json, approval: Approval) -> _Found:
        owner = Key(approval.spec.for_.kind, key.namespace, approval.spec.for_.name)
        kind = self._kinds.get(owner.kind)
        owner_body = await observe.read(self._world.kube, owner) if kind else None
        subject = parse(owner.kind, owner_body, kind.spec, kind.status, kind.fields) if kind and owner_body else None
        return _Found(key, body, approval, owner, subject, owner_body)

    async def _with_owner(self, found: _Found) -> _Found:
        """The Approval goes when its resource goes, also where whoever made it left that out."""
        spec, subject = found.approval.spec.for_, found.subject
        owners = [item.get("uid") for item in found.body["metadata"].get("ownerReferences") or []]
        if subject is None or subject.meta.uid != spec.uid or spec.uid in owners:
            return found
        owner = {"apiVersion": names.API_VERSION, "kind": spec.kind, "name": spec.name, "uid": spec.uid}
        try:
            return replace(found, body=await apply.add_owner(self._world.kube, found.key, found.body, owner))
        except ApiRefusedError as error:
            # Some clusters demand more rights for that; a decision must not be lost for it.
            log.warning("an Approval stays without owner", extra={"resource": str(found.key), "error": str(error)})
            return found

    async def _decide(self, found: _Found) -> None:
        observed = Observed(found.approval, found.subject)
        for _ in range(_PASSES):
            decision = approvals.decide(observed)
            try:
                match decision:
                    case Settle():
                        return await self._settle(found, decision.status)
                    case AskRun():
                        observed = await self._asked(found, observed, decision.number)
                    case HandOver():
                        await self._hand_over(found, decision)
                        return await self._settle(found, approvals.counted(found.approval))
            except RunMissingError:
                observed = replace(observed, refused=True, asked=False)
            except UpdateRejectedError as error:
                if error.type != _STALE:
                    return await self._settle(found, approvals.refused(str(error)))
                observed = replace(observed, refused=True, asked=False)
            except (TemporalError, NamespaceMissingError) as error:
                await self._say(found, approvals.pending(_words(error)))
                raise
        raise ConflictError(f"{found.key}: what its run waits for changes faster than it can be compared")

    def _place(self, found: _Found) -> Place:
        run = found.subject.run if found.subject else None
        assert run is not None  # noqa: S101 - only runs are asked
        return self._world.place(run.tenant, run.temporal_namespace)

    def _workflow_id(self, found: _Found, number: int) -> str:
        return names.workflow_id(found.owner.kind, found.approval.spec.for_.uid, number)

    async def _asked(self, found: _Found, observed: Observed, number: int) -> Observed:
        """What the run itself says: whether it has this Approval, and what it waits for."""
        temporal, place, workflow_id = self._world.temporal, self._place(found), self._workflow_id(found, number)
        taken = await observe.took_update(temporal, place, workflow_id, found.approval.metadata.uid)
        view = await observe.describe(temporal, place, workflow_id, self._kinds[found.owner.kind].result)
        return replace(observed, asked=True, taken=taken, view=view)

    async def _hand_over(self, found: _Found, decision: HandOver) -> None:
        workflow_id = self._workflow_id(found, decision.message.run)
        uid = found.approval.metadata.uid
        await apply.send_approval(self._world.temporal, self._place(found), workflow_id, uid, decision.message)

    async def _settle(self, found: _Found, status: ApprovalStatus) -> None:
        written = await self._say(found, status)
        run = found.subject.run if found.subject else None
        tenant, state = run.tenant if run else "", status.state or ApprovalState.STALE
        metrics.APPROVALS.labels(found.owner.kind, tenant, state).inc()
        extra = {"resource": str(found.key), "tenant": tenant, "run": found.approval.spec.run, "state": state}
        log.info("an Approval was looked at", extra=extra)
        of_resource, told = approvals.happening(found.approval, status)
        if of_resource and found.owner_body is not None:
            self._world.recorder.record(found.owner, found.owner_body, told)
        else:
            self._world.recorder.record(found.key, written, told)

    async def _say(self, found: _Found, status: ApprovalStatus) -> Json:
        told = dense(status.to_wire())
        if (found.body.get("status") or {}) == told:
            return found.body
        return await apply.write_status(self._world.kube, found.key, found.body, told)


def _words(error: OperatorError) -> str:
    if isinstance(error, TemporalError):
        return f"Temporal {error.words}"
    return "Temporal does not know the run's namespace"
