"""One worker per tenant, on a real Temporal server: what breaks one disturbs no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from bascule_api import names
from bascule_api.tenants import Tenant
from bascule_codec import Keyring, data_converter
from bascule_workers.adapters.temporal_connections import PlatformTemporal, TemporalConnections, no_secrets
from bascule_workers.supervisor import Equipment, Supervisor
from tests.support.fake_world import World
from tests.support.runs import image_build
from tests.support.temporal import add_search_attributes, dev_server

KEYRING = Keyring.generate()


class Source:
    """Tenants that a test adds and removes."""

    def __init__(self, *found: str) -> None:
        self.changed = asyncio.Event()
        self.found = {name: tenant(name) for name in found}

    def tenants(self) -> dict[str, Tenant]:
        return self.found


def tenant(name: str) -> Tenant:
    return Tenant.parse({"metadata": {"name": name}, "spec": {"namespaces": [f"{name}-dev"]}})


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=dev_server(), dev_server_extra_args=["--headless"]
    ) as started:
        yield started


async def register(env: WorkflowEnvironment, namespace: str) -> None:
    await env.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=Duration(seconds=86_400))
    )
    client = Client(env.client.service_client, namespace=namespace)
    for _ in range(100):
        try:
            await add_search_attributes(client)
        except RPCError:
            await asyncio.sleep(0.1)
        else:
            return


async def carried_out(env: WorkflowEnvironment, name: str) -> None:
    client = Client(env.client.service_client, namespace=name, data_converter=data_converter(KEYRING, name))
    build = image_build(source={"configMap": {"name": "nothing"}})
    build = build.model_copy(
        update={
            "run": build.run.model_copy(update={"tenant": name, "namespace": f"{name}-dev"}),
            "tenant": build.tenant.model_copy(update={"name": name, "steps_namespace": f"bascule-steps-{name}"}),
        }
    )
    handle = await client.start_workflow("ImageBuild", build, id=name, task_queue=names.task_queue(name))
    # It fails for want of its Secret: which is to say that somebody carries it out.
    with pytest.raises(Exception, match="Workflow execution failed"):
        async with asyncio.timeout(30):
            await handle.result()


async def test_a_tenant_whose_namespace_is_missing_is_served_once_it_is_there(env: WorkflowEnvironment) -> None:
    await register(env, "acme")
    world, source, stop = World(), Source("acme", "globex"), asyncio.Event()
    equipment = Equipment(
        connections=TemporalConnections(PlatformTemporal(env.client.service_client.config.target_host), no_secrets),
        keyring=KEYRING,
        ports=world.ports(),
        policy=lambda _: world.policy,
        audit=world.audit,
        grace=timedelta(seconds=1),
        identity="test",
    )
    supervising = asyncio.create_task(Supervisor(equipment, source).run(stop))

    await carried_out(env, "acme")
    await register(env, "globex")
    await carried_out(env, "globex")

    await register(env, "initech")
    source.found["initech"] = tenant("initech")
    del source.found["acme"]
    source.changed.set()
    await carried_out(env, "initech")

    stop.set()
    async with asyncio.timeout(30):
        await supervising
