"""Whatever dies or goes away: one run per number, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest

from bascule_api import names
from bascule_api.image_builds import ImageBuildSpec
from bascule_api.progress import RunIdentity
from bascule_operator import apply
from bascule_operator.bridge import Bridge
from bascule_operator.connections.temporal import Place
from bascule_operator.decisions.image_builds import workflow_input
from bascule_operator.errors import ConflictError
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, ready
from tests.support.control_plane import OperatorProcess
from tests.support.subjects import GROUNDS


async def ready_tenant(lab: Lab) -> Bridge:
    bridge = await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    return bridge


class Died(Exception):
    """The operator is gone at this point."""


BREAKS = [
    pytest.param("set_finalizers", False, id="before the finalizer"),
    pytest.param("set_finalizers", True, id="after the finalizer"),
    pytest.param("write_status", False, id="before the intent"),
    pytest.param("write_status", True, id="after the intent"),
    pytest.param("start_run", False, id="before the start"),
    pytest.param("start_run", True, id="after the start"),
]


def not_of_a_tenant(arguments: tuple[object, ...]) -> bool:
    return not any(isinstance(item, Key) and item.kind == "Tenant" for item in arguments)


@pytest.mark.parametrize(("call", "after"), BREAKS)
async def test_a_crash_between_any_two_calls_leads_to_the_same_single_run(lab: Lab, call: str, after: bool) -> None:
    await ready_tenant(lab)
    await lab.start_worker()
    async with lab.crash(call, after=after, concerns=not_of_a_tenant):
        key = await lab.build()
    await lab.start_operator()
    body = await lab.until_phase(key, "Succeeded")
    assert await lab.runs() == [f"imagebuild/{body['metadata']['uid']}/1"]
    assert body["status"]["run"]["number"] == 1


async def test_sigkill_again_and_again_leads_to_one_run_per_number(lab: Lab) -> None:
    await ready_tenant(lab)
    await lab.start_worker()
    await lab.stop_operator()
    selector = ",".join(f"{name}={value}" for name, value in lab.selector.items())
    with OperatorProcess(lab.plane, BASCULE_SELECTOR=selector) as operator:
        keys = [await lab.build(f"b{number}", behaviour="slow") for number in range(6)]
        for pause in (1.6, 1.9, 2.2, 2.5):
            await asyncio.sleep(pause)
            operator.kill()
            operator.start()
        for key in keys:
            body = await lab.until_phase(key, "Succeeded")
            assert body["status"]["run"]["number"] == 1
        await lab.until_phase(await lab.build("last"), "Succeeded")
        assert await operator.terminate() == 0
    assert len(await lab.runs()) == 7


async def test_a_deletion_survives_sigkill_of_the_operator(lab: Lab) -> None:
    await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(behaviour="hang")
    await lab.until_phase(key, "Running")
    await lab.stop_operator()
    await lab.delete(key)
    await lab.start_operator()
    await lab.until_gone(key)


async def test_a_spec_that_changes_while_the_operator_is_away_supersedes(lab: Lab) -> None:
    await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(behaviour="hang")
    await lab.until_phase(key, "Running")
    await lab.stop_operator()
    await lab.build(repository="registry.example.com/acme/other")
    await lab.start_operator()
    body = await lab.until_phase(key, "Succeeded")
    assert body["status"]["run"]["number"] == 2


async def test_a_stale_write_is_refused_and_decided_again(served: Lab) -> None:
    key = await served.build()
    body = await served.until_phase(key, "Succeeded")
    stale = dict(body)
    await served.patch(key, {"metadata": {"labels": {"touched": "yes"}}})
    with pytest.raises(ConflictError):
        await apply.write_status(served.kube, key, stale, body["status"])
    with pytest.raises(ConflictError):
        await apply.set_finalizers(served.kube, key, stale, [])
    recreated = {"metadata": stale["metadata"] | {"uid": "another"}}
    with pytest.raises(ConflictError):
        await apply.write_status(served.kube, key, recreated, body["status"])


async def test_someone_who_writes_all_the_time_stops_nothing(served: Lab) -> None:
    key = await served.build(behaviour="slow")
    for number in range(60):
        await served.patch(key, {"metadata": {"labels": {"touched": str(number)}}})
        await asyncio.sleep(0.05)
    body = await served.until_phase(key, "Succeeded")
    assert body["metadata"]["labels"]["touched"] == "59"
    assert len(await served.runs()) == 1


async def test_temporal_away_at_the_start_and_in_between(lab: Lab) -> None:
    await ready_tenant(lab)
    running = await lab.build("running", behaviour="hang")
    await lab.start_worker()
    await lab.until_phase(running, "Running")
    await lab.stop_workers()
    lab.plane.temporal.kill()
    try:
        starting = await lab.build("starting")
        body = await lab.until_reason(starting, "TemporalUnavailable")
        assert body["status"]["phase"] == "Pending"
        assert "Temporal does not answer since" in ready(body)["message"]
        await lab.delete(running)
        body = await lab.until_reason(running, "TemporalUnavailable")
        assert body["metadata"]["finalizers"] == ["bascule.dev/compensate"]
    finally:
        lab.plane.temporal.start()
    await lab.start_worker()
    await lab.until_gone(running)
    await lab.until_phase(starting, "Succeeded")
    assert len(await lab.runs()) == 2


async def test_the_api_server_away_for_a_while_loses_nothing(served: Lab) -> None:
    key = await served.build(behaviour="slow")
    await served.until_phase(key, "Running")
    served.plane.apiserver.kill()
    await asyncio.sleep(6)
    await asyncio.to_thread(served.plane.apiserver.start)
    await served.until_phase(key, "Succeeded")
    again = await served.build("again")
    await served.until_phase(again, "Succeeded")


def _identity(lab: Lab, uid: str, number: int, name: str = "web", revision: str = "1-0000000000") -> RunIdentity:
    return RunIdentity(
        kind="ImageBuild", namespace=lab.namespace, name=name, uid=uid, number=number, revision=revision,
        tenant=lab.tenant,
    )  # fmt: skip


async def _start(lab: Lab, bridge: Bridge, identity: RunIdentity, spec: dict[str, object]) -> str:
    """Start a run as a leader would that was paused: nobody knows of it."""
    workflow_id = names.workflow_id("ImageBuild", identity.uid, identity.number)
    message = workflow_input(ImageBuildSpec.model_validate(spec), identity, GROUNDS)
    await apply.start_run(bridge.world.temporal, Place(lab.tenant), workflow_id, identity, message)
    return workflow_id


async def test_a_run_without_a_resource_is_cancelled_and_others_are_left_alone(lab: Lab) -> None:
    bridge = await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(behaviour="hang")
    body = await lab.until_phase(key, "Running")
    orphan = await _start(lab, bridge, _identity(lab, "gone", 1, "gone"), body["spec"])
    await asyncio.sleep(1)
    await bridge.sweep.orphans()
    await lab.until_closed(orphan)
    assert (await lab.until_phase(key, "Running"))["status"]["run"]["number"] == 1


async def test_a_number_that_a_paused_leader_used_is_not_used_again_and_its_run_is_cancelled(lab: Lab) -> None:
    bridge = await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(spec={"suspend": True})
    body = await lab.until_phase(key, "Suspended")
    late = {"build": {"procedure": "scripted-build", "parameters": {"behaviour": "hang"}}}
    workflow_id = await _start(lab, bridge, _identity(lab, body["metadata"]["uid"], 1), body["spec"] | late)
    await lab.patch(key, {"spec": {"suspend": False}})
    body = await lab.until_phase(key, "Succeeded")
    assert body["status"]["run"]["number"] == 2
    await bridge.sweep.orphans()
    await lab.until_closed(workflow_id)


async def test_a_resource_that_went_while_nobody_watched_is_forgotten_and_its_run_cancelled(lab: Lab) -> None:
    bridge = await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(behaviour="hang")
    body = await lab.until_phase(key, "Running")
    await lab.stop_operator()
    await lab.patch(key, {"metadata": {"finalizers": None}})
    await lab.delete(key)
    bridge = await lab.start_operator()
    await asyncio.sleep(1)
    await bridge.sweep.orphans()
    await lab.until_closed(body["status"]["run"]["workflowId"])
    assert bridge.store.get(key) is None


async def test_a_run_whose_namespace_temporal_does_not_know_is_waited_for_and_lost_in_a_new_one(lab: Lab) -> None:
    await ready_tenant(lab)
    await lab.start_worker()
    key = await lab.build(behaviour="hang")
    body = await lab.until_phase(key, "Running")
    await lab.stop_operator()
    elsewhere = f"{lab.tenant}-anew"
    run = body["status"]["run"] | {"temporalNamespace": elsewhere}
    await apply.write_status(lab.kube, key, body, body["status"] | {"run": run})
    await lab.start_operator()
    body = await lab.until_reason(key, "TemporalUnavailable")
    assert "does not know its namespace" in ready(body)["message"]
    assert "outcome" not in body["status"]["run"]
    request = RegisterNamespaceRequest(
        namespace=elsewhere, workflow_execution_retention_period=Duration(seconds=86_400)
    )
    client = await lab.client()
    await client.workflow_service.register_namespace(request)
    body = await lab.until_reason(key, "Compensating")
    assert (body["status"]["phase"], body["status"]["failure"]["type"]) == ("Failed", "RunLost")
