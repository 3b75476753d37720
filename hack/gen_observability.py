"""Writes docs/observability.md from what the code declares, and Grafana's dashboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

import bascule_operator.metrics
import bascule_workers.metrics
from bascule_telemetry import logs, traces
from hack import generated

FOLDER = generated.ROOT / "charts" / "bascule" / "observability"
DOCUMENT = generated.ROOT / "docs" / "observability.md"
INTRODUCTION = generated.ROOT / "hack" / "observability.md"

TEMPORAL = {
    "temporal_worker_task_slots_available": "Room for more tasks, by `namespace` and `worker_type`.",
    "temporal_worker_task_slots_used": "Tasks that are being carried out.",
    "temporal_num_pollers": "Open polls of a worker, by `poller_type`.",
    "temporal_workflow_task_schedule_to_start_latency_seconds": "How long a workflow task waited for a worker.",
    "temporal_activity_schedule_to_start_latency_seconds": "How long an activity waited for a worker.",
    "temporal_workflow_task_execution_failed_total": "Workflow tasks whose code failed, by `workflow_type`.",
    "temporal_sticky_cache_size": "Workflows that a worker keeps in memory.",
    "temporal_request_failure_total": "Calls to Temporal that failed, by `operation`.",
}
"""Those of Temporal's own metrics of workers that alerts, dashboard and people use."""


def _quantile(share: float, histogram: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def _rate(counter: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({counter}[$__rate_interval]))"


PANELS = (
    ("Leading", "sum(bascule_operator_leading)", "short"),
    ("Live runs", "sum by (tenant_namespace) (bascule_operator_live_runs)", "short"),
    ("Runs started", _rate("bascule_operator_runs_started_total", "kind", "tenant"), "ops"),
    ("Runs finished", _rate("bascule_operator_runs_finished_total", "kind", "outcome"), "ops"),
    ("Time of a run (p50)", _quantile(0.5, "bascule_operator_run_seconds", "kind"), "s"),
    ("Time of a step (p95)", _quantile(0.95, "bascule_operator_step_seconds", "step"), "s"),
    ("Campaigns: targets, by what became of them", _rate("bascule_operator_campaign_targets_total", "outcome"), "ops"),
    (
        "Campaigns: time of activities at targets (p95)",
        "histogram_quantile(0.95, sum by (le, action) (rate("
        'bascule_worker_activity_seconds_bucket{action=~"patch_target[.].*"}[$__rate_interval])))',
        "s",
    ),
    (
        "Campaigns: activities at targets that run",
        'sum by (action) (bascule_worker_activities_running{action=~"patch_target[.].*"})',
        "short",
    ),
    ("Schedules that are served", "sum(bascule_operator_schedules)", "short"),
    ("Schedules: due times without a run", _rate("bascule_operator_schedules_missed_total", "kind", "reason"), "ops"),
    ("Schedules: from due to started (p95)", _quantile(0.95, "bascule_operator_schedule_late_seconds", "kind"), "s"),
    ("Drills, by how they stand", "sum by (tenant, state) (bascule_drills)", "short"),
    ("Drills: verdicts", _rate("bascule_drill_verdicts_total", "verdict", "reason"), "ops"),
    ("Drills: recovery time (p95)", _quantile(0.95, "bascule_drill_rto_seconds", "tenant"), "s"),
    ("Drills: age of what was recovered (p95)", _quantile(0.95, "bascule_drill_rpo_seconds", "tenant"), "s"),
    ("Attempts of steps", _rate("bascule_operator_step_attempts_total", "step", "state"), "ops"),
    ("Queue: keys that wait", "bascule_operator_queue_depth", "short"),
    ("Queue: oldest", "bascule_operator_queue_oldest_seconds", "s"),
    ("Queue: time to wait (p95)", _quantile(0.95, "bascule_operator_queue_seconds"), "s"),
    ("Time of a reconciliation (p95)", _quantile(0.95, "bascule_operator_reconcile_seconds", "kind"), "s"),
    ("Errors", _rate("bascule_operator_reconcile_errors_total", "kind", "error"), "ops"),
    (
        "API server: requests",
        _rate("bascule_operator_api_requests_total", "verb", "resource", "code"),
        "reqps",
    ),
    ("Temporal: calls", _rate("bascule_operator_temporal_requests_total", "call", "outcome"), "reqps"),
    ("Feed: lag (p95)", _quantile(0.95, "bascule_operator_feed_lag_seconds"), "s"),
    ("Feed: late rows", "rate(bascule_operator_feed_late_rows_total[$__rate_interval])", "ops"),
    ("Task queues: backlog", "bascule_operator_task_queue_backlog", "short"),
    ("Task queues: oldest task", "bascule_operator_task_queue_age_seconds", "s"),
    ("Task queues: pollers", "bascule_operator_task_queue_pollers", "short"),
    (
        "Workers: room for activities",
        'sum by (namespace) (temporal_worker_task_slots_available{worker_type="ActivityWorker"})',
        "short",
    ),
    ("Workers: activities that run", "sum by (action) (bascule_worker_activities_running)", "short"),
    ("Workers: time of activities (p95)", _quantile(0.95, "bascule_worker_activity_seconds", "action"), "s"),
)
"""Title, query and unit of each panel of the dashboard."""


def metrics_of(module: ModuleType) -> Iterator[MetricWrapperBase]:
    """The metrics that a module declares."""
    return (item for item in vars(module).values() if isinstance(item, MetricWrapperBase))


def exposed(metric: MetricWrapperBase) -> str:
    """Its name as Prometheus sees it; a histogram's without its suffix."""
    return str(metric._name) + ("_total" if metric._type == "counter" else "")


def _table(module: ModuleType) -> Iterator[str]:
    yield "| metric | type | labels | what it is |"
    yield "|---|---|---|---|"
    for metric in metrics_of(module):
        labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
        yield f"| `{exposed(metric)}` | {metric._type} | {labels} | {metric._documentation} |"


def _pairs(first: str, second: str, rows: dict[str, str]) -> Iterator[str]:
    yield f"| {first} | {second} |"
    yield "|---|---|"
    for name, meaning in rows.items():
        yield f"| `{name}` | {meaning} |"


def _alerts() -> Iterator[str]:
    yield "| alert | severity | when |"
    yield "|---|---|---|"
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"| {rule['alert']} | {rule['labels']['severity']} | {rule['annotations']['summary']} |"


def document() -> str:
    """The page: its introduction, and the tables in the places that it names."""
    tables = {
        "operator-metrics": _table(bascule_operator.metrics),
        "worker-metrics": _table(bascule_workers.metrics),
        "temporal-metrics": _pairs("metric", "what it is", TEMPORAL),
        "log-fields": _pairs("field", "what it is", logs.FIELDS),
        "spans": _pairs("span", "what it covers", traces.SPANS),
        "alerts": _alerts(),
    }
    text = INTRODUCTION.read_text()
    for name, lines in tables.items():
        text = text.replace(f"<!-- {name} -->", "\n".join(lines))
    return text


def dashboard() -> str:
    """Grafana's dashboard: two panels a row."""
    panels: list[dict[str, Any]] = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
            "targets": [{"refId": "A", "expr": query}],
        }
        for number, (title, query, unit) in enumerate(PANELS)
    ]
    made = {
        "uid": "bascule",
        "title": "Bascule",
        "tags": ["bascule"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
    return json.dumps(made, indent=1) + "\n"


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    return {DOCUMENT: document(), FOLDER / "dashboard.json": dashboard()}


if __name__ == "__main__":
    sys.exit(generated.main("hack.gen_observability", __doc__, files()))
