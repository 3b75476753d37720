"""The reconciler of every kind that runs: looks until it knows enough, does one thing, and looks again."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

from bascule_api import names
from bascule_api.conditions import Reason
from bascule_api.progress import Desired, UndoResult
from bascule_api.runs import RunRecord, RunStatus
from bascule_operator import apply, observe
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions import life, moves
from bascule_operator.decisions.grounds import find_grounds
from bascule_operator.decisions.happenings import Happening, happenings, let_go, started
from bascule_operator.decisions.subjects import Subject, parse, set_by, watched
from bascule_operator.decisions.views import Grounds, Problem, RunState, RunView
from bascule_operator.decisions.wire import wire
from bascule_operator.errors import (
    AlreadyStartedError,
    ConflictError,
    GoneError,
    NamespaceMissingError,
    OperatorError,
    TemporalError,
)
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.readings import Readings
from bascule_operator.reconcilers.telling import began, concerning, finished, scheduled
from bascule_operator.reconcilers.undos import Undos
from bascule_operator.reconcilers.world import News, World
from bascule_operator.store import Json, Key

log = logging.getLogger(__name__)

WRITE_INTERVAL = 1.0
"""Seconds between two writes of one status, unless the phase changes."""
_PASSES = 12
"""Decisions of one reconciliation; more mean that something changes under our hands: start over later."""


@dataclass
class _Pass:
    """What one reconciliation knows so far."""

    body: Json
    view: RunView = field(default_factory=RunView)
    fresh: bool = False
    grounded: bool = False
    """Whether Tenant and Procedures were read for this reconciliation."""
    silence: str = ""
    trouble: Exception | None = None


class RunsReconciler:
    """Reconciles one kind."""

    def __init__(self, kind: RunKind, world: World) -> None:
        self._kind = kind
        self._world = world
        self._written: dict[Key, float] = {}
        self._readings = Readings(world)
        self._undos = Undos(kind, world, self._readings)

    async def reconcile(self, key: Key, news: News | None) -> float | None:
        """Bring one resource forward. Returns after how many seconds to look again, or None."""
        entry = self._world.store.get(key)
        if entry is None:
            # Gone, or not among those that this operator is to serve any more.
            self._gone(key)
            return None
        body = entry.body
        now = _Pass(body, view=self._view_in(news, body))
        for _ in range(_PASSES):
            try:
                done, again = await self._step(key, now, news)
            except ConflictError:
                done, again = await self._look(key, now, moves.Look(fresh=True))
            except GoneError:
                self._gone(key)
                return None
            if done:
                if now.trouble:
                    raise now.trouble
                return again
        raise ConflictError(f"{key} changes faster than it can be reconciled")

    def _view_in(self, news: News | None, body: Json) -> RunView:
        return news.view if news and news.workflow_id == self._watched(body) else RunView()

    def _watched(self, body: Json) -> str:
        return watched(self._parse(body).status)

    def _gone(self, key: Key) -> None:
        self._world.store.remove(key)
        self._world.queue.forget(key)
        self._written.pop(key, None)

    async def _step(self, key: Key, now: _Pass, news: News | None) -> tuple[bool, float | None]:
        """Decide once and carry that out. Returns whether that was all, and when to look again."""
        subject = self._parse(now.body)
        decision = life.decide(
            moves.Observed(
                subject=subject,
                fresh=now.fresh,
                grounds=await self._grounds(subject, now),
                view=now.view,
                silence=now.silence,
                now=self._world.clock(),
                ui_url=self._world.ui_url,
            )
        )
        with concerning(key, subject, decision):
            return await self._carry_out(key, now, subject, decision, news)

    async def _carry_out(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.Decision, news: News | None
    ) -> tuple[bool, float | None]:
        match decision:
            case moves.Look():
                return await self._look(key, now, decision)
            case moves.Leave():
                return True, None
            case moves.AddFinalizer():
                return await self._finalizers(key, now, [*subject.meta.finalizers, names.FINALIZER])
            case moves.ReleaseFinalizer():
                return await self._release(key, now, subject)
            case moves.Project():
                return await self._project(key, now, subject, decision, news)
            case moves.StartRun():
                return await self._start(key, now, subject, decision)
            case moves.StartUndo():
                return await self._start_undo(key, now, subject, decision)
            case moves.CancelRun():
                return await self._cancel(key, now, decision)
            case moves.LetGo():
                return await self._let_go(key, now, subject, decision)
            case moves.SendDesired():
                return await self._send(key, now, subject, decision)

    def _parse(self, body: Json) -> Subject:
        kind = self._kind
        return parse(kind.kind, body, kind.spec, kind.status, kind.fields)

    async def _grounds(self, subject: Subject, now: _Pass) -> Grounds | Problem:
        if subject.spec is None:
            return Problem(Reason.SPEC_INVALID, subject.invalid, final=True)
        wants, store = self._kind.wants(subject.spec), self._world.store
        if refused := self._kind.refused(subject.spec):
            return refused
        namespace = subject.meta.namespace or ""
        if now.fresh and not now.grounded and not (subject.unfinished and subject.unfinished.run_id):
            now.grounded = True
            claims = [name for name, tenant in store.tenants.items() if namespace in tenant.spec.namespaces]
            keys = {Key("Tenant", "", name) for name in claims}
            keys |= {Key("Procedure", "", want.procedure) for want in wants}
            await self._readings.refresh(keys)
        found = find_grounds(namespace, wants, store.tenants, store.procedures)
        return found if isinstance(found, Problem) else self._kind.forbidden(subject.spec, found) or found

    async def _look(self, key: Key, now: _Pass, look: moves.Look) -> tuple[bool, float | None]:
        if look.fresh:
            body = await observe.read(self._world.kube, key)
            if body is None:
                raise GoneError(str(key))
            if self._watched(body) != self._watched(now.body):
                # Another operator went on to the next run: what is known is of the one before.
                now.view = RunView()
            self._seen(key, now, body)
        if look.describe:
            await self._describe(now, self._parse(now.body))
        return False, None

    async def _describe(self, now: _Pass, subject: Subject) -> None:
        run, workflow_id = subject.run, watched(subject.status)
        if run is None or not workflow_id:
            return
        result, known = (UndoResult, None) if subject.undoing else (self._kind.result, run.run_id)
        try:
            now.view = await observe.describe(self._world.temporal, self._place(run), workflow_id, result, known)
        except (TemporalError, NamespaceMissingError) as error:
            # A namespace may have been registered a moment ago: it takes a while until every frontend knows it.
            _silent(now, error)

    def _place(self, run: RunRecord) -> Place:
        return self._world.place(run.tenant, run.temporal_namespace)

    def _seen(self, key: Key, now: _Pass, body: Json) -> None:
        """A newer version of the object, read or written by ourselves."""
        self._world.store.put(key, body)
        now.body, now.fresh = body, True

    async def _finalizers(self, key: Key, now: _Pass, finalizers: list[str]) -> tuple[bool, float | None]:
        self._seen(key, now, await apply.set_finalizers(self._world.kube, key, now.body, finalizers))
        return False, None

    async def _release(self, key: Key, now: _Pass, subject: Subject) -> tuple[bool, float | None]:
        others = [finalizer for finalizer in subject.meta.finalizers if finalizer != names.FINALIZER]
        await apply.set_finalizers(self._world.kube, key, now.body, others)
        log.info("let go: nothing of its runs is left", extra={"resource": str(key), "uid": subject.meta.uid})
        self._tell_tenant(subject.run)
        self._gone(key)
        return True, None

    async def _project(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.Project, news: News | None
    ) -> tuple[bool, float | None]:
        new, ended, happened = self._completed(key, now, subject, decision)
        status = wire(new)
        if status == wire(subject.status):
            return not decision.then, decision.again
        wait = self._written.get(key, 0.0) + WRITE_INTERVAL - time.monotonic()
        if wait > 0 and not decision.urgent and not decision.then and new.phase is subject.status.phase:
            self._world.queue.add(key, news or self._as_news(subject, now), wait)
            return True, None
        written = await apply.write_status(self._world.kube, key, now.body, status)
        self._written[key] = time.monotonic()
        self._seen(key, now, written)
        if watched(new) and watched(new) != watched(subject.status):
            # A new intent: nothing of it can have started, and where it did, the start says so.
            now.view = RunView(state=RunState.ABSENT, described=True)
        finished(key, subject, ended)
        scheduled(key, subject.status, new)
        self._tell(key, now.body, subject.status, new, happened)
        return not decision.then, decision.again

    def _as_news(self, subject: Subject, now: _Pass) -> News | None:
        live = watched(subject.status)
        return News(live, now.view) if live and now.view.state is RunState.OPEN else None

    def _completed(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.Project
    ) -> tuple[RunStatus, RunStatus, list[Happening]]:
        """The status with the kind's own fields, the one in which the run ended, and what happened on the way to it."""
        complete, old = self._kind.complete, subject.status
        if decision.ended is None:
            new = complete(self._world, key, subject, decision.status, now.view)
            return new, new, happenings(old, new)
        between = complete(self._world, key, subject, decision.ended, now.view)
        if subject.undoing is None:
            new = complete(self._world, key, subject, decision.status, now.view)
        else:
            # What was taken back is not on record any more when the next run is intended.
            own = type(between).model_fields.keys() - RunStatus.model_fields.keys()
            kept = decision.status.model_copy(update={name: getattr(between, name) for name in own})
            new = complete(self._world, key, subject.with_status(between), kept, RunView())
        return new, between, happenings(old, between) + happenings(between, new)

    def _tell(self, key: Key, body: Json, old: RunStatus, new: RunStatus, happened: list[Happening]) -> None:
        """Events, metrics and neighbours that a written status concerns."""
        for happening in happened:
            self._world.recorder.record(key, body, happening)
        if bool(watched(old)) != bool(watched(new)):
            self._tell_tenant(new.run)
        entry = self._world.store.get(key)
        if entry and getattr(old, "published", None) != getattr(new, "published", None):
            for other in self._world.store.sharing_tags(entry.tags, key):
                self._world.queue.add(other)

    def _tell_tenant(self, run: RunRecord | None) -> None:
        if run is not None:
            self._world.queue.add(Key("Tenant", "", run.tenant), delay=3.0)

    async def _start(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.StartRun
    ) -> tuple[bool, float | None]:
        run = decision.run
        message = self._kind.workflow_input(subject, decision.identity, decision.grounds)
        extra = {"resource": str(key), "tenant": run.tenant, "workflow": run.workflow_id, "run": run.number}
        start = apply.start_run(self._world.temporal, self._place(run), run.workflow_id, decision.identity, message)
        if not await self._begun("run", start, now, subject, extra):
            return False, None
        began(key, subject, run, self._world.clock())
        self._world.recorder.record(key, now.body, started(run))
        return True, moves.STARTED_SECONDS

    async def _start_undo(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.StartUndo
    ) -> tuple[bool, float | None]:
        run, undo = decision.run, decision.undo
        extra = {"resource": str(key), "tenant": run.tenant, "workflow": undo.workflow_id, "run": run.number}
        start = self._undos.begin(subject, decision)
        begun = await self._begun("undo", start, now, subject, extra | {"scope": undo.scope})
        return begun, moves.STARTED_SECONDS if begun else None

    async def _begun(
        self, what: str, start: Awaitable[str], now: _Pass, subject: Subject, extra: dict[str, object]
    ) -> bool:
        """Whether it was started now. If not, the next look knows: it was before, or Temporal gives no answer."""
        try:
            run_id = await start
        except AlreadyStartedError:
            log.info("%s was started before", what, extra=extra)
            await self._describe(now, subject)
            return False
        except (TemporalError, NamespaceMissingError) as error:
            _silent(now, error)
            return False
        log.info("%s started", what, extra=extra | {"run_id": run_id})
        return True

    async def _let_go(self, key: Key, now: _Pass, subject: Subject, decision: moves.LetGo) -> tuple[bool, float | None]:
        """Forced by a person: what it leaves behind, and who said so as far as that is known, is put on record."""
        who = set_by(now.body, names.FORCE_DELETE)
        if decision.run is not None:
            try:
                reason = f"let go of by force: {decision.reason}"
                place = self._place(decision.run)
                await apply.cancel_run(self._world.temporal, place, decision.run.workflow_id, reason)
            except OperatorError as error:
                log.warning("a run that is let go of was not asked to stop", extra={"error": str(error)})
        if decision.release is not None:
            await self._undos.release(key, subject, decision.release)
        written = await self._project(key, now, subject, moves.Project(decision.status, then=True, urgent=True), None)
        told = let_go(decision.status, decision.reason, who)
        self._world.recorder.record(key, now.body, told)
        extra = {"resource": str(key), "uid": subject.meta.uid, "reason": decision.reason, "set_by": who}
        log.warning("audit: let go by force, what its runs made stays: %s", told.note, extra=extra)
        return written

    async def _cancel(self, key: Key, now: _Pass, decision: moves.CancelRun) -> tuple[bool, float | None]:
        run = decision.run
        try:
            await apply.cancel_run(self._world.temporal, self._place(run), run.workflow_id, decision.reason)
            if now.view.paused:
                await apply.unpause_run(self._world.temporal, self._place(run), run.workflow_id, decision.reason)
        except TemporalError as error:
            _silent(now, error)
            return False, None
        extra = {"resource": str(key), "tenant": run.tenant, "workflow": run.workflow_id, "run": run.number}
        log.info("run is being cancelled: %s", decision.reason, extra=extra)
        now.view = replace(now.view, cancel_requested=True)
        return False, None

    async def _send(
        self, key: Key, now: _Pass, subject: Subject, decision: moves.SendDesired
    ) -> tuple[bool, float | None]:
        run, desired = decision.run, Desired(sequence=decision.sequence, suspended=decision.suspended)
        try:
            await apply.send_desired(self._world.temporal, self._place(run), run.workflow_id, desired)
        except TemporalError as error:
            _silent(now, error)
            return False, None
        told = moves.Project(decision.status, then=True, urgent=True)
        return await self._project(key, now, subject, told, None)


def _silent(now: _Pass, error: Exception) -> None:
    """Temporal gave no answer: the status says so, and the key is retried with backoff."""
    now.silence = error.words if isinstance(error, TemporalError) else "does not know its namespace yet"
    now.trouble = error
