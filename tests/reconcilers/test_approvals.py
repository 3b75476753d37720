"""Approvals on a real API server and a real Temporal, against the real workflow: what counts, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bascule_api import names
from bascule_api.image_builds import ImageBuildResult
from bascule_operator import apply, observe
from bascule_operator.connections.kube import Kube
from bascule_operator.connections.temporal import Place
from bascule_operator.errors import ApiUnavailableError
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready
from tests.support.fake_world import World

Json = dict[str, Any]
OTHER = "sha256:" + "0" * 64


@pytest.fixture
async def gated(lab: Lab) -> Lab:
    """The lab with an operator, its tenant ready and a worker of the real workflow."""
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(World())
    return lab


def gate(limit: str = "1h") -> Json:
    publish = {"repository": "registry.example.com/acme/web", "tags": ["v1"]}
    return {"publish": publish | {"approval": {"required": True, "timeout": limit}}}


async def waiting(lab: Lab, limit: str = "1h") -> tuple[Key, Json]:
    """A build that waits for its approval."""
    key = await lab.build(spec=gate(limit))
    return key, await lab.until_phase(key, "Waiting")


def asked(body: Json, **changes: Any) -> Json:
    """The spec of the Approval that a waiting build asks for."""
    about = {"kind": "ImageBuild", "name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}
    waits = body["status"]["waitingFor"]
    return {
        "for": about | changes.pop("about", {}), "run": body["status"]["run"]["number"], "gate": waits["gate"],
        "subject": waits["subject"], "decision": "Approve", "approver": "admin",
    } | changes  # fmt: skip


async def decide(lab: Lab, spec: Json, name: str = "one") -> Key:
    await lab.apply("Approval", name, spec, lab.namespace, labels=lab.selector)
    return Key("Approval", lab.namespace, name)


async def answer(lab: Lab, key: Key) -> tuple[str, str]:
    """State and reason of an Approval, once there is a state."""
    body = await lab.until(key, lambda found: "state" in found.get("status", {}), "was looked at")
    return body["status"]["state"], body["status"]["reason"]


async def events(lab: Lab) -> set[tuple[str, str, str]]:
    """(kind, reason, type) of the namespace's Events."""
    path = f"/apis/events.k8s.io/v1/namespaces/{lab.namespace}/events"
    listed = await lab.kube.request("GET", path, resource="test")
    return {(item["regarding"]["kind"], item["reason"], item["type"]) for item in listed["items"]}


async def test_an_approval_of_what_is_waited_for_opens_the_gate_and_belongs_to_its_resource(gated: Lab) -> None:
    key, body = await waiting(gated)
    approval = await decide(gated, asked(body))
    assert await answer(gated, approval) == ("Counted", "run 1 has it and goes on")
    done = await gated.until_phase(key, "Succeeded")
    assert done["status"]["published"]["tags"][0]["digest"] == body["status"]["waitingFor"]["subject"]
    assert "waitingFor" not in done["status"]
    found = await gated.get(approval)
    assert found is not None
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [body["metadata"]["uid"]]
    await asyncio.sleep(0.5)
    assert ("ImageBuild", "Approved", "Normal") in await events(gated)


async def test_a_waiting_run_says_for_whom_until_when_and_what_to_do(gated: Lab) -> None:
    _, body = await waiting(gated)
    subject, message = body["status"]["waitingFor"]["subject"], ready(body)["message"]
    assert (ready(body)["status"], ready(body)["reason"]) == ("Unknown", "Waiting")
    assert (
        f"waits at gate publish until {body['status']['waitingFor']['until']} for an Approval of {subject}" in message
    )
    assert f"`kubectl bascule approve imagebuild/web -n {gated.namespace}`" in message
    assert "kubectl create" in body["status"]["waitingFor"]["detail"]
    await asyncio.sleep(0.5)
    assert ("ImageBuild", "Waiting", "Normal") in await events(gated)


