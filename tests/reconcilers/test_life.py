"""The life of an ImageBuild on a real API server and a real Temporal."""

from __future__ import annotations

import asyncio

from tests.reconcilers.conftest import Lab, condition, ready


def run(body: dict[str, object]) -> dict[str, object]:
    status = body["status"]
    assert isinstance(status, dict)
    found = status["run"]
    assert isinstance(found, dict)
    return found


async def test_a_build_runs_and_its_status_tells_what_was_published(served: Lab) -> None:
    key = await served.build()
    body = await served.until_phase(key, "Succeeded")
    status = body["status"]
    assert ready(body)["status"] == "True"
    assert ready(body)["message"].startswith("published registry.example.com/acme/web@sha256:")
    assert condition(body, "Verified")["status"] == "True"
    assert condition(body, "Published")["reason"] == "TagsCurrent"
    assert not condition(body, "Reconciling")
    assert not condition(body, "Stalled")
    assert body["metadata"]["finalizers"] == ["bascule.dev/compensate"]
    assert [step["state"] for step in status["steps"]] == ["Succeeded"] * 4
    assert status["run"]["workflowId"] == f"imagebuild/{body['metadata']['uid']}/1"
    assert status["run"]["url"].endswith(f"/workflows/imagebuild%2F{body['metadata']['uid']}%2F1")
    assert status["observedGeneration"] == body["metadata"]["generation"]
    assert await served.runs() == [status["run"]["workflowId"]]


async def test_a_failed_test_fails_the_run_and_says_which_and_why(served: Lab) -> None:
    key = await served.build(behaviour="fail")
    body = await served.until_phase(key, "Failed")
    assert ready(body)["reason"] == "StepFailed"
    assert ready(body)["message"].startswith("test smoke failed: exit code 3: expected port 8080 to answer")
    assert condition(body, "Stalled")["status"] == "True"
    assert condition(body, "Compensated")["status"] == "True"
    assert "published" not in body["status"]


