"""Campaigns of many nodes: time beside the ideal, requests per target, and what the history holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bascule_api import names
from hack.bench import figures
from hack.bench.children import Meter, peak_mib, rss_mib
from hack.bench.cluster_api import Json
from hack.bench.figures import rounded
from hack.bench.scene import NAMESPACE, NODES, OPERATOR_USER, TENANT, WORKER_USER, patch_campaign
from hack.bench.stage import CALM_SECONDS, Stage

PARALLEL = 50
SECONDS = 2.0
"""What the Procedure takes by itself."""
_PATH = f"/apis/bascule.dev/v1alpha1/namespaces/{NAMESPACE}/patchcampaigns"
_API_REQUESTS = "bascule_worker_api_requests_total"
_POLL_SECONDS = 0.5


def ideal_seconds(targets: int) -> float:
    """Targets by how many are worked on at a time, by the Procedure's own time."""
    return targets / min(PARALLEL, targets) * SECONDS


async def campaign(on: Stage, targets: int) -> Json:
    """One campaign of so many KWOK nodes, from creation until its status says that it is over."""
    prefix = f"fleet{targets}"
    labels = {**NODES, "bench.example.com/size": str(targets)}
    await asyncio.to_thread(on.scene.cluster.add_fake_nodes, targets, labels, prefix=prefix)
    try:
        return await _measured(on, targets, prefix, labels)
    finally:
        await asyncio.to_thread(on.scene.cluster.remove_fake_nodes, prefix)


async def _measured(on: Stage, targets: int, name: str, labels: dict[str, str]) -> Json:
    before, meter, tail = await on.scene.own_worker_metrics(), Meter(on.pids()), on.audit()
    memory, begun = rss_mib(on.worker.pid), time.monotonic()
    created = await on.admin.request("POST", _PATH, patch_campaign(name, labels, PARALLEL, SECONDS))
    body = await _over(on, name, ideal_seconds(targets) * 20 + 300)
    seconds, load = time.monotonic() - begun, meter.read()
    after = await on.scene.own_worker_metrics()
    await asyncio.sleep(CALM_SECONDS)
    lines = tail.lines()
    status, ideal = body["status"], ideal_seconds(targets)
    return {
        "targets": targets,
        "phase": status["phase"],
        "patched": status["targets"]["patched"],
        "left_cordoned": await _cordoned(on, labels),
        "seconds": rounded(seconds, 1),
        "ideal_s": rounded(ideal, 1),
        "times_ideal": rounded(seconds / ideal, 2),
        "writes_per_target": {
            "worker": figures.per_resource(figures.writes(lines, WORKER_USER), targets),
            "operator": figures.per_resource(figures.writes(lines, OPERATOR_USER), targets),
        },
        "worker_requests": _gained(before, after),
        "worker": {"rss_mib": rounded(peak_mib(on.worker.pid), 1), "rss_before_mib": memory},
        "cpu_ms_per_target": {name: rounded(spent * 1000 / targets, 1) for name, spent in load["cpu_s"].items()},
        "cores_busy_with_others": load["cores_busy_with_others"],
        "status_bytes": len(str(status)),
        "history": await _histories(on, created["metadata"]["uid"]),
    }


async def _over(on: Stage, name: str, patience: float) -> Json:
    deadline = time.monotonic() + patience
    while True:
        body = await on.admin.request("GET", f"{_PATH}/{name}")
        if (body.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Cancelled", "Rejected"):
            return body
        if time.monotonic() > deadline:
            raise RuntimeError(f"the campaign {name} is not over: {body.get('status')}")
        await asyncio.sleep(_POLL_SECONDS)


async def _cordoned(on: Stage, labels: Mapping[str, str]) -> int:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = await on.admin.request("GET", "/api/v1/nodes", query={"labelSelector": selector})
    return sum(bool(node["spec"].get("unschedulable")) for node in found["items"])


def _gained(before: str, after: str) -> dict[str, int]:
    """Requests of the worker to the API server meanwhile, reads and watches included, in all."""
    parts = ("verb", "resource", "code")
    first, last = (figures.metric(text, _API_REQUESTS, parts) for text in (before, after))
    return {name: round(count) for name, count in figures.gained(first, last, 1).items()}


async def _histories(on: Stage, uid: str) -> Json:
    """What Temporal keeps: the executions of the parent together and the largest, and the largest of the batches."""
    parent = names.workflow_id("PatchCampaign", uid, 1)
    client = await on.scene.temporal(TENANT)
    own: list[tuple[int, int]] = []
    batches: list[tuple[int, int]] = []
    async for run in client.list_workflows(f"WorkflowId = '{parent}' OR WorkflowId STARTS_WITH '{parent}/'"):
        info: Any = run.raw_info
        (own if run.id == parent else batches).append((info.history_length, info.history_size_bytes))
    return {
        "parent_executions": len(own),
        "parent_events": sum(events for events, _ in own),
        "parent_events_most": max(events for events, _ in own),
        "parent_bytes_most": max(size for _, size in own),
        "batches": len(batches),
        "batch_events_most": max(events for events, _ in batches),
        "batch_bytes_most": max(size for _, size in batches),
    }
