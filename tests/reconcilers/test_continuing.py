"""Runs that continue as new: the operator follows them, and still tells a reset apart; on a real Temporal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowUpdateFailedError

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.progress import ApprovalMessage
from bascule_operator.store import Key
from bascule_workers import supervisor
from bascule_workers.workflows.image_builds import ImageBuildUndoWorkflow
from tests.reconcilers.conftest import PATIENCE, Lab, condition, ready
from tests.support.fake_world import World
from tests.support.laps import LAPS, Laps, step_of

Body = dict[str, Any]

GATED = {
    "repository": "registry.example.com/acme/web",
    "tags": ["v1"],
    "approval": {"required": True, "timeout": "1d"},
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def laps(lab: Lab, world: World, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab with an operator, and a worker of a workflow that continues as new after each of its laps."""
    monkeypatch.setattr(supervisor, "WORKFLOWS", [Laps, ImageBuildUndoWorkflow])
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    return lab


def run(body: Body) -> Body:
    return dict(body["status"]["run"])


async def waiting(lab: Lab, key: Key, lap: int) -> Body:
    """The build while it waits in a lap."""
    gate = step_of(lap)
    return await lab.until(
        key, lambda body: (body["status"].get("waitingFor") or {}).get("gate") == gate, f"waited in {gate}"
    )


def approval(body: Body, lap: int) -> ApprovalMessage:
    gate = step_of(lap)
    return ApprovalMessage(
        uid=body["metadata"]["uid"], run=1, gate=gate, subject=gate, decision=Decision.APPROVE, approver="somebody"
    )


async def approve(lab: Lab, body: Body, lap: int, update_id: str = "") -> None:
    """As the operator would hand a person's Approval over, once the run waits for it."""
    handle = (await lab.client()).get_workflow_handle(run(body)["workflowId"])
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await handle.execute_update(names.UPDATE_APPROVAL, approval(body, lap), id=update_id or None)
            except WorkflowUpdateFailedError:
                await asyncio.sleep(0.1)


async def lapped(lab: Lab, key: Key, lap: int) -> Body:
    """The build while it waits in a lap, those before approved."""
    body = await waiting(lab, key, 0)
    for following in range(1, lap + 1):
        await approve(lab, body, following - 1)
        body = await waiting(lab, key, following)
    return body


async def reset(lab: Lab, body: Body, run_id: str) -> str:
    """Reset an execution to its first workflow task, as Temporal's UI does. Returns the new execution's id."""
    client = await lab.client()
    found = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=lab.tenant,
            workflow_execution=WorkflowExecution(workflow_id=run(body)["workflowId"], run_id=run_id),
            reason="by hand",
            workflow_task_finish_event_id=4,
            request_id=run_id,
        )
    )
    return found.run_id


async def test_a_run_that_continues_as_new_is_followed_to_its_end(laps: Lab) -> None:
    key = await laps.build()
    body = await laps.until_phase(key, "Succeeded")
    assert [(step["name"], step["state"]) for step in body["status"]["steps"]] == [
        (step_of(lap), "Succeeded") for lap in range(LAPS)
    ]
    assert len(await laps.runs()) == LAPS, "one workflow, in three executions"
    assert len(set(await laps.runs())) == 1
    assert len(body["status"]["history"]) == 1


async def test_the_status_moves_on_with_it_and_nothing_is_cancelled(laps: Lab) -> None:
    key = await laps.build(spec={"publish": GATED})
    first = await waiting(laps, key, 0)
    await approve(laps, first, 0)
    second = await waiting(laps, key, 1)
    handle = (await laps.client()).get_workflow_handle(run(first)["workflowId"])
    assert run(second)["runId"] == (await handle.describe()).run_id != run(first)["runId"]
    assert run(second)["progressNumber"] > run(first)["progressNumber"]
    assert run(second).get("cancelCause") is None
    assert run(second)["startedAt"] == run(first)["startedAt"]
    assert condition(second, "Reconciling")["reason"] == "Waiting"


async def test_who_was_away_meanwhile_follows_over_several_executions(laps: Lab) -> None:
    key = await laps.build(spec={"publish": GATED})
    body = await waiting(laps, key, 0)
    await laps.stop_operator()
    for lap in range(2):
        await approve(laps, body, lap)
    await laps.start_operator()
    told = await waiting(laps, key, 2)
    handle = (await laps.client()).get_workflow_handle(run(body)["workflowId"])
    assert run(told)["runId"] == (await handle.describe()).run_id
    assert run(told).get("cancelCause") is None


async def test_the_sweep_leaves_it_alone(laps: Lab) -> None:
    key = await laps.build(spec={"publish": GATED})
    await lapped(laps, key, 1)
    assert laps.bridge is not None
    await laps.bridge.sweep.orphans()
    await laps.bridge.sweep.resync()
    body = await waiting(laps, key, 1)
    handle = (await laps.client()).get_workflow_handle(run(body)["workflowId"])
    described = await handle.describe()
    assert not described.raw_description.workflow_extended_info.cancel_requested


async def test_deleted_after_it_continued_it_takes_back_what_all_executions_did(laps: Lab, world: World) -> None:
    key = await laps.build(spec={"publish": GATED})
    await lapped(laps, key, 2)
    await laps.delete(key)
    await laps.until_gone(key)
    undone = [item.request.step for item in world.audit.occurrences if item.request.compensating]
    assert list(dict.fromkeys(undone)) == ["lap-2", "lap-1", "lap-0"]


@pytest.mark.parametrize(
    "which",
    [pytest.param(-1, id="the execution that is live"), pytest.param(0, id="one that it continued")],
)
async def test_a_reset_of_a_run_that_continued_is_still_a_reset(laps: Lab, which: int) -> None:
    key = await laps.build(spec={"publish": GATED})
    first = await waiting(laps, key, 0)
    await approve(laps, first, 0)
    second = await waiting(laps, key, 1)
    execution = await reset(laps, second, [run(first)["runId"], run(second)["runId"]][which])
    told = await laps.until_reason(key, "RunLost")
    assert "somebody reset the run" in ready(told)["message"]
    assert run(told)["runId"] == run(second)["runId"] != execution


async def test_a_reset_run_that_then_continued_as_new_is_still_a_reset(laps: Lab) -> None:
    key = await laps.build(spec={"publish": GATED})
    body = await waiting(laps, key, 0)
    await laps.stop_operator()
    await reset(laps, body, run(body)["runId"])
    await approve(laps, body, 0)
    await laps.start_operator()
    told = await laps.until_reason(key, "RunLost")
    assert "somebody reset the run" in ready(told)["message"]
    assert run(told)["runId"] == run(body)["runId"]


async def test_an_approval_that_counted_before_it_continued_has_counted(laps: Lab) -> None:
    """The operator died when the run had the decision and the Approval was not told yet."""
    key = await laps.build(spec={"publish": GATED})
    body = await waiting(laps, key, 0)
    await laps.stop_operator()
    about = {"kind": "ImageBuild", "name": key.name, "uid": body["metadata"]["uid"]}
    spec = {"for": about, "run": 1, "gate": "lap-0", "subject": "lap-0", "decision": "Approve", "approver": "somebody"}
    made = await laps.apply("Approval", "web-1", spec, laps.namespace, labels=laps.selector)
    await approve(laps, body, 0, made["metadata"]["uid"])
    await laps.start_operator()
    told = await laps.until(
        Key("Approval", laps.namespace, "web-1"), lambda found: "state" in found.get("status", {}), "was looked at"
    )
    assert told["status"]["state"] == "Counted"
    await waiting(laps, key, 1)