async def test_progress_reaches_the_status_while_the_run_goes_on(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    body = await served.until(key, lambda found: "build since" in ready(found).get("message", ""), "built")
    assert body["status"]["phase"] == "Running"
    assert ready(body)["status"] == "Unknown"
    assert condition(body, "Reconciling")["reason"] == "Progressing"
    assert [step["state"] for step in body["status"]["steps"]][:2] == ["Succeeded", "Running"]


async def test_deletion_of_a_running_build_waits_until_it_has_compensated(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    await served.until_phase(key, "Running")
    await served.delete(key)
    body = await served.until_reason(key, "Deleting")
    assert body["metadata"]["finalizers"] == ["bascule.dev/compensate"]
    await served.until_gone(key)
    client = await served.client()
    (found,) = [item async for item in client.list_workflows("BasculeUid IS NOT NULL")]
    assert found.status is not None
    assert found.status.name == "CANCELED"


async def test_a_build_whose_compensation_failed_stays_and_says_what_is_left(served: Lab) -> None:
    key = await served.build(behaviour="stubborn")
    await served.until_phase(key, "Running")
    await served.delete(key)
    body = await served.until_reason(key, "CompensationFailed")
    assert condition(body, "Compensated")["status"] == "False"
    assert condition(body, "Stalled")["status"] == "True"
    assert "r.test/a@sha256:1" in ready(body)["message"]
    await asyncio.sleep(1)
    assert await served.get(key) is not None


async def test_a_finished_build_goes_at_once(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await served.delete(key)
    await served.until_gone(key)


async def test_a_request_runs_again_and_the_same_request_does_not(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await served.annotate(key, requested_at="one")
    body = await served.until(key, lambda found: _succeeded(found, 2), "ran again")
    assert run(body)["trigger"] == "Request"
    assert body["status"]["handled"]["request"] == "one"
    await served.annotate(key, requested_at=None)
    await served.patch(key, {"metadata": {"labels": {"touched": "yes"}}})
    await asyncio.sleep(2)
    assert len(await served.runs()) == 2


async def test_a_second_request_within_a_minute_is_throttled_and_says_until_when(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await served.annotate(key, requested_at="one")
    await served.until(key, lambda found: _succeeded(found, 2), "ran again")
    await served.annotate(key, requested_at="two")
    body = await served.until_reason(key, "RerunThrottled")
    assert "at most one a minute" in ready(body)["message"]
    assert body["status"]["phase"] == "Succeeded"
    assert len(await served.runs()) == 2


async def test_a_changed_spec_supersedes_the_run_even_when_it_changes_back(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    body = await served.until_phase(key, "Running")
    first = run(body)["revision"]
    await served.build(behaviour="hang", repository="registry.example.com/acme/other")
    await served.until(key, lambda found: run(found).get("cancelCause") == "Superseded", "was superseded")
    await served.build(behaviour="hang")
    body = await served.until(key, lambda found: run(found)["number"] == 2 and _phase(found) == "Running", "ran again")
    assert run(body)["revision"] == first
    assert [(past["number"], past["phase"]) for past in body["status"]["history"]] == [(1, "Cancelled")]


async def test_a_cancelled_build_stays_cancelled_until_it_is_asked_for_again(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    await served.until_phase(key, "Running")
    await served.annotate(key, cancel="wrong base image")
    body = await served.until_phase(key, "Cancelled")
    assert ready(body)["message"].startswith("run 1 was cancelled (wrong base image)")
    await served.annotate(key, requested_at="again")
    body = await served.until(key, lambda found: run(found)["number"] == 2 and _phase(found) == "Running", "ran again")
    assert run(body).get("cancelCause") is None


async def test_a_suspended_build_starts_nothing_until_it_is_resumed(served: Lab) -> None:
    key = await served.build(spec={"suspend": True}, annotations={"bascule.dev/requested-at": "now"})
    body = await served.until_phase(key, "Suspended")
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
    assert not body["metadata"].get("finalizers")
    assert await served.runs() == []
    await served.build(repository="registry.example.com/acme/other", annotations={"bascule.dev/requested-at": "then"})
    body = await served.until_phase(key, "Succeeded")
    assert run(body)["number"] == 1
    assert len(await served.runs()) == 1


async def test_a_running_build_is_told_to_pause_and_to_go_on(served: Lab) -> None:
    key = await served.build(behaviour="slow")
    await served.until_phase(key, "Running")
    await served.patch(key, {"spec": {"suspend": True}})
    body = await served.until_phase(key, "Suspended")
    assert ready(body)["reason"] == "Suspended"
    await served.patch(key, {"spec": {"suspend": False}})
    await served.until_phase(key, "Succeeded")
    assert len(await served.runs()) == 1


async def test_the_later_of_two_builds_of_one_tag_wins_and_both_say_so(served: Lab) -> None:
    repository = f"registry.example.com/{served.tenant}/web"
    first = await served.build("first", repository=repository)
    body = await served.until_phase(first, "Succeeded")
    digest = body["status"]["image"]["digest"]
    second = await served.build("second", repository=repository, parameters={"previous": digest})
    body = await served.until_phase(second, "Succeeded")
    assert f"moved v1 from {digest}" in ready(body)["message"]
    moved = await served.until(first, lambda found: condition(found, "Published").get("status") == "False", "moved")
    told = f"v1 was moved to {body['status']['image']['digest']} by {served.namespace}/second"
    assert condition(moved, "Published")["message"] == told
    assert ready(moved)["status"] == "True"
    assert moved["status"]["published"]["tags"][0]["supersededBy"] == f"{served.namespace}/second"


async def test_a_name_of_253_characters_works(served: Lab) -> None:
    key = await served.build(".".join(["a" * 62] * 4)[:253].rstrip("."))
    assert len(key.name) == 251 + 0 or len(key.name) > 240
    await served.until_phase(key, "Succeeded")
    await served.delete(key)
    await served.until_gone(key)


async def test_events_tell_the_story(served: Lab) -> None:
    key = await served.build(behaviour="fail")
    await served.until_phase(key, "Failed")
    await asyncio.sleep(1)
    listed = await served.kube.request(
        "GET", f"/apis/events.k8s.io/v1/namespaces/{served.namespace}/events", resource="test"
    )
    told = {(item["reason"], item["type"]) for item in listed["items"]}
    assert {("RunStarted", "Normal"), ("StepFailed", "Warning"), ("RunFailed", "Warning")} <= told
    assert ("Compensated", "Normal") in told


def _phase(body: dict[str, object]) -> object:
    status = body["status"]
    assert isinstance(status, dict)
    return status.get("phase")


def _succeeded(body: dict[str, object], number: int) -> bool:
    return run(body)["number"] == number and _phase(body) == "Succeeded"


async def test_a_reason_that_is_taken_away_may_cancel_again(served: Lab) -> None:
    key = await served.build(behaviour="hang")
    await served.until_phase(key, "Running")
    await served.annotate(key, cancel="wrong base")
    await served.until_phase(key, "Cancelled")
    await served.annotate(key, cancel=None)
    await served.until(key, lambda body: "cancel" not in body["status"]["handled"], "forgot the reason")
    await served.annotate(key, requested_at="again")
    await served.until(key, lambda body: body["status"]["run"]["number"] == 2, "ran again")
    await served.annotate(key, cancel="wrong base")
    body = await served.until_phase(key, "Cancelled")
    assert body["status"]["run"]["number"] == 2