async def test_a_rejection_fails_the_run_which_takes_back_what_it_made(gated: Lab) -> None:
    key, body = await waiting(gated)
    approval = await decide(gated, asked(body, decision="Reject", reason="the release is frozen"))
    assert await answer(gated, approval) == ("Counted", "run 1 has it and fails and takes back what it made")
    failed = await gated.until_phase(key, "Failed")
    assert failed["status"]["failure"]["type"] == "ApprovalRejected"
    assert ready(failed)["reason"] == "ApprovalRejected"
    assert "the release is frozen" in ready(failed)["message"]
    assert condition(failed, "Compensated")["status"] == "True"
    await asyncio.sleep(0.5)
    assert ("ImageBuild", "ApprovalRejected", "Warning") in await events(gated)


async def test_nobody_decides_in_time(gated: Lab) -> None:
    key = await gated.build(spec=gate("1s"))
    failed = await gated.until_phase(key, "Failed")
    assert failed["status"]["failure"]["type"] == "ApprovalTimedOut"
    assert ready(failed)["reason"] == "ApprovalTimedOut"
    assert condition(failed, "Compensated")["status"] == "True"


WRONG = [
    pytest.param({"gate": "deploy"}, "run 1 waits at gate publish for an Approval of sha256:", id="another gate"),
    pytest.param({"subject": OTHER}, "run 1 waits at gate publish for an Approval of sha256:", id="another image"),
    pytest.param({"run": 2}, "there is no run 2 yet; run 1 waits at gate publish", id="a run that is not there"),
    pytest.param({"about": {"uid": "another"}}, "was deleted and made again", id="one of the same name"),
    pytest.param({"about": {"name": "other"}}, "there is no ImageBuild other", id="a resource that is not there"),
    pytest.param({"about": {"kind": "DRDrill"}}, "there is no DRDrill web", id="another kind"),
]


async def test_an_approval_of_anything_else_changes_nothing_and_says_what_is_waited_for(gated: Lab) -> None:
    key, body = await waiting(gated)
    for number, case in enumerate(WRONG):
        changes, says = case.values
        assert isinstance(changes, dict)
        approval = await decide(gated, asked(body, **dict(changes)), f"wrong-{number}")
        state, reason = await answer(gated, approval)
        assert (state, str(says) in reason) == ("Stale", True), (case.id, reason)
    assert (await gated.until_phase(key, "Waiting"))["status"]["waitingFor"] == body["status"]["waitingFor"]
    await asyncio.sleep(0.5)
    assert ("Approval", "ApprovalStale", "Warning") in await events(gated)


async def test_of_two_the_first_decides_and_both_say_so(gated: Lab) -> None:
    key, body = await waiting(gated)
    first = await decide(gated, asked(body), "first")
    assert (await answer(gated, first))[0] == "Counted"
    second = await decide(gated, asked(body, decision="Reject", reason="no"), "second")
    assert (await answer(gated, second))[0] == "Stale"
    await gated.until_phase(key, "Succeeded")
    third = await decide(gated, asked(body), "third")
    assert await answer(gated, third) == ("Stale", "run 1 is over (Succeeded)")


async def test_one_made_before_the_run_waits_opens_nothing_later(lab: Lab) -> None:
    world = World()
    hold = world.troubles.hold("sign")
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    key = await lab.build(spec=gate())
    body = await lab.until(key, lambda found: bool(found.get("status", {}).get("image")), "had an image")
    waits = {"gate": "publish", "subject": body["status"]["image"]["digest"]}
    early = await decide(lab, asked(body | {"status": body["status"] | {"waitingFor": waits}}))
    assert await answer(lab, early) == ("Stale", "run 1 waits for no approval now")
    hold.let_go.set()
    body = await lab.until_phase(key, "Waiting")
    assert body["status"]["waitingFor"]["subject"] == waits["subject"]
    await asyncio.sleep(1)
    assert (await lab.until_phase(key, "Waiting"))["status"]["run"]["number"] == 1


async def test_one_of_a_resource_that_was_made_again_opens_nothing(gated: Lab) -> None:
    key, before = await waiting(gated)
    await gated.delete(key)
    await gated.until_gone(key)
    _, after = await waiting(gated)
    approval = await decide(gated, asked(before, subject=after["status"]["waitingFor"]["subject"]))
    state, reason = await answer(gated, approval)
    assert (state, after["metadata"]["uid"] in reason) == ("Stale", True)
    await gated.until_phase(key, "Waiting")


