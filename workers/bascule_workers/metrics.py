"""What the workers count, for Prometheus; Temporal's own metrics of the worker have a port of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

ACTIVITY_SECONDS = Histogram(
    "bascule_worker_activity_seconds",
    "Time of one attempt of an activity.",
    ["action", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
ACTIVITIES_RUNNING = Gauge("bascule_worker_activities_running", "Activities that are being carried out.", ["action"])
API_REQUESTS = Counter("bascule_worker_api_requests", "Requests to the API server.", ["verb", "resource", "code"])
TENANTS_SERVED = Gauge("bascule_worker_tenants_served", "Tenants whose task queue this worker polls.")
TENANT_FAILURES = Counter("bascule_worker_tenant_failures", "Times that a tenant could not be served.", ["tenant"])


@contextmanager
def measured(action: str) -> Iterator[None]:
    """Measure one attempt of an activity: outcome done, failed or cancelled."""
    begun, outcome = time.monotonic(), "done"
    ACTIVITIES_RUNNING.labels(action).inc()
    try:
        yield
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        ACTIVITIES_RUNNING.labels(action).dec()
        ACTIVITY_SECONDS.labels(action, outcome).observe(time.monotonic() - begun)
