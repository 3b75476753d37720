"""What the operator counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RUNS_STARTED = Counter("bascule_operator_runs_started", "Runs started.", ["kind", "tenant"])
RUNS_FINISHED = Counter("bascule_operator_runs_finished", "Runs finished.", ["kind", "tenant", "outcome"])
APPROVALS = Counter("bascule_operator_approvals", "Approvals that were looked at.", ["kind", "tenant", "state"])
SCHEDULES = Gauge("bascule_operator_schedules", "Resources whose schedule is served: not suspended, and not wrong.")
SCHEDULES_MISSED = Counter(
    "bascule_operator_schedules_missed", "Due times that passed without a run.", ["kind", "reason"]
)
SCHEDULE_LATE_SECONDS = Histogram(
    "bascule_operator_schedule_late_seconds",
    "From the time that a run was due to its start.",
    ["kind"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)
RUN_SECONDS = Histogram(
    "bascule_operator_run_seconds",
    "Time of a run from its start to its end.",
    ["kind", "outcome"],
    buckets=(5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 86400),
)
CAMPAIGN_TARGETS = Counter(
    "bascule_operator_campaign_targets",
    "Targets of campaigns whose run is over: patched, failed, skipped, rolledBack.",
    ["tenant", "outcome"],
)
_DRILL_BUCKETS = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800)
DRILLS = Gauge(
    "bascule_drills",
    "DRDrills by how they stand: Met, Missed or Inconclusive as the last drill was, Overdue, New.",
    ["tenant", "state"],
)
DRILL_VERDICTS = Counter("bascule_drill_verdicts", "Drills that are over.", ["tenant", "verdict", "reason"])
DRILL_RTO_SECONDS = Histogram(
    "bascule_drill_rto_seconds",
    "Recovery time of drills that are over, net of waiting for people.",
    ["tenant", "verdict"],
    buckets=_DRILL_BUCKETS,
)
DRILL_RPO_SECONDS = Histogram(
    "bascule_drill_rpo_seconds",
    "Age of what drills recovered, at the time of the disaster.",
    ["tenant", "verdict"],
    buckets=_DRILL_BUCKETS,
)
STEP_SECONDS = Histogram(
    "bascule_operator_step_seconds",
    "Time of a run's step, all its attempts and waits included.",
    ["kind", "step", "state"],
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
STEP_ATTEMPTS = Counter("bascule_operator_step_attempts", "Attempts of the steps of runs.", ["kind", "step", "state"])
RECONCILE_SECONDS = Histogram(
    "bascule_operator_reconcile_seconds",
    "Time of one reconciliation.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RECONCILE_ERRORS = Counter("bascule_operator_reconcile_errors", "Reconciliations that failed.", ["kind", "error"])
QUEUE_DEPTH = Gauge("bascule_operator_queue_depth", "Keys that are due and wait for their turn.")
QUEUE_OLDEST_SECONDS = Gauge("bascule_operator_queue_oldest_seconds", "How long the oldest due key has waited.")
QUEUE_SECONDS = Histogram(
    "bascule_operator_queue_seconds",
    "How long a key that was due waited for its turn.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
QUEUE_RUNNING = Gauge("bascule_operator_queue_running", "Keys that are being reconciled.")
API_REQUESTS = Counter("bascule_operator_api_requests", "Requests to the API server.", ["verb", "resource", "code"])
TEMPORAL_REQUESTS = Counter("bascule_operator_temporal_requests", "Requests to Temporal.", ["call", "outcome"])
LIVE_RUNS = Gauge("bascule_operator_live_runs", "Unfinished runs.", ["tenant_namespace"])
FEED_LAG_SECONDS = Histogram(
    "bascule_operator_feed_lag_seconds",
    "From a step's change in Temporal to its row in the feed.",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
FEED_LATE_ROWS = Counter("bascule_operator_feed_late_rows", "Rows that only a wider window found.")
FEED_ERRORS = Counter("bascule_operator_feed_errors", "Questions of the feed that failed.")
TASK_QUEUE_BACKLOG = Gauge(
    "bascule_operator_task_queue_backlog", "Tasks that wait for a worker, about.", ["temporal_namespace", "type"]
)
TASK_QUEUE_AGE_SECONDS = Gauge(
    "bascule_operator_task_queue_age_seconds", "How long the oldest of them waits.", ["temporal_namespace", "type"]
)
TASK_QUEUE_POLLERS = Gauge(
    "bascule_operator_task_queue_pollers",
    "Polls by workers within the last minutes; 0: nobody works.",
    ["temporal_namespace", "type"],
)
ORPHANS_CANCELLED = Counter("bascule_operator_orphans_cancelled", "Runs cancelled because their resource is gone.")
LEADING = Gauge("bascule_operator_leading", "1 while this operator leads, 0 while it stands by.")
LEASE_ERRORS = Counter("bascule_operator_lease_errors", "Times that the Lease could not be read or renewed.")
EVENTS_DROPPED = Counter("bascule_operator_events_dropped", "Kubernetes Events that could not be recorded.")