async def test_one_of_a_run_that_is_being_cancelled_changes_nothing(lab: Lab) -> None:
    world = World()
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    key, body = await waiting(lab)
    hold = world.troubles.hold("delete")
    await lab.annotate(key, cancel="wrong base image")
    await lab.until_phase(key, "Compensating")
    assert await answer(lab, await decide(lab, asked(body))) == ("Stale", "run 1 is being cancelled")
    hold.let_go.set()
    await lab.until_phase(key, "Cancelled")


async def test_a_status_that_lags_behind_the_run_makes_nothing_stale(
    gated: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = apply.write_status

    async def lags(kube: Kube, key: Key, body: Json, status: Json) -> Json:
        if "waitingFor" in status:
            raise ApiUnavailableError("the API server does not answer")
        return await real(kube, key, body, status)

    monkeypatch.setattr(apply, "write_status", lags)
    key = await gated.build(spec=gate())
    body = await gated.until(key, lambda found: "workflowId" in found.get("status", {}).get("run", {}), "started")
    waits = await until_run_waits(gated, body["status"]["run"]["workflowId"])
    seen = body | {"status": body["status"] | {"waitingFor": waits}}
    assert (await answer(gated, await decide(gated, asked(seen))))[0] == "Counted"
    monkeypatch.setattr(apply, "write_status", real)
    await gated.until_phase(key, "Succeeded")


async def until_run_waits(lab: Lab, workflow_id: str) -> Json:
    """What the run waits for, as Temporal itself says."""
    assert lab.bridge is not None
    temporal, place = lab.bridge.world.temporal, Place(lab.tenant)
    for _ in range(300):
        view = await observe.describe(temporal, place, workflow_id, ImageBuildResult)
        if view.progress is not None and view.progress.waiting is not None:
            return {"gate": view.progress.waiting.gate, "subject": view.progress.waiting.subject}
        await asyncio.sleep(0.1)
    raise AssertionError(f"{workflow_id} never waited")


async def test_while_no_worker_lives_the_approval_says_so_and_counts_once_there_is_one(lab: Lab) -> None:
    world = World()
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    key, body = await waiting(lab)
    await lab.stop_workers()
    approval = await decide(lab, asked(body))
    told = await lab.until(approval, lambda found: "reason" in found.get("status", {}), "said anything")
    assert "state" not in told["status"]
    assert "no worker has taken it up" in told["status"]["reason"]
    await lab.start_real_worker(world)
    assert (await answer(lab, approval))[0] == "Counted"
    await lab.until_phase(key, "Succeeded")


def of_approval(arguments: tuple[object, ...]) -> bool:
    return any(isinstance(item, Key) and item.kind == "Approval" for item in arguments)


BREAKS: list[Any] = [
    pytest.param("send_approval", False, lambda _: True, id="before the run has it"),
    pytest.param("send_approval", True, lambda _: True, id="after the run has it"),
    pytest.param("write_status", True, of_approval, id="after it was said"),
]


@pytest.mark.parametrize(("call", "after", "concerns"), BREAKS)
async def test_a_crash_anywhere_comes_to_the_same(
    gated: Lab, call: str, after: bool, concerns: Callable[[Any], bool]
) -> None:
    key, body = await waiting(gated)
    async with gated.crash(call, after=after, concerns=concerns):
        approval = await decide(gated, asked(body))
    if after:
        # The run goes on and ends: then nothing shows any more that it ever waited, but the run itself.
        await gated.until_closed(names.workflow_id("ImageBuild", body["metadata"]["uid"], 1))
    await gated.start_operator()
    assert await answer(gated, approval) == ("Counted", "run 1 has it and goes on")
    await gated.until_phase(key, "Succeeded")


async def test_a_restart_finds_what_was_made_while_the_operator_was_away(gated: Lab) -> None:
    key, body = await waiting(gated)
    await gated.stop_operator()
    approval = await decide(gated, asked(body))
    await gated.start_operator()
    assert (await answer(gated, approval))[0] == "Counted"
    await gated.until_phase(key, "Succeeded")
