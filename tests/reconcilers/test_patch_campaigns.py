"""PatchCampaigns on a real API server and a real Temporal; the workflows' effects are scripted."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from bascule_api.patch_campaigns import PatchCampaignInput, PatchCampaignUndoInput
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready
from tests.support.histories import input_of

Json = dict[str, Any]
ALWAYS = {"compensation": {"onDelete": "Always"}}
GATED = {"waves": [{"name": "canary", "size": 1}, {"name": "fleet", "approval": {"required": True}}]}


def workflow_of(body: Json, number: int = 0) -> str:
    return f"patchcampaign/{body['metadata']['uid']}/{number or body['status']['run']['number']}"


def standing(body: Json) -> list[tuple[int, int]]:
    return [(item["run"], item["count"]) for item in body["status"]["effects"].get("standing", [])]


async def events(lab: Lab) -> set[tuple[str, str]]:
    path = f"/apis/events.k8s.io/v1/namespaces/{lab.namespace}/events"
    listed = await lab.kube.request("GET", path, resource="test")
    return {(item["regarding"]["kind"], item["reason"]) for item in listed["items"]}


async def test_a_campaign_runs_and_says_what_it_patched(served: Lab) -> None:
    key = await served.campaign()
    body = await served.until_phase(key, "Succeeded")
    status = body["status"]
    assert ready(body)["message"] == "4 of 4 targets patched, in 2 waves"
    assert condition(body, "Verified")["reason"] == "TargetsVerified"
    assert (status["targets"]["patched"], [wave["state"] for wave in status["waves"]]) == (4, ["Succeeded"] * 2)
    assert status["plan"]["digest"].startswith("sha256:")
    assert standing(body) == [(1, 4)]
    assert status["effects"]["nodeSelector"] == {"test-tenant": served.tenant}
    assert status["effects"]["rollback"]["procedure"] == "scripted-rollback"
    assert await served.runs() == [workflow_of(body)]
    message = await input_of(await served.client(), workflow_of(body), PatchCampaignInput)
    assert (message.node_selector, message.continues) == ({"test-tenant": served.tenant}, [])
    assert set(message.procedures) == {"scripted-patch", "scripted-rollback"}


async def test_a_request_after_a_failure_goes_on_where_it_stopped(served: Lab) -> None:
    key = await served.campaign(behaviour="fail")
    body = await served.until_phase(key, "Failed")
    assert ready(body)["message"].endswith("1 of 4 targets patched, 1 failed (node-3: Patching)")
    assert standing(body) == [(1, 1)]
    await served.annotate(key, requested_at="again")
    await served.until(key, lambda found: found["status"]["run"]["number"] == 2, "ran again")
    again = await served.until_phase(key, "Failed")
    message = await input_of(await served.client(), workflow_of(again, 2), PatchCampaignInput)
    assert [(run.number, run.workflow_id) for run in message.continues] == [(1, workflow_of(body, 1))]
    assert ("PatchCampaign", "TargetFailed") in await events(served)


async def test_a_request_after_a_success_patches_everything_again(served: Lab) -> None:
    key = await served.campaign()
    body = await served.until_phase(key, "Succeeded")
    await served.annotate(key, requested_at="again")
    again = await served.until(key, lambda found: len(found["status"].get("history", [])) == 2, "ran again")
    message = await input_of(await served.client(), workflow_of(body, 2), PatchCampaignInput)
    assert message.continues == []
    assert standing(again) == [(2, 4), (1, 4)]


async def test_an_edited_campaign_continues_nothing(served: Lab) -> None:
    key = await served.campaign(behaviour="fail")
    body = await served.until_phase(key, "Failed")
    await served.campaign(behaviour="succeed")
    done = await served.until_phase(key, "Succeeded")
    message = await input_of(await served.client(), workflow_of(body, 2), PatchCampaignInput)
    assert (message.continues, done["status"]["run"]["trigger"]) == ([], "Revision")


async def test_a_spec_that_changes_in_mid_run_supersedes_it(served: Lab) -> None:
    key = await served.campaign(behaviour="hang")
    await served.until(key, lambda found: found["status"].get("targets", {}).get("patched") == 1, "patched its canary")
    await served.campaign(behaviour="succeed")
    done = await served.until_phase(key, "Succeeded")
    first, second = done["status"]["history"][1], done["status"]["history"][0]
    assert (first["phase"], second["phase"]) == ("Cancelled", "Succeeded")
    assert standing(done) == [(2, 4), (1, 1)]


async def test_a_campaign_that_is_deleted_in_mid_run_is_cancelled_first(served: Lab) -> None:
    key = await served.campaign(behaviour="hang")
    body = await served.until(key, lambda found: "targets" in found["status"], "had a plan")
    await served.delete(key)
    await served.until_gone(key)
    handle = (await served.client()).get_workflow_handle(workflow_of(body))
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_what_finished_runs_patched_is_rolled_back_where_deletion_says_so(served: Lab) -> None:
    key = await served.campaign(**ALWAYS)
    body = await served.until_phase(key, "Succeeded")
    await served.delete(key)
    await served.until_gone(key)
    undo = await input_of(await served.client(), f"{workflow_of(body)}/undo/1", PatchCampaignUndoInput)
    assert (undo.undo, undo.final, undo.abandoned) == (True, True, False)
    assert [(patched.run, patched.count) for patched in undo.effects.standing] == [(1, 4)]
    assert undo.workflow_id == workflow_of(body)
    assert (set(undo.procedures), undo.node_selector) == ({"scripted-rollback"}, {"test-tenant": served.tenant})


async def test_a_run_that_temporal_ended_is_undone_and_nothing_of_it_is_continued(served: Lab) -> None:
    key = await served.campaign(behaviour="hang")
    body = await served.until(key, lambda found: found["status"].get("targets", {}).get("patched") == 1, "patched")
    await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
    lost = await served.until_reason(key, "RunLost")
    undo = await input_of(await served.client(), f"{workflow_of(body)}/undo/1", PatchCampaignUndoInput)
    assert (undo.undo, undo.abandoned, undo.effects.standing) == (True, True, [])
    assert standing(lost) == []
    await served.annotate(key, requested_at="again")
    await served.until(key, lambda found: found["status"]["run"]["number"] == 2, "ran again")
    await served.until(key, lambda found: bool(found["status"]["run"].get("runId")), "started again")
    assert (await input_of(await served.client(), workflow_of(body, 2), PatchCampaignInput)).continues == []


async def test_a_tenant_whose_nodes_change_in_mid_run_changes_nothing_for_that_run(served: Lab) -> None:
    key = await served.campaign(behaviour="hang", **ALWAYS)
    await served.until(key, lambda found: found["status"].get("targets", {}).get("patched") == 1, "patched")
    await served.make_tenant(nodes={"test-tenant": "moved"})
    body = await served.until(key, lambda found: found["status"]["phase"] == "Running", "goes on")
    assert ready(body)["reason"] == "Progressing"
    await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
    await served.until_reason(key, "RunLost")
    undo = await input_of(await served.client(), f"{workflow_of(body)}/undo/1", PatchCampaignUndoInput)
    assert undo.node_selector == {"test-tenant": served.tenant}
    await served.annotate(key, requested_at="again")
    assert ready(await served.until_reason(key, "TargetsForbidden"))["status"] == "False"
    await served.make_tenant()
    await served.until(key, lambda found: found["status"]["run"]["number"] == 2, "healed by itself")


FORBIDDEN = [
    pytest.param(
        {"targets": {"nodes": {"selector": {"matchLabels": {"test-tenant": "another"}}}}},
        "TargetsForbidden",
        id="nodes",
    ),
    pytest.param(
        {"targets": {"nodes": {"selector": {"matchExpressions": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}}}},
        "TargetsForbidden", id="control plane",
    ),
    pytest.param(
        {"waves": [{"name": "a", "size": "20%"}, {"name": "b", "size": "10%"}]}, "SpecInvalid", id="falling waves"
    ),
    pytest.param(
        {"windows": [{"start": "22:00", "end": "23:00", "timeZone": "Mars/Olympus"}]}, "SpecInvalid", id="time zone"
    ),
    pytest.param({"patch": {"procedure": "scripted-rollback"}}, "ProcedureForbidden", id="a Procedure's use"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), FORBIDDEN)
async def test_what_may_not_be_started_is_rejected_at_once(served: Lab, changes: Json, reason: str) -> None:
    key = await served.campaign(**changes)
    body = await served.until_reason(key, reason)
    assert body["status"]["phase"] == "Rejected"
    assert await served.runs() == []


async def test_an_approval_of_a_wave_is_bound_to_the_plan(served: Lab) -> None:
    key = await served.campaign(**GATED)
    body = await served.until_phase(key, "Waiting")
    waits = body["status"]["waitingFor"]
    assert (waits["gate"], waits["kind"], waits["subject"]) == ("fleet", "Approval", body["status"]["plan"]["digest"])
    spec = {
        "for": {"kind": "PatchCampaign", "name": key.name, "uid": body["metadata"]["uid"]}, "run": 1,
        "gate": "fleet", "decision": "Approve", "approver": "admin",
    }  # fmt: skip
    answers = {}
    for name, subject in (("stale", "sha256:" + "0" * 64), ("fits", waits["subject"])):
        await served.apply("Approval", name, spec | {"subject": subject}, served.namespace, labels=served.selector)
        told = await served.until(
            Key("Approval", served.namespace, name), lambda found: "state" in found.get("status", {}), "was looked at"
        )
        answers[name] = told["status"]["state"]
    assert answers == {"stale": "Stale", "fits": "Counted"}
    done = await served.until_phase(key, "Succeeded")
    assert "waitingFor" not in done["status"]
    assert ("PatchCampaign", "Approved") in await events(served)


async def test_a_suspended_campaign_says_so_and_goes_on(served: Lab) -> None:
    key = await served.campaign(suspend=True)
    await served.until_phase(key, "Suspended")
    await served.patch(key, {"spec": {"suspend": False}})
    await served.until_phase(key, "Succeeded")


async def test_of_two_tenants_with_the_same_nodes_the_younger_is_not_ready_until_they_differ(served: Lab) -> None:
    younger = f"{served.tenant}-b"
    key = Key("Tenant", "", younger)
    try:
        await served.make_tenant(younger, ["elsewhere-" + younger], nodes={"zone": "a"})
        told = await served.until_reason(key, "NodeSelectorOverlaps")
        assert f"the Tenant {served.tenant} is older" in ready(told)["message"]
        await served.make_tenant(nodes={"test-tenant": served.tenant, "zone": "b"})
        await served.until_reason(key, "NamespaceRegistered")
    finally:
        await served.delete(key)
        await served.until_gone(key)
