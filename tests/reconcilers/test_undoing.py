"""Undo of finished and of lost runs, on a real API server and a real Temporal; the workflows' effects are scripted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
)
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from bascule_api.image_builds import ImageBuildUndoInput
from bascule_operator import apply
from bascule_operator.connections.kube import Kube
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready
from tests.support.histories import input_of
from tests.support.scripted_builds import digest

ALWAYS = {"compensation": {"onDelete": "Always"}}
NEVER = {"compensation": {"onDelete": "Never"}}
PRIVATE = {
    "repository": "registry.example.com/acme/web",
    "tags": ["v1"],
    "secretRef": {"name": "registry"},
}
Body = dict[str, Any]


def workflow_of(body: Body) -> str:
    return str(body["status"]["run"]["workflowId"])


async def undo_input(lab: Lab, workflow_id: str) -> ImageBuildUndoInput:
    return await input_of(await lab.client(), workflow_id, ImageBuildUndoInput)


async def reset(lab: Lab, body: Body) -> str:
    """Reset the run to its first workflow task, as Temporal's UI does. Returns the new execution's id."""
    client = await lab.client()
    found = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=lab.tenant,
            workflow_execution=WorkflowExecution(workflow_id=workflow_of(body), run_id=body["status"]["run"]["runId"]),
            reason="by hand",
            workflow_task_finish_event_id=4,
            request_id="1",
        )
    )
    return found.run_id


async def closed_as(lab: Lab, workflow_id: str) -> str:
    await lab.until_closed(workflow_id)
    found = await (await lab.client()).get_workflow_handle(workflow_id).describe()
    assert found.status is not None
    return found.status.name


async def undone(lab: Lab, key: Key) -> Body:
    return await lab.until_reason(key, "RunLost")


async def events(lab: Lab) -> list[tuple[str, str]]:
    listed = await lab.kube.request("GET", f"/apis/events.k8s.io/v1/namespaces/{lab.namespace}/events", resource="test")
    return [(item["reason"], item["note"]) for item in listed["items"]]


class TestFinishedRuns:
    async def test_what_was_published_is_taken_back_before_the_resource_goes(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS, parameters={"previous": digest("before")})
        body = await served.until_phase(key, "Succeeded")
        [standing] = body["status"]["effects"]["standing"]
        assert standing["tags"][0]["previousDigest"] == digest("before")
        await served.delete(key)
        told = await served.until_reason(key, "Deleting")
        assert told["status"]["phase"] == "Succeeded"
        assert told["metadata"]["finalizers"] == ["bascule.dev/compensate"]
        await served.until_gone(key)
        undo = f"{workflow_of(body)}/undo/1"
        assert await served.runs() == [workflow_of(body), undo]
        message = await undo_input(served, undo)
        assert (message.undo, message.final, message.abandoned) == (True, True, False)
        assert [publication.digest for publication in message.effects.standing] == [standing["digest"]]

    async def test_two_publications_go_straight_back_to_what_was_there_at_first(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS, parameters={"previous": digest("before")})
        first = (await served.until_phase(key, "Succeeded"))["status"]["image"]["digest"]
        await served.build(spec=ALWAYS, parameters={"previous": first})
        body = await served.until(key, lambda found: _succeeded(found, 2), "ran again")
        newest, older = body["status"]["effects"]["standing"]
        assert newest["tags"][0]["previousDigest"] == digest("before")
        assert (older["digest"], older.get("tags")) == (first, None)

    async def test_a_failed_later_run_leaves_the_earlier_publication_standing(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS)
        body = await served.until_phase(key, "Succeeded")
        await served.build(behaviour="fail", spec=ALWAYS)
        failed = await served.until_phase(key, "Failed")
        assert failed["status"]["effects"]["standing"] == body["status"]["effects"]["standing"]
        await served.delete(key)
        await served.until_gone(key)
        message = await undo_input(served, f"{workflow_of(failed)}/undo/1")
        assert message.run.number == 2
        assert [publication.run for publication in message.effects.standing] == [1]

    @pytest.mark.parametrize("on_delete", ["WhenUnfinished", "Never"])
    async def test_it_stays_unless_always_is_said(self, served: Lab, on_delete: str) -> None:
        key = await served.build(spec={"compensation": {"onDelete": on_delete}})
        await served.until_phase(key, "Succeeded")
        await served.delete(key)
        await served.until_gone(key)
        assert len(await served.runs()) == 1

    async def test_an_undo_survives_the_operator(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS, repository="registry.example.com/acme/undo-hangs")
        body = await served.until_phase(key, "Succeeded")
        await served.delete(key)
        undo = f"{workflow_of(body)}/undo/1"
        await served.until(key, lambda found: found["status"]["compensation"].get("runId"), "was undone")
        await served.stop_operator()
        await served.start_operator()
        await served.until_reason(key, "Deleting")
        await (await served.client()).get_workflow_handle(undo).terminate("by hand")
        told = await served.until_reason(key, "CompensationFailed")
        assert "Temporal ended the workflow" in ready(told)["message"]
        await asyncio.sleep(2)
        assert await served.runs() == [workflow_of(body), undo], "it does not start by itself again"

    async def test_it_goes_on_under_the_runs_tenant_when_the_namespace_is_no_longer_its(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS)
        await served.until_phase(key, "Succeeded")
        await served.make_tenant(namespaces=["elsewhere"])
        await served.delete(key)
        await served.until_gone(key)

    async def test_it_goes_on_under_a_tenant_that_is_being_deleted_and_not_ready(self, served: Lab) -> None:
        key = await served.build(spec=ALWAYS)
        await served.until_phase(key, "Succeeded")
        await served.delete(Key("Tenant", "", served.tenant))
        await served.delete(key)
        await served.until_gone(key)
        await served.until_gone(Key("Tenant", "", served.tenant))


class TestLostRuns:
    @pytest.mark.parametrize("behaviour", ["hang", "mute", "crash"])
    async def test_a_terminated_run_is_undone_at_once(self, served: Lab, behaviour: str) -> None:
        key = await served.build(behaviour=behaviour)
        body = await served.until(key, lambda found: found.get("status", {}).get("run", {}).get("runId"), "started")
        await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
        told = await undone(served, key)
        assert told["status"]["phase"] == "Failed"
        assert told["status"]["failure"]["type"] == "RunLost"
        assert condition(told, "Compensated")["status"] == "True"
        message = await undo_input(served, f"{workflow_of(body)}/undo/1")
        assert (message.undo, message.abandoned, message.final) == (True, True, False)
        assert message.effects.standing == []

    async def test_one_terminated_while_it_compensates_is_undone_as_well(self, served: Lab) -> None:
        key = await served.build(behaviour="hang")
        body = await served.until_phase(key, "Running")
        await served.stop_workers()
        await served.delete(key)
        await served.until_reason(key, "Deleting")
        await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
        await served.start_worker()
        await served.until_gone(key)
        assert await closed_as(served, f"{workflow_of(body)}/undo/1") == "COMPLETED"

    async def test_a_request_after_that_runs_again(self, served: Lab) -> None:
        key = await served.build(behaviour="hang")
        body = await served.until_phase(key, "Running")
        await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
        await undone(served, key)
        assert len(await served.runs()) == 2, "nothing starts by itself"
        await served.annotate(key, requested_at="again")
        body = await served.until(key, lambda found: found["status"]["run"]["number"] == 2, "ran again")
        assert [past["phase"] for past in body["status"]["history"]] == ["Failed"]

    async def test_edited_meanwhile_nothing_says_that_the_new_spec_has_failed(
        self, served: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[Body] = []
        write = apply.write_status

        async def writing(kube: Kube, key: Key, body: Body, status: Body) -> Body:
            told.append(status)
            return await write(kube, key, body, status)

        monkeypatch.setattr(apply, "write_status", writing)
        key = await served.build(behaviour="hang")
        body = await served.until_phase(key, "Running")
        await served.stop_workers()
        await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
        await served.until_phase(key, "Failed")
        await served.build()
        await served.until(key, lambda found: found["status"]["observedGeneration"] == 2, "was looked at")
        await served.start_worker()
        body = await served.until_phase(key, "Succeeded")
        assert [(past["number"], past["phase"]) for past in body["status"]["history"]] == [
            (2, "Succeeded"),
            (1, "Failed"),
        ]
        stalled = [
            status
            for status in told
            if status.get("observedGeneration") == 2
            for item in status.get("conditions", [])
            if (item["type"], item["status"]) == ("Stalled", "True")
        ]
        assert stalled == []

    async def test_a_reset_run_is_stopped_and_undone(self, served: Lab) -> None:
        key = await served.build(behaviour="hang")
        body = await served.until(key, lambda found: "build since" in ready(found).get("message", ""), "built")
        execution = await reset(served, body)
        told = await undone(served, key)
        assert "somebody reset the run" in ready(told)["message"]
        assert told["status"]["run"]["runId"] == body["status"]["run"]["runId"] != execution
        assert await closed_as(served, workflow_of(body)) == "CANCELED"
        assert await closed_as(served, f"{workflow_of(body)}/undo/1") == "COMPLETED"

    async def test_a_run_that_was_reset_after_it_was_over_is_stopped_and_stays_over(self, served: Lab) -> None:
        key = await served.build(behaviour="slow")
        body = await served.until_phase(key, "Succeeded")
        await reset(served, body)
        assert served.bridge is not None
        await asyncio.sleep(1)
        await served.bridge.sweep.orphans()
        assert await closed_as(served, workflow_of(body)) == "CANCELED"
        told = await served.get(key)
        assert told is not None
        assert (told["status"]["phase"], told["status"]["run"]["runId"]) == (
            "Succeeded", body["status"]["run"]["runId"],
        )  # fmt: skip
        await asyncio.sleep(1)
        assert "RunReset" in [reason for reason, _ in await events(served)]

    async def test_a_run_that_temporal_forgot_is_said_to_be_lost_and_undone(self, served: Lab) -> None:
        key = await served.build(behaviour="hang")
        body = await served.until_phase(key, "Running")
        await served.stop_operator()
        client = await served.client()
        execution = WorkflowExecution(workflow_id=workflow_of(body))
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(namespace=served.tenant, workflow_execution=execution)
        )
        await _until_unknown(served, workflow_of(body))
        await served.start_operator()
        told = await undone(served, key)
        assert "does not know the workflow" in ready(told)["message"]
        assert await served.runs() == [f"{workflow_of(body)}/undo/1"], "no run starts by itself"

    async def test_a_crash_after_the_intent_leads_to_one_undo(
        self, served: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = await served.build(behaviour="hang")
        body = await served.until_phase(key, "Running")
        real, reached = apply.start_run, asyncio.Event()

        async def breaks(*arguments: object, **more: object) -> str:
            await real(*arguments, **more)  # type: ignore[arg-type]
            reached.set()
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(apply, "start_run", breaks)
        await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
        async with asyncio.timeout(30):
            await reached.wait()
        for task in served.bridges:
            task.cancel()
        await asyncio.gather(*served.bridges, return_exceptions=True)
        served.bridges = []
        monkeypatch.setattr(apply, "start_run", real)
        await served.start_operator()
        await undone(served, key)
        assert await served.runs() == [workflow_of(body), f"{workflow_of(body)}/undo/1"]


class TestFailedCompensations:
    async def test_a_request_tries_again_until_nothing_is_left(self, served: Lab) -> None:
        key = await served.build(behaviour="stubborn", repository="registry.example.com/acme/undo-fails")
        await served.until_phase(key, "Running")
        await served.delete(key)
        told = await served.until_reason(key, "CompensationFailed")
        assert "bascule.dev/requested-at" in ready(told)["message"]
        await served.annotate(key, requested_at="one")
        told = await served.until(
            key, lambda found: _attempt(found) == 1 and ready(found)["reason"] == "CompensationFailed", "tried again"
        )
        assert "registry.example.com/acme/undo-fails:v1" in ready(told)["message"]
        await served.annotate(key, requested_at="two")
        told = await served.until_reason(key, "RerunThrottled")
        assert "at most one a minute" in ready(told)["message"]
        assert len(await served.runs()) == 2

    async def test_no_run_starts_before_it_is_settled(self, served: Lab) -> None:
        key = await served.build(behaviour="stubborn")
        await served.until_phase(key, "Running")
        await served.annotate(key, cancel="wrong base")
        await served.until_reason(key, "CompensationFailed")
        await served.build(repository="registry.example.com/acme/other")
        await asyncio.sleep(1)
        assert len(await served.runs()) == 1
        await served.annotate(key, requested_at="again")
        body = await served.until_phase(key, "Succeeded")
        assert body["status"]["run"]["number"] == 2
        uid = body["metadata"]["uid"]
        assert await served.runs() == [f"imagebuild/{uid}/1", f"imagebuild/{uid}/1/undo/1", f"imagebuild/{uid}/2"]


class TestElsewhere:
    """What builds make outside of a registry is deleted by the Procedure that the build's one names."""

    async def test_the_procedure_is_pinned_by_the_undo_and_a_missing_one_is_told(self, served: Lab) -> None:
        text = {"name": "behaviour", "type": "string"}
        builds, deletes = f"{served.tenant}-build", f"{served.tenant}-undo"
        procedure: Body = {"template": {"container": {"image": "example.com/step:1"}}}
        undo = procedure | {"uses": ["ImageBuild/undo"], "parameters": [{"name": "artifacts", "type": "array"}]}
        await served.apply("Procedure", deletes, undo)
        await served.apply(
            "Procedure", builds, procedure | {"uses": ["ImageBuild/build"], "parameters": [text], "undo": deletes}
        )
        spec: Body = {"build": {"procedure": builds, "parameters": {"behaviour": "succeed"}}} | ALWAYS
        key = await served.build(spec=spec, repository="registry.example.com/acme/undo-fails")
        body = await served.until_phase(key, "Succeeded")
        assert body["status"]["effects"]["elsewhere"] == [{"run": 1, "procedure": deletes}]
        await served.delete(Key("Procedure", "", deletes))
        await served.delete(key)
        await served.until_reason(key, "CompensationFailed")
        first = await undo_input(served, f"{workflow_of(body)}/undo/1")
        assert f"there is no Procedure {deletes}" in first.unpinned[deletes]
        await served.apply("Procedure", deletes, undo)
        await served.annotate(key, requested_at="again")
        await served.until(key, lambda found: _attempt(found) == 2, "was tried again")
        await served.until_reason(key, "CompensationFailed")
        second = await undo_input(served, f"{workflow_of(body)}/undo/2")
        assert (list(second.procedures), second.unpinned) == ([deletes], {})


