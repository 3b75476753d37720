"""A drill's report request, with everything in it that a report shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drill_status import (
    DrillPhase,
    DrillStatus,
    DrillVerdict,
    PastDrill,
    ProbeStatus,
    SearchedKind,
    Timeline,
    VerdictReason,
)
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.dr_drills import DrillPlan, ReportRequest

DISASTER = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SPEC = DRDrillSpec.model_validate(
    {
        "environment": {"manifests": {"configMap": {"name": "orders-dr"}}},
        "restore": {"procedure": "postgres-restore"},
        "probes": [
            {"name": "orders", "procedure": {"name": "sql-probe"}},
            {"name": "web", "http": {"service": "web", "port": 80}},
            {"name": "cache", "tcp": {"service": "cache", "port": 6379}, "required": False},
        ],
        "objectives": {"rto": "5m", "rpo": "15m"},
    }
)


def after(seconds: int) -> datetime:
    """A moment so long after the disaster."""
    return DISASTER + timedelta(seconds=seconds)


def phase(start: int, end: int) -> DrillPhase:
    return DrillPhase(started_at=after(start), finished_at=after(end))


DRILL = DrillStatus(
    verdict=DrillVerdict.MET,
    reason=VerdictReason.OBJECTIVES_MET,
    message="recovered within the objectives",
    rto="4m12s",
    rto_seconds=252,
    rto_gross_seconds=312,
    rpo="7m",
    rpo_seconds=420,
    recovery_point=after(-420),
    namespace="bascule-drill-0123456789abcdef0123",
    declared_at=DISASTER,
    timeline=Timeline(
        decide=phase(4, 64),
        provision=phase(65, 110),
        restore=phase(110, 280),
        validate_=phase(280, 315),
        teardown=phase(316, 340),
    ),
    probes=[
        ProbeStatus(name="orders", passed_at=after(312), message="42 orders"),
        ProbeStatus(name="web", passed_at=after(290)),
        ProbeStatus(name="cache", required=False, message="connection refused"),
    ],
    backup=f"registry.example.com/acme/backups@sha256:{'a' * 64}",
    searched=[SearchedKind(kind="Pod", before=5), SearchedKind(kind="PersistentVolumeClaim", before=1)],
)
HISTORY = [
    PastDrill(number=9, verdict=DrillVerdict.MET, rto_seconds=240, rpo_seconds=300, finished_at=after(-604_800)),
    PastDrill(number=8, verdict=DrillVerdict.MISSED, rto_seconds=390, rpo_seconds=400, finished_at=after(-1_209_600)),
    PastDrill(number=7, verdict=DrillVerdict.INCONCLUSIVE, finished_at=after(-1_814_400)),
]


def request(**fields: Any) -> ReportRequest:
    """The request of a drill that met its objectives, with other fields as given."""
    given: dict[str, Any] = {
        "run": RunIdentity(
            kind="DRDrill", namespace="acme-prod", name="orders", uid="u", number=10, revision="1-a", tenant="acme"
        ),
        "tenant": TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="step"),
        "step": "report",
        "namespace": DRILL.namespace,
        "spec": SPEC,
        "drill": DRILL,
        "history": HISTORY,
        "approvals": ["declare: approved by mara@example.com: quarterly drill"],
        "procedures": {"postgres-restore": "b" * 64},
        "plan": DrillPlan(digest=f"sha256:{'c' * 64}", revision="9c1e5a"),
        "revision": "1-9f2c61a0b4",
        "workflow_id": "drdrill/u/10",
        "started": int(after(2).timestamp()),
        "finished": int(after(345).timestamp()),
        "version": "0.1.0",
    }
    return ReportRequest(**{**given, **fields})
