"""A worker that dies at any request to a real API server, and another that takes up what it was doing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from bascule_api import names
from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import Drain
from bascule_workers.activities.patch_targets import PatchTargetActivities, PatchTargetPorts
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.adapters.target_leases import KubernetesTargetLeases
from bascule_workers.messages import Done
from bascule_workers.patch_campaigns import AcquireRequest, DrainRequest, ReadyRequest, ReleaseTargetRequest
from hack.cluster.handle import Cluster
from tests.support.campaigns import campaign
from tests.support.fake_registry import Troubles
from tests.support.fake_world import JOB_SETTINGS, FakeLogs, FakeObjects, FakeTenants
from tests.support.node_subjects import RealFleet


class KilledError(BaseException):
    """The process is gone: nothing of ours handles it."""


class MortalApi(ApiServer):
    """Dies at one request, before it is sent or before its answer is read. Watches of the background don't count."""

    def arm(self, at: int, when: str) -> None:
        self.left, self.when, self.made = at, when, 0

    async def _open(self, method: str, path: str, *rest: Any, **named: Any) -> aiohttp.ClientResponse:
        if path == "/api/v1/nodes":
            return await super()._open(method, path, *rest, **named)
        self.made += 1
        if self.made == self.left and self.when == "before":
            raise KilledError
        response = await super()._open(method, path, *rest, **named)
        if self.made == self.left:
            response.release()
            raise KilledError
        return response


@asynccontextmanager
async def process(
    cluster: Cluster, at: int = 0, when: str = ""
) -> AsyncIterator[tuple[MortalApi, PatchTargetActivities]]:
    api = await MortalApi.connect(str(cluster.kubeconfig))
    assert isinstance(api, MortalApi)
    api.arm(at, when)
    nodes, pods = NodeWatch(api), PodWatch(api)
    troubles = Troubles()
    ports = PatchTargetPorts(
        nodes=KubernetesNodes(api, nodes),
        leases=KubernetesTargetLeases(api),
        steps=KubernetesJobs(api, pods),
        objects=FakeObjects(troubles),
        tenants=FakeTenants(),
        logs=FakeLogs(troubles),
        job_settings=JOB_SETTINGS,
    )
    try:
        yield api, PatchTargetActivities(ports)
    finally:
        await nodes.close()
        await pods.close()
        await api.close()


async def life(activities: PatchTargetActivities, fields: dict[str, Any], done: list[str]) -> None:
    """What is left to do at the target, in its order."""
    phases: dict[str, Any] = {
        "acquire": lambda: activities.acquire(AcquireRequest(**fields)),
        "drain": lambda: activities.drain(DrainRequest(**fields, drain=Drain())),
        "ready": lambda: activities.ready(ReadyRequest(**fields)),
        "release": lambda: activities.release(ReleaseTargetRequest(**fields)),
    }
    for name, phase in phases.items():
        if name not in done:
            answer = await phase()
            assert isinstance(answer, Done), answer
            done.append(name)


@pytest.mark.parametrize("cordoned", [False, True], ids=["schedulable", "cordoned by a person"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_whichever_request_a_worker_dies_at_the_next_one_ends_it_well(
    cluster: Cluster, api: ApiServer, namespace: str, when: str, cordoned: bool
) -> None:
    fleet = RealFleet(KubernetesNodes(api, NodeWatch(api)), api, cluster, namespace)
    label = {"fleet": uuid4().hex[:8]}
    at, died = 0, True
    while died:
        at += 1
        name = f"n-{uuid4().hex[:8]}"
        await fleet.node(name, label)
        if cordoned:
            await fleet.change(name, unschedulable=True)
        made = campaign(str(uuid4()))
        fields = {
            "run": made.run,
            "tenant": made.tenant.model_copy(update={"steps_namespace": namespace}),
            "step": "wave-canary",
            "target": Target(name=name),
            "node_selector": label,
            "since": int(time.time()),
        }
        done: list[str] = []
        try:
            async with process(cluster, at, when) as (_, activities):
                await life(activities, fields, done)
            died = False
        except KilledError:
            async with process(cluster) as (_, activities):
                await life(activities, fields, done)
        node = await fleet.port.fresh(name)
        assert node is not None
        assert (node.run, node.cordoned_by, node.unschedulable) == ("", "", cordoned)
        assert names.ANNOTATION_RESOURCE not in node.annotations
        assert await KubernetesTargetLeases(api).held(namespace, names.run_label(made.run.uid, 1)) == []
        await fleet.remove(name)
    assert at > 5, "there were requests to die at"