class TestForce:
    async def test_a_login_that_a_failed_compensation_kept_is_released(self, served: Lab) -> None:
        key = await served.build(behaviour="stubborn", spec={"publish": PRIVATE})
        body = await served.until_phase(key, "Running")
        await served.delete(key)
        await served.until_reason(key, "CompensationFailed")
        await served.annotate(key, force_delete="the registry is gone for good")
        await served.until_gone(key)
        message = await undo_input(served, f"{workflow_of(body)}/undo/1")
        assert (message.undo, message.final, message.abandoned) == (False, True, False)

    async def test_of_a_live_run_it_is_released_once_that_had_its_time(self, served: Lab) -> None:
        key = await served.build(behaviour="stubborn", spec={"publish": PRIVATE})
        body = await served.until_phase(key, "Running")
        await served.stop_workers()
        await served.delete(key)
        await served.until_reason(key, "Deleting")
        await served.annotate(key, force_delete="now")
        await served.until_gone(key)
        client = await served.client()
        history = client.get_workflow_handle(f"{workflow_of(body)}/undo/1").fetch_history_events()
        started = (await anext(history)).workflow_execution_started_event_attributes
        assert started.first_workflow_task_backoff.ToTimedelta() == timedelta(minutes=90)

    async def test_a_failed_compensation_is_let_go_of_on_record(
        self, served: Lab, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = await served.build(behaviour="stubborn")
        await served.until_phase(key, "Running")
        await served.delete(key)
        await served.until_reason(key, "CompensationFailed")
        with caplog.at_level("WARNING"):
            await served.annotate(key, force_delete="the registry is gone for good")
            await served.until_gone(key)
        [record] = [record for record in caplog.records if record.message.startswith("audit: let go by force")]
        assert getattr(record, "reason", "") == "the registry is gone for good"
        await asyncio.sleep(1)
        [note] = [note for reason, note in await events(served) if reason == "Forced"]
        assert "the registry is gone for good" in note
        assert "r.test/a@sha256:1" in note

    async def test_a_live_run_is_asked_to_stop_and_not_waited_for(self, served: Lab) -> None:
        key = await served.build(behaviour="stubborn")
        body = await served.until_phase(key, "Running")
        await served.stop_workers()
        await served.annotate(key, force_delete="now")
        await asyncio.sleep(1)
        assert await served.get(key) is not None, "it takes a deletion as well"
        await served.delete(key)
        await served.until_gone(key)
        found = await (await served.client()).get_workflow_handle(workflow_of(body)).describe()
        assert found.status is WorkflowExecutionStatus.RUNNING
        assert found.raw_description.workflow_extended_info.cancel_requested

    async def test_temporal_need_not_answer(self, served: Lab) -> None:
        key = await served.build(behaviour="hang")
        await served.until_phase(key, "Running")
        await served.stop_workers()
        served.plane.temporal.kill()
        try:
            await served.delete(key)
            await served.until_reason(key, "TemporalUnavailable")
            await served.annotate(key, force_delete="Temporal is gone")
            await served.until_gone(key)
        finally:
            served.plane.temporal.start()


def _succeeded(body: Body, number: int) -> bool:
    return bool(body["status"]["run"]["number"] == number and body["status"]["phase"] == "Succeeded")


def _attempt(body: Body) -> int:
    return int(body["status"].get("compensation", {}).get("attempt", 0))


async def _until_unknown(lab: Lab, workflow_id: str) -> None:
    """Wait until Temporal has deleted the run: it does so in the background."""
    handle = (await lab.client()).get_workflow_handle(workflow_id)
    for _ in range(200):
        try:
            await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return
            raise
        await asyncio.sleep(0.1)
    raise AssertionError(f"Temporal still knows {workflow_id}")
