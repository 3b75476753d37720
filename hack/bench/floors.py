"""The raw floors: what API server and Temporal do when nobody else is in the way, taken in the same run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from hack.bench import raw
from hack.bench.cluster_api import BUILDS, ClusterApi, Json
from hack.bench.figures import rounded, spread
from hack.bench.scene import NAMESPACE, RAW_NAMESPACE, Scene, image_build

_STATUS_OBJECTS = 100
_STATUS_ROUNDS = 6
_WRITERS = 16
"""As many as the operator has in flight."""
_STARTS = 300
_START_WRITERS = 32
_ONE_ACTIVITY = 100
_PATIENCE = 900.0


async def timed(calls: Sequence[Callable[[], Awaitable[Any]]], in_flight: int) -> tuple[float, list[float]]:
    """Make all calls, so many at a time. Returns seconds for all, and for each."""
    slots, each = asyncio.Semaphore(in_flight), list[float]()

    async def one(call: Callable[[], Awaitable[Any]]) -> None:
        async with slots:
            begun = time.monotonic()
            await call()
            each.append(time.monotonic() - begun)

    begun = time.monotonic()
    await asyncio.gather(*(one(call) for call in calls))
    return time.monotonic() - begun, each


async def kubernetes(admin: ClusterApi, operator: ClusterApi) -> Json:
    """Creations and status writes per second, while no operator runs. Leaves nothing behind."""
    path = BUILDS.format(namespace=NAMESPACE)
    builds = [image_build(f"floor-{number}") for number in range(_STATUS_OBJECTS)]
    begun = time.monotonic()
    made = await admin.create_all(path, builds)
    created = len(made) / (time.monotonic() - begun)

    async def apply(body: Json, number: int) -> None:
        # The same request as the operator's, with a status of the usual size that is another each time.
        document = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": {name: body["metadata"][name] for name in ("name", "namespace", "uid")},
            "status": _status(number),
        }
        await operator.request(
            "PATCH", f"{path}/{body['metadata']['name']}/status", document,
            content_type="application/apply-patch+yaml", query={"fieldManager": "bascule-operator", "force": "true"},
        )  # fmt: skip

    calls = [lambda b=body, n=number: apply(b, n) for number in range(_STATUS_ROUNDS) for body in made]
    seconds, each = await timed(calls, _WRITERS)
    await admin.request("DELETE", path)
    return {
        "creations_per_s": rounded(created, 1),
        "status_patches_per_s": rounded(len(calls) / seconds, 1),
        "status_patch": spread(each),
    }


def _status(number: int) -> Json:
    steps = ("resolve", "build", "test-smoke", "sign", "verify", "publish")
    at = "2026-01-01T00:00:00Z"
    return {
        "observedGeneration": 1,
        "phase": "Running",
        "conditions": [
            {
                "type": kind, "status": "False", "reason": "Progressing", "observedGeneration": 1,
                "message": f"change {number}", "lastTransitionTime": at,
            }
            for kind in ("Ready", "Reconciling")
        ],
        "progress": {"completed": number, "total": 6, "percent": 10, "message": f"change {number}"},
        "steps": [{"name": name, "state": "Running", "startedAt": at, "attempts": number + 1} for name in steps],
    }  # fmt: skip


async def register(scene: Scene) -> Client:
    """A Temporal namespace for what is raw."""
    client = await scene.temporal(RAW_NAMESPACE)
    request = RegisterNamespaceRequest(
        namespace=RAW_NAMESPACE, workflow_execution_retention_period=Duration(seconds=86_400)
    )
    try:
        await client.workflow_service.register_namespace(request)
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise
    while True:  # it takes a while until every part of the server knows it
        try:
            await client.count_workflows()
        except RPCError:
            await asyncio.sleep(0.5)
        else:
            return client


async def starts(client: Client) -> Json:
    """Workflow starts per second, with nobody who runs them; and what one takes when nothing else goes on."""

    async def start(number: int, kind: str) -> None:
        await client.start_workflow(
            "Nobody", id=f"{kind}/{number}/{time.monotonic_ns()}", task_queue="bench-nobody",
            execution_timeout=timedelta(seconds=60),
        )  # fmt: skip

    alone, each = await timed([lambda n=number: start(n, "alone") for number in range(50)], 1)  # type: ignore[misc]
    calls = [lambda n=number: start(n, "many") for number in range(_STARTS)]
    seconds, _ = await timed(calls, _START_WRITERS)
    return {
        "workflow_starts_per_s": rounded(_STARTS / seconds, 1),
        "workflow_start_alone": spread(each) | {"per_s": rounded(50 / alone, 1)},
    }


async def workflows(client: Client, count: int, activities: int) -> float:
    """Seconds until so many raw workflows with so many activities each are over, all started at once."""
    mark = f"floor/{time.time_ns()}"

    async def start(number: int) -> None:
        await client.start_workflow(raw.RawWorkflow.run, activities, id=f"{mark}/{number}", task_queue=raw.QUEUE)

    begun = time.time()
    await timed([lambda n=number: start(n) for number in range(count)], _START_WRITERS)  # type: ignore[misc]
    query = f"WorkflowId STARTS_WITH '{mark}/' AND ExecutionStatus = 'Completed'"
    deadline = time.monotonic() + _PATIENCE
    while (await client.count_workflows(query)).count < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} raw workflows did not end within {_PATIENCE:.0f} s")
        await asyncio.sleep(0.5)
    closed = [run.close_time.timestamp() async for run in client.list_workflows(query) if run.close_time]
    return max(closed) - begun


async def one_activity(client: Client) -> Json:
    seconds = await workflows(client, _ONE_ACTIVITY, 1)
    return {"one_activity_workflows_per_s": rounded(_ONE_ACTIVITY / seconds, 1)}
