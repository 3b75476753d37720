"""What lines, spans and metrics tell of a run while it is reconciled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime

from bascule_api.conditions import StepState
from bascule_api.dr_drill_status import DRDrillStatus
from bascule_api.patch_campaign_status import PatchCampaignStatus, TargetsStatus
from bascule_api.runs import RunRecord, RunStatus, StepStatus, Trigger
from bascule_operator import metrics
from bascule_operator.decisions import moves
from bascule_operator.decisions.happenings import missed
from bascule_operator.decisions.subjects import Subject, watched
from bascule_operator.decisions.wording import stamp
from bascule_operator.store import Key
from bascule_telemetry import traces
from bascule_telemetry.logs import about

log = logging.getLogger(__name__)


@contextmanager
def concerning(key: Key, subject: Subject, decision: object) -> Iterator[None]:
    """Lines within the block say which run they are about; what is done for it is a span of its trace."""
    run = subject.run
    workflow = (watched(subject.status) or run.workflow_id) if run else ""
    quiet = isinstance(decision, (moves.Look, moves.Leave))
    span = nullcontext() if quiet else traces.span("Reconcile", lambda: _attributes(key, subject), workflow=workflow)
    with (
        about(
            resource=str(key),
            uid=subject.meta.uid,
            tenant=run.tenant if run else "",
            workflow=workflow,
            run=run.number if run else "",
        ),
        span,
    ):
        yield


def _attributes(key: Key, subject: Subject) -> dict[str, str | int]:
    run = subject.run
    return {
        "bascule.kind": key.kind,
        "k8s.namespace.name": key.namespace,
        "bascule.name": key.name,
        "bascule.tenant": run.tenant if run else "",
        "bascule.run": run.number if run else 0,
    }


def finished(key: Key, subject: Subject, ended: RunStatus) -> None:
    """Tell of the run that `ended` is the first status to speak of as over."""
    run, known = ended.run, {past.number for past in subject.status.history}
    for past in ended.history:
        if past.number in known:
            continue
        tenant = subject.run.tenant if subject.run else ""
        metrics.RUNS_FINISHED.labels(key.kind, tenant, past.phase).inc()
        log.info("run finished: %s", past.summary, extra={"run": past.number, "outcome": past.phase})
        if run is None or run.number != past.number:
            continue
        if run.started_at and run.finished_at:
            seconds = (run.finished_at - run.started_at).total_seconds()
            metrics.RUN_SECONDS.labels(key.kind, past.phase).observe(seconds)
        attributes = _attributes(key, subject) | {"bascule.outcome": str(past.phase)}
        traces.run_is_over(run.workflow_id, attributes, run.started_at, run.finished_at)
        for step in ended.steps:
            _measure(key.kind, step)
        if isinstance(ended, PatchCampaignStatus) and ended.targets is not None:
            _count(tenant, ended.targets)
        if isinstance(ended, DRDrillStatus):
            _judged(tenant, ended, past.number)


def _judged(tenant: str, ended: DRDrillStatus, number: int) -> None:
    """What a drill measured."""
    for drill in ended.drills:
        if drill.number != number or drill.verdict is None:
            continue
        metrics.DRILL_VERDICTS.labels(tenant, drill.verdict, drill.reason or "").inc()
        if drill.rto_seconds is not None:
            metrics.DRILL_RTO_SECONDS.labels(tenant, drill.verdict).observe(drill.rto_seconds)
        if drill.rpo_seconds is not None:
            metrics.DRILL_RPO_SECONDS.labels(tenant, drill.verdict).observe(drill.rpo_seconds)


def scheduled(key: Key, old: RunStatus, new: RunStatus) -> None:
    """Count the due times that were missed between two statuses."""
    number, schedule = missed(old, new), new.schedule
    if number and schedule is not None and schedule.missed_reason is not None:
        metrics.SCHEDULES_MISSED.labels(key.kind, schedule.missed_reason).inc(number)
        extra = {"missed": number, "reason": schedule.missed_reason, "due": stamp(schedule.missed_at)}
        log.warning("due times passed without a run", extra={"resource": str(key)} | extra)


def began(key: Key, subject: Subject, run: RunRecord, now: datetime) -> None:
    """Tell of a run that was started."""
    metrics.RUNS_STARTED.labels(key.kind, run.tenant).inc()
    due = subject.handled.scheduled_for
    if run.trigger is Trigger.SCHEDULE and due is not None:
        metrics.SCHEDULE_LATE_SECONDS.labels(key.kind).observe(max(0.0, (now - due).total_seconds()))


def _count(tenant: str, targets: TargetsStatus) -> None:
    """What became of a campaign's targets."""
    for outcome, number in (
        ("patched", targets.patched),
        ("failed", targets.failed),
        ("skipped", targets.skipped),
        ("rolledBack", targets.rolled_back),
    ):
        metrics.CAMPAIGN_TARGETS.labels(tenant, outcome).inc(number)


def _measure(kind: str, step: StepStatus) -> None:
    """A step's time and attempts. People name tests and waves, so only the first word of a step's name is told."""
    if step.state in (StepState.PENDING, StepState.SKIPPED):
        return
    name = step.name.partition("-")[0]
    metrics.STEP_ATTEMPTS.labels(kind, name, step.state).inc(step.attempts)
    if step.started_at and step.finished_at:
        metrics.STEP_SECONDS.labels(kind, name, step.state).observe(
            (step.finished_at - step.started_at).total_seconds()
        )
