"""Runs of DRDrills: their input, built fluently, and activities that play a world in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from temporalio import activity

from bascule_api.dr_drill_status import SearchedKind
from bascule_api.dr_drills import DRDrillInput, DRDrillUndoInput
from bascule_api.progress import ApprovalMessage, WaitingProgress
from bascule_workers.dr_drills import (
    Applied,
    ApplyRequest,
    DrillPlan,
    IsolationReport,
    IsolationRequest,
    Moment,
    PlanDrillRequest,
    ProbeReport,
    ProbeRequest,
    ProvisionRequest,
    RemoveVeleroRequest,
    Reported,
    ReportRequest,
    Restored,
    RestoreRequest,
    TeardownRequest,
    TornDown,
    VeleroRequest,
)
from bascule_workers.messages import Done, Left, NotYet, StepRequest
from tests.support.fake_registry import Troubles, digest_of
from tests.support.fake_world import World
from tests.support.runs import procedure

T = TypeVar("T")
DISASTER = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())
"""When the disaster of every drill was declared, unless a test says otherwise."""
RTO, RPO = 252, 420
"""What is measured unless a test says otherwise: seconds."""
RESTORE = procedure("postgres-restore", "DRDrill/restore", timeout="20m")
QUERY = procedure("sql-probe", "DRDrill/probe")
PLAN = DrillPlan(digest=digest_of("plan"), revision="c" * 40, before=3, after=0, services=["db"])


def time_of(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def drill(uid: str = "", number: int = 1, **changes: Any) -> DRDrillInput:
    """The input of a run; `changes` are top-level fields of input or spec. None takes one off."""
    spec: dict[str, Any] = {
        "environment": {"manifests": {"configMap": {"name": "pilot-light"}}},
        "restore": {"procedure": "postgres-restore", "parameters": {"backup": "nightly"}},
        "disaster": {"declaredAt": time_of(DISASTER)},
        "probes": [{"name": "rows", "procedure": {"name": "sql-probe"}}, {"name": "db", "tcp": _SERVICE}],
        "objectives": {"rto": "15m", "rpo": "1h"},
    }
    given: dict[str, Any] = {
        "run": {
            "kind": "DRDrill",
            "namespace": "acme-dev",
            "name": "orders",
            "uid": uid or str(uuid4()),
            "number": number,
            "revision": "1-0000000000",
            "tenant": "acme",
        },
        "tenant": {"name": "acme", "steps_namespace": "bascule-steps-acme", "service_account": "bascule-step"},
        "timeout_seconds": 7200,
        "procedures": {pinned.name: pinned.to_wire() for pinned in (RESTORE, QUERY)},
        "tenant_namespaces": ["acme-dev"],
        "quota": {"pods": "20"},
    }
    for name, value in changes.items():
        (given if name in DRDrillInput.model_fields else spec)[name] = value
    spec = {name: value for name, value in spec.items() if value is not None}
    return DRDrillInput.model_validate(given | {"spec": spec})


def approval(given: DRDrillInput, waiting: WaitingProgress, **changes: Any) -> ApprovalMessage:
    """The decision that a drill waits for."""
    fields: dict[str, Any] = {
        "uid": given.run.uid,
        "run": given.run.number,
        "gate": waiting.gate,
        "subject": waiting.subject,
        "decision": "Approve",
        "approver": "somebody",
    }
    return ApprovalMessage(**fields | changes)


_SERVICE = {"service": "db", "port": 5432}


def probe(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "tcp": _SERVICE, **changes}


def undo_of(given: DRDrillInput, **changes: Any) -> DRDrillUndoInput:
    """The input of an undo of a run, as the operator makes it."""
    fields: dict[str, Any] = {"run": given.run, "tenant": given.tenant, "attempt": 1, "timeout_seconds": 1800}
    return DRDrillUndoInput(**fields | changes)


@dataclass
class DrillPlay:
    """Activities of drills that play their part in memory: what they make stays until it is torn down.

    Whatever is asked twice has its effect once. Troubles and answers go by the step's name.
    """

    troubles: Troubles
    plan_made: DrillPlan = PLAN
    leak: str = ""
    """How a connection gets out."""
    restored: Restored = field(
        default_factory=lambda: Restored(
            recovery_point=DISASTER - RPO, started=DISASTER + 60, finished=DISASTER + 200, backup="sha256:backup"
        )
    )
    probes: dict[str, ProbeReport] = field(default_factory=dict)
    """By the name of the probe; others pass."""
    answers: dict[str, list[NotYet]] = field(default_factory=dict)
    """By the step: what is said before it is done."""
    report_digest: str = digest_of("report")
    calls: list[tuple[str, StepRequest]] = field(default_factory=list)
    """Steps that were asked for, in their order."""
    namespaces: dict[str, str] = field(default_factory=dict)
    """By name: the run that made it."""
    restores: set[str] = field(default_factory=set)
    """Runs with a Restore in Velero's namespace."""
    left: list[str] = field(default_factory=list)
    """What a teardown leaves."""
    searched: list[SearchedKind] = field(
        default_factory=lambda: [SearchedKind(kind="Pod", before=2), SearchedKind(kind="Namespace", before=1)]
    )

    @property
    def steps(self) -> list[str]:
        """The steps that were asked for, each once, in the order in which they were first."""
        return list(dict.fromkeys(step for step, _ in self.calls))

    def asked(self, step: str) -> list[Any]:
        """All requests of a step."""
        return [request for name, request in self.calls if name == step]

    def _answered(self, request: StepRequest) -> NotYet | None:
        self.calls.append((request.step, request))
        waiting = self.answers.get(request.step)
        return waiting.pop(0) if waiting else None

    @activity.defn(name="dr_drill.plan")
    async def plan(self, request: PlanDrillRequest) -> Done[DrillPlan] | NotYet:
        async with self.troubles.around(request.step):
            return self._answered(request) or Done[DrillPlan](value=self.plan_made)

    @activity.defn(name="dr_drill.provision")
    async def provision(self, request: ProvisionRequest) -> Done[Moment] | NotYet:
        async with self.troubles.around(request.step):
            self.namespaces[request.namespace] = request.run.uid
            return self._answered(request) or Done[Moment](value=Moment(at=DISASTER + 20))

    @activity.defn(name="dr_drill.isolated")
    async def isolated(self, request: IsolationRequest) -> Done[IsolationReport] | NotYet:
        async with self.troubles.around(request.step):
            told = IsolationReport(enforced=not self.leak, message=self.leak, at=DISASTER + 30)
            return self._answered(request) or Done[IsolationReport](value=told)

    @activity.defn(name="dr_drill.apply")
    async def apply(self, request: ApplyRequest) -> Done[Applied] | NotYet:
        async with self.troubles.around(request.step):
            return self._answered(request) or Done[Applied](value=Applied(objects=3, at=DISASTER + 50))

    @activity.defn(name="dr_drill.restore")
    async def restore(self, request: RestoreRequest) -> Done[Restored] | NotYet:
        async with self.troubles.around(request.step):
            return self._answered(request) or Done[Restored](value=self.restored)

    @activity.defn(name="dr_drill.restore_by_velero")
    async def restore_by_velero(self, request: VeleroRequest) -> Done[Restored] | NotYet:
        async with self.troubles.around(request.step):
            self.restores.add(request.run.uid)
            return self._answered(request) or Done[Restored](value=self.restored)

    @activity.defn(name="dr_drill.remove_velero")
    async def remove_velero(self, request: RemoveVeleroRequest) -> Done[Left] | NotYet:
        async with self.troubles.around("remove-velero"):
            self.calls.append(("remove-velero", request))
            found = request.run.uid in self.restores
            self.restores.discard(request.run.uid)
            return Done[Left](value=Left(found=int(found)))

    @activity.defn(name="dr_drill.probe")
    async def probe(self, request: ProbeRequest) -> Done[ProbeReport] | NotYet:
        async with self.troubles.around(request.step):
            told = self.probes.get(request.probe.name, ProbeReport(passed=True, at=DISASTER + RTO))
            return self._answered(request) or Done[ProbeReport](value=told)

    @activity.defn(name="dr_drill.teardown")
    async def teardown(self, request: TeardownRequest) -> Done[TornDown] | NotYet:
        async with self.troubles.around(request.step):
            if (waits := self._answered(request)) is not None:
                return waits
            found = self.namespaces.get(request.namespace) == request.run.uid
            if found:
                del self.namespaces[request.namespace]
            searched = self.searched if found else []
            times = {"started": DISASTER + 300, "finished": DISASTER + 320}
            return Done[TornDown](value=TornDown(items=self.left, found=int(found), searched=searched, **times))

    @activity.defn(name="dr_drill.report")
    async def report(self, request: ReportRequest) -> Done[Reported] | NotYet:
        async with self.troubles.around(request.step):
            return self._answered(request) or Done[Reported](value=Reported(digest=self.report_digest))


class Drilled(World):
    """A world in which drills are played."""

    def __init__(self) -> None:
        super().__init__()
        self.play = DrillPlay(self.troubles)
        self.drills = [self.play]

    def assert_gone(self) -> None:
        """Nothing of a drill is left: its namespace, Velero's Restores, and the run's copies."""
        assert self.play.namespaces == {}
        assert self.play.restores == set()
        assert self.objects.of_run(self.steps_namespace) == []
