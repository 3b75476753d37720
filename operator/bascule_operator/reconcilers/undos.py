"""Starting undo workflows, with what they need as it is now."""

from __future__ import annotations

import logging
from datetime import timedelta

from bascule_api import names
from bascule_operator import apply
from bascule_operator.decisions import moves
from bascule_operator.decisions.grounds import tenant_facts
from bascule_operator.decisions.subjects import Subject
from bascule_operator.errors import AlreadyStartedError, OperatorError
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.readings import Readings
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key

log = logging.getLogger(__name__)


class Undos:
    """Starts what takes back what runs of one kind left."""

    def __init__(self, kind: RunKind, world: World, readings: Readings) -> None:
        self._kind = kind
        self._world = world
        self._readings = readings

    async def begin(self, subject: Subject, decision: moves.StartUndo) -> str:
        """Start the workflow and return Temporal's id of the execution. Raises AlreadyStartedError, OperatorError."""
        kind, store, run = self._kind, self._world.store, decision.run
        wants = kind.undo_wants(subject, decision.undo.scope, store.procedures)
        # It goes on under the tenant of the run, whatever claims the namespace now, ready or not.
        await self._readings.refresh(
            [Key("Tenant", "", run.tenant), *(Key("Procedure", "", name) for name in sorted(wants))]
        )
        facts = tenant_facts(run.tenant, store.tenants.get(run.tenant))
        message = kind.undo_input(subject, decision, facts, store.procedures)
        place = self._world.place(run.tenant, run.temporal_namespace)
        delay = timedelta(seconds=decision.delay_seconds) or None
        workflow_id = decision.undo.workflow_id
        return await apply.start_run(self._world.temporal, place, workflow_id, decision.identity, message, delay)

    async def release(self, key: Key, subject: Subject, start: moves.StartUndo) -> None:
        """Before it is written that it was forced: after that nothing of it is remembered."""
        extra = {"resource": str(key), "workflow": start.undo.workflow_id}
        try:
            await self.begin(subject, start)
        except AlreadyStartedError:
            log.info("release was started before", extra=extra)
        except OperatorError as error:
            where = f"{names.LABEL_KEPT_FOR}={subject.meta.uid}"
            log.warning("a login may be left in a Secret labelled %s", where, extra=extra | {"error": str(error)})
