"""The reconciler of every kind that runs: looks until it knows enough, does one thing, and looks again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bascule_api import names
from bascule_api.conditions import Reason
from bascule_api.progress import Desired, RunIdentity, RunInput, RunResult
from bascule_api.runs import RunRecord, RunSpec, RunStatus
from bascule_operator import apply, metrics, observe
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions import life
from bascule_operator.decisions.grounds import Wants, find_grounds
from bascule_operator.decisions.happenings import Happening, happenings, started
from bascule_operator.decisions.subjects import Subject, parse
from bascule_operator.decisions.views import Grounds, Problem, RunState, RunView
from bascule_operator.decisions.wire import wire
from bascule_operator.errors import (
    AlreadyStartedError,
    ConflictError,
    GoneError,
    NamespaceMissingError,
    TemporalError,
)
from bascule_operator.reconcilers.world import News, World
from bascule_operator.store import Json, Key

log = logging.getLogger(__name__)

WRITE_INTERVAL = 1.0
"""Seconds between two writes of one status, unless the phase changes."""
_PASSES = 12
"""Decisions of one reconciliation; more mean that something changes under our hands: start over later."""


@dataclass(frozen=True)
class RunKind:
    """What a kind adds to what all have in common."""

    kind: str
    spec: type[RunSpec]
    status: type[RunStatus]
    result: type[RunResult]
    fields: tuple[str, ...]
    wants: Callable[[Any], list[Wants]]
    workflow_input: Callable[[Any, RunIdentity, Grounds], RunInput]
    complete: Callable[[World, Key, RunStatus, RunStatus, RunView], RunStatus]
    """(world, key, old status, new status, view) -> the new status with the kind's own fields."""


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
                done, again = await self._look(key, now, life.Look(fresh=True))
            except GoneError:
                self._gone(key)
                return None
            if done:
                if now.trouble:
                    raise now.trouble
                return again
        raise ConflictError(f"{key} changes faster than it can be reconciled")

    def _view_in(self, news: News | None, body: Json) -> RunView:
        run = (body.get("status") or {}).get("run") or {}
        return news.view if news and news.workflow_id == run.get("workflowId") else RunView()

    def _gone(self, key: Key) -> None:
        self._world.store.remove(key)
        self._world.queue.forget(key)
        self._written.pop(key, None)

    async def _step(self, key: Key, now: _Pass, news: News | None) -> tuple[bool, float | None]:
        """Decide once and carry that out. Returns whether that was all, and when to look again."""
        subject = self._parse(now.body)
        decision = life.decide(
            life.Observed(
                subject=subject,
                fresh=now.fresh,
                grounds=await self._grounds(subject, now),
                view=now.view,
                silence=now.silence,
                now=self._world.clock(),
                ui_url=self._world.ui_url,
            )
        )
        match decision:
            case life.Look():
                return await self._look(key, now, decision)
            case life.Leave():
                return True, None
            case life.AddFinalizer():
                return await self._finalizers(key, now, [*subject.meta.finalizers, names.FINALIZER])
            case life.ReleaseFinalizer():
                return await self._release(key, now, subject)
            case life.Project():
                return await self._project(key, now, subject, decision, news)
            case life.StartRun():
                return await self._start(key, now, subject, decision)
            case life.CancelRun():
                return await self._cancel(key, now, decision)
            case life.SendDesired():
                return await self._send(key, now, subject, decision)

    def _parse(self, body: Json) -> Subject:
        kind = self._kind
        return parse(kind.kind, body, kind.spec, kind.status, kind.fields)

    async def _grounds(self, subject: Subject, now: _Pass) -> Grounds | Problem:
        if subject.spec is None:
            return Problem(Reason.SPEC_INVALID, subject.invalid, final=True)
        wants, store = self._kind.wants(subject.spec), self._world.store
        namespace = subject.meta.namespace or ""
        if now.fresh and not now.grounded and not (subject.unfinished and subject.unfinished.run_id):
            now.grounded = True
            claims = [name for name, tenant in store.tenants.items() if namespace in tenant.spec.namespaces]
            keys = {Key("Tenant", "", name) for name in claims}
            keys |= {Key("Procedure", "", want.procedure) for want in wants}
            await asyncio.gather(*(self._refresh(key) for key in keys))
        return find_grounds(namespace, wants, store.tenants, store.procedures)

    async def _refresh(self, key: Key) -> None:
        body = await observe.read(self._world.kube, key)
        if body is None:
            self._world.store.remove(key)
        else:
            self._world.store.put(key, body)

    async def _look(self, key: Key, now: _Pass, look: life.Look) -> tuple[bool, float | None]:
        if look.fresh:
            body = await observe.read(self._world.kube, key)
            if body is None:
                raise GoneError(str(key))
            self._seen(key, now, body)
        if look.describe:
            run = self._parse(now.body).run
            if run is None:
                return False, None
            await self._describe(now, run)
        return False, None

    async def _describe(self, now: _Pass, run: RunRecord) -> None:
        place = self._place(run)
        try:
            now.view = await observe.describe(self._world.temporal, place, run.workflow_id, self._kind.result)
        except NamespaceMissingError as error:
            if run.run_id:
                now.view = RunView(state=RunState.ABSENT, described=True)
            else:
                _silent(now, error)  # registered a moment ago: it takes a while until every frontend knows it
        except TemporalError as error:
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
        self, key: Key, now: _Pass, subject: Subject, decision: life.Project, news: News | None
    ) -> tuple[bool, float | None]:
        new, happened = self._completed(key, now, subject.status, decision)
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
        if _another(subject.status.run, new.run):
            # A new intent: nothing of it can have started, and where it did, the start says so.
            now.view = RunView(state=RunState.ABSENT, described=True)
        self._tell(key, now.body, subject.status, new, happened)
        return not decision.then, decision.again

    def _as_news(self, subject: Subject, now: _Pass) -> News | None:
        run = subject.unfinished
        open_view = run is not None and now.view.state is RunState.OPEN
        return News(run.workflow_id, now.view) if run is not None and open_view else None

    def _completed(
        self, key: Key, now: _Pass, old: RunStatus, decision: life.Project
    ) -> tuple[RunStatus, list[Happening]]:
        """The status with the kind's own fields, and what happened on the way to it."""
        complete = self._kind.complete
        new = complete(self._world, key, old, decision.status, now.view)
        if decision.ended is None:
            return new, happenings(old, new)
        between = complete(self._world, key, old, decision.ended, now.view)
        return new, happenings(old, between) + happenings(between, new)

    def _tell(self, key: Key, body: Json, old: RunStatus, new: RunStatus, happened: list[Happening]) -> None:
        """Events, metrics and neighbours that a written status concerns."""
        for happening in happened:
            self._world.recorder.record(key, body, happening)
        known = {past.number for past in old.history}
        tenant = old.run.tenant if old.run else ""
        for past in new.history:
            if past.number not in known:
                metrics.RUNS_FINISHED.labels(self._kind.kind, tenant, past.phase).inc()
                extra = {"resource": str(key), "tenant": tenant, "run": past.number, "outcome": past.phase}
                log.info("run finished: %s", past.summary, extra=extra)
        if _unfinished(old) != _unfinished(new):
            self._tell_tenant(new.run)
        entry = self._world.store.get(key)
        if entry and getattr(old, "published", None) != getattr(new, "published", None):
            for other in self._world.store.sharing_tags(entry.tags, key):
                self._world.queue.add(other)

    def _tell_tenant(self, run: RunRecord | None) -> None:
        if run is not None:
            self._world.queue.add(Key("Tenant", "", run.tenant), delay=3.0)

    async def _start(
        self, key: Key, now: _Pass, subject: Subject, decision: life.StartRun
    ) -> tuple[bool, float | None]:
        run = decision.run
        message = self._kind.workflow_input(subject.spec, decision.identity, decision.grounds)
        extra = {"resource": str(key), "tenant": run.tenant, "workflow": run.workflow_id, "run": run.number}
        try:
            run_id = await apply.start_run(
                self._world.temporal, self._place(run), run.workflow_id, decision.identity, message
            )
        except AlreadyStartedError:
            log.info("run was started before", extra=extra)
            await self._describe(now, run)
            return False, None
        except (TemporalError, NamespaceMissingError) as error:
            _silent(now, error)
            return False, None
        log.info("run started", extra=extra | {"run_id": run_id})
        metrics.RUNS_STARTED.labels(self._kind.kind, run.tenant).inc()
        self._world.recorder.record(key, now.body, started(run))
        return True, life.STARTED_SECONDS

    async def _cancel(self, key: Key, now: _Pass, decision: life.CancelRun) -> tuple[bool, float | None]:
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
        self, key: Key, now: _Pass, subject: Subject, decision: life.SendDesired
    ) -> tuple[bool, float | None]:
        run, desired = decision.run, Desired(sequence=decision.sequence, suspended=decision.suspended)
        try:
            await apply.send_desired(self._world.temporal, self._place(run), run.workflow_id, desired)
        except TemporalError as error:
            _silent(now, error)
            return False, None
        told = life.Project(decision.status, then=True, urgent=True)
        return await self._project(key, now, subject, told, None)


def _silent(now: _Pass, error: Exception) -> None:
    """Temporal gave no answer: the status says so, and the key is retried with backoff."""
    now.silence = error.words if isinstance(error, TemporalError) else "does not know its namespace yet"
    now.trouble = error


def _another(old: RunRecord | None, new: RunRecord | None) -> bool:
    return new is not None and (old is None or old.workflow_id != new.workflow_id)


def _unfinished(status: RunStatus) -> bool:
    return status.run is not None and status.run.outcome is None
