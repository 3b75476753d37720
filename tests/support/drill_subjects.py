"""Builders of DRDrills as decisions see them: a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drill_status import DRDrillStatus
from bascule_api.dr_drills import REVISION_FIELDS, DRDrillResult
from bascule_api.procedures import PinnedProcedure, Procedure
from bascule_api.runs import CompensationStatus
from bascule_api.tenants import Tenant
from bascule_operator.decisions.subjects import Subject, parse
from bascule_operator.decisions.views import Closed, Grounds, RunState, RunView
from tests.support.bodies import a_body
from tests.support.run_subjects import AResourceWithRuns
from tests.support.subjects import NOW, tenant

Json = dict[str, Any]
UID = "2f0c4c1e-0000-4000-8000-000000000003"
REPORT = "sha256:" + "d" * 64


def spec(**changes: Any) -> Json:
    """A dump of a database, restored into an empty one, and a query."""
    return {
        "environment": {"manifests": {"configMap": {"name": "pilot-light"}}},
        "restore": {"procedure": "postgres-restore", "parameters": {"backup": "nightly"}},
        "probes": [
            {"name": "answers", "tcp": {"service": "postgres", "port": 5432}},
            {"name": "orders", "procedure": {"name": "sql-probe", "parameters": {"query": "SELECT 1"}}},
        ],
        "objectives": {"rto": "15m", "rpo": "1h"},
    } | changes


def of_velero(**changes: Any) -> Json:
    """The same by Velero, which brings everything."""
    velero = {"schedule": "nightly", "includedNamespaces": ["acme-dev"]}
    probes = [{"name": "answers", "tcp": {"service": "postgres", "port": 5432}}]
    return spec(environment={}, restore={"velero": velero}, probes=probes) | changes


def parsed(body: Json) -> Subject:
    return parse("DRDrill", body, DRDrillSpec, DRDrillStatus, REVISION_FIELDS)


def revision_of(body_spec: Json) -> str:
    return parsed({"metadata": {"name": "web"}, "spec": body_spec}).revision


def a_spec(**changes: Any) -> DRDrillSpec:
    return DRDrillSpec.model_validate(spec(**changes))


def procedure(name: str, *uses: str, **more: Any) -> Procedure:
    parameters = [{"name": "backup", "type": "string"}, {"name": "query", "type": "string"}]
    template = {"container": {"image": "example.com/step:1"}}
    made = {"uses": [f"DRDrill/{use}" for use in uses], "parameters": parameters, "template": template} | more
    return Procedure.parse({"metadata": {"name": name, "generation": 1}, "spec": made})


PROCEDURES: Mapping[str, Procedure] = {
    made.metadata.name: made
    for made in (
        procedure("postgres-restore", "restore"),
        procedure("sql-probe", "probe"),
        procedure("node-restore", "restore", placement="OnTarget"),
        procedure("node-probe", "probe", placement="OnTarget", securityProfile="Host"),
    )
}


def rehearsing(of: Tenant | None = None, *, enabled: bool = True, **drills: Any) -> Tenant:
    """A ready Tenant that may rehearse, or may not."""
    made = of or tenant("acme", "acme-dev")
    wanted = made.spec.drills.model_copy(update={"enabled": enabled} | drills)
    return made.model_copy(update={"spec": made.spec.model_copy(update={"drills": wanted})})


def grounds(of: Tenant | None = None) -> Grounds:
    pinned = {name: PinnedProcedure.of(found) for name, found in PROCEDURES.items()}
    return Grounds(of or rehearsing(), pinned)


@dataclass(frozen=True)
class ADrill(AResourceWithRuns):
    """A DRDrill under construction; every method returns another one."""

    kind: ClassVar[str] = "DRDrill"
    compensated: ClassVar[str] = "Succeeded"
    body: Json = field(default_factory=lambda: a_body(UID, spec()))

    @property
    def subject(self) -> Subject:
        return parsed(self.body)

    @property
    def status(self) -> DRDrillStatus:
        status = self.subject.status
        assert isinstance(status, DRDrillStatus)
        return status


def drill(**changes: Any) -> ADrill:
    return ADrill().with_spec(**changes)


def figures(**changes: Any) -> Json:
    """A drill that met its objectives, as the run tells it."""
    return {
        "namespace": names.drill_namespace(UID, 1),
        "verdict": "Met", "reason": "ObjectivesMet", "message": "all 2 required probes passed",
        "rto": "4m12s", "rtoSeconds": 252, "rtoGrossSeconds": 252, "rpo": "7m", "rpoSeconds": 420,
        "recoveryPoint": "2026-11-22T11:43:00Z", "declaredAt": "2026-11-22T11:50:00Z", "report": REPORT,
    } | changes  # fmt: skip


def missed(**changes: Any) -> Json:
    """One that took too long."""
    return figures(
        verdict="Missed", reason="RTOExceeded", message="the recovery took 21m, the objective is 15m",
        rto="21m", rtoSeconds=1260, rtoGrossSeconds=1260,
    ) | changes  # fmt: skip


def result(phase: Phase = Phase.SUCCEEDED, told: Json | None = None, **facts: Any) -> RunView:
    """A closed run with its result."""
    compensation = CompensationStatus(state=CompensationState.SUCCEEDED, completed=1, total=1)
    body = {"phase": phase, "progressNumber": 9, "compensation": compensation, "drill": told} | facts
    return RunView(
        RunState.CLOSED, described=True, run_id="run-1", closed=Closed.COMPLETED,
        result=DRDrillResult.model_validate(body), closed_at=NOW,
    )  # fmt: skip
