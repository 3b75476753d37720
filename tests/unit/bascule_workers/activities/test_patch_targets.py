"""What is done at one target: every phase is repeatable, and a node is never left cordoned by us."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from bascule_api import names
from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import Drain
from bascule_api.procedures import PinnedProcedure, ResultDeclaration
from bascule_workers.activities import draining, patch_targets
from bascule_workers.activities.patch_targets import PatchTargetActivities
from bascule_workers.errors import (
    ApiUnavailableError,
    DrainBlockedError,
    JobLostError,
    StepFailedError,
    TargetGoneError,
    TargetRefusedError,
)
from bascule_workers.messages import Done, NotYet
from bascule_workers.patch_campaigns import (
    AcquireRequest,
    BootRequest,
    DrainRequest,
    ReadyRequest,
    ReleaseTargetRequest,
    TargetJobRequest,
)
from bascule_workers.plans.nodes import Node, PodOnNode
from bascule_workers.plans.outcomes import Failed, Lost, Running, Succeeded
from bascule_workers.ports.steps import Stopped
from tests.support.campaigns import PATCH, campaign
from tests.support.fake_world import World

UID = "3f1c5a8e-0000-4000-8000-000000000001"
RUN, OTHER = names.run_label(UID, 1), names.run_label(UID, 2)
STEPS = "bascule-steps-acme"
BEFORE, AFTER = "boot-1", "boot-2"


class Place:
    """One node of the tenant's, a world around it, and the activities."""

    def __init__(self) -> None:
        self.world = World()
        self.nodes = self.world.nodes
        self.nodes.clock = lambda: int(time.time())
        self.nodes.put(Node("node-1", labels={"tenant": "acme", "role": "web"}, ready=True, boot_id=BEFORE))
        self.activities = PatchTargetActivities(self.world.target_ports())

    @property
    def node(self) -> Node:
        return self.nodes.nodes["node-1"]

    def change(self, **fields: Any) -> None:
        self.nodes.put(replace(self.node, **fields))

    def pod(self, name: str, **facts: Any) -> None:
        given = {"owner_kind": "ReplicaSet"} | facts
        self.nodes.pods["node-1"].append(PodOnNode(given.pop("namespace", "acme"), name, f"uid-{name}", **given))
        self.nodes.tell()

    def fields(self, **more: Any) -> dict[str, Any]:
        made = campaign(UID)
        given: dict[str, Any] = {
            "run": made.run,
            "tenant": made.tenant,
            "step": "wave-canary",
            "target": Target(name="node-1"),
            "node_selector": made.node_selector,
            "since": int(time.time()),
        }
        return given | more

    async def acquire(self, **more: Any) -> Any:
        return await self.activities.acquire(AcquireRequest(**self.fields(**more)))

    async def drain(self, drain: Drain | None = None, **more: Any) -> Any:
        return await self.activities.drain(DrainRequest(**self.fields(**more), drain=drain or Drain()))

    async def patch(self, pinned: PinnedProcedure = PATCH, **more: Any) -> Any:
        given = {"procedure": pinned, "parameters": {}, "timeout_seconds": 60, "use": "patch", "boot_id": BEFORE}
        return await self.activities.run_procedure(TargetJobRequest(**self.fields(**(given | more))))

    async def rebooted(self) -> Any:
        return await self.activities.rebooted(BootRequest(**self.fields(boot_id=BEFORE)))

    async def ready(self, **more: Any) -> Any:
        return await self.activities.ready(ReadyRequest(**self.fields(**more)))

    async def release(self, **more: Any) -> Any:
        return await self.activities.release(ReleaseTargetRequest(**self.fields(**more)))

    @property
    def standing(self) -> tuple[str, str, bool, list[str]]:
        """Marks, cordon and Leases."""
        return self.node.run, self.node.cordoned_by, self.node.unschedulable, list(self._leases())

    def _leases(self) -> list[str]:
        return [target for _, target in self.world.target_leases.holders]


GIVEN_BACK = ("", "", False, [])


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(patch_targets, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(patch_targets, "SIGNS_SECONDS", 0.1)
    monkeypatch.setattr(draining, "SETTLES_SECONDS", 0.05)
    monkeypatch.setattr(draining, "AGAIN_SECONDS", 0.02)
    return Place()


class TestAcquiring:
    async def test_a_node_is_leased_marked_and_cordoned(self, place: Place) -> None:
        answer = await place.acquire()
        assert (answer.value.boot_id, answer.value.cordoned) == (BEFORE, True)
        assert place.standing == (RUN, RUN, True, ["node-1"])
        assert place.node.annotations[names.ANNOTATION_RESOURCE] == "acme-dev/web-nodes"

    async def test_what_a_person_cordoned_is_not_ours_to_uncordon(self, place: Place) -> None:
        place.change(unschedulable=True)
        assert not (await place.acquire()).value.cordoned
        await place.release()
        assert place.standing == ("", "", True, [])

    async def test_another_runs_lease_is_waited_for(self, place: Place) -> None:
        place.world.target_leases.holders[(STEPS, "node-1")] = (OTHER, "acme-dev/other")
        answer = await place.acquire()
        assert (answer.waits_for, answer.subject, answer.again_after > 0) == ("Lease", "acme-dev/other", True)
        assert place.node.run == ""

    async def test_another_runs_mark_is_waited_for(self, place: Place) -> None:
        place.change(labels={"tenant": "acme", names.LABEL_RUN: OTHER})
        answer = await place.acquire()
        assert isinstance(answer, NotYet)
        assert OTHER in answer.subject

    async def test_a_host_of_an_inventory_is_only_leased(self, place: Place) -> None:
        host = Target(name="db-1", address="10.0.0.1")
        assert (await place.acquire(target=host, node=False)).value.boot_id == ""
        assert place.standing == ("", "", False, ["db-1"])

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"control_plane": True}, id="of the control plane"),
            pytest.param({"labels": {"tenant": "globex"}}, id="of another tenant"),
            pytest.param({"labels": {}}, id="of nobody"),
        ],
    )
    async def test_nodes_of_others_are_refused_and_nothing_is_kept(self, place: Place, change: dict[str, Any]) -> None:
        place.change(**change)
        with pytest.raises(TargetRefusedError):
            await place.acquire()
        assert place.standing == GIVEN_BACK

    async def test_a_node_that_becomes_anothers_at_the_last_moment_is_refused(self, place: Place) -> None:
        place.nodes.shown["node-1"] = place.node
        place.change(labels={"tenant": "globex"})
        with pytest.raises(TargetRefusedError):
            await place.acquire()
        assert place.standing == GIVEN_BACK

    async def test_a_watch_that_is_behind_refuses_nothing(self, place: Place) -> None:
        place.nodes.shown["node-1"] = replace(place.node, labels={})
        assert (await place.acquire()).value.cordoned

    async def test_a_tenant_without_a_selector_has_no_node(self, place: Place) -> None:
        with pytest.raises(TargetRefusedError, match=r"no spec\.nodeSelector"):
            await place.acquire(node_selector={})

    @pytest.mark.parametrize("how", ["gone", "terminating"])
    async def test_a_node_that_goes_is_gone_and_keeps_no_lease(self, place: Place, how: str) -> None:
        if how == "gone":
            place.nodes.drop("node-1")
        else:
            place.change(terminating=True)
        with pytest.raises(TargetGoneError):
            await place.acquire()
        assert place.world.target_leases.holders == {}


class TestDraining:
    async def test_pods_go_as_kubectl_drain_has_them_go(self, place: Place) -> None:
        place.pod("web")
        place.pod("agent", owner_kind="DaemonSet", empty_dir=True)
        place.pod("static", owner_kind="Node", mirror=True)
        place.pod("over", finished=True, owner_kind="", empty_dir=True)
        place.pod("build", namespace=STEPS, owner_kind="Job", empty_dir=True, labels={names.LABEL_RUN: OTHER})
        await place.acquire()
        answer = await place.drain()
        assert answer.value.found == 2
        assert [name for name, _ in place.nodes.evictions] == ["acme/web", f"{STEPS}/build"]

    async def test_what_may_not_go_fails_the_target_before_anything_is_evicted(self, place: Place) -> None:
        place.pod("web")
        place.pod("lonely", owner_kind="")
        place.pod("cache", empty_dir=True)
        place.pod("faked", owner_kind="Job", empty_dir=True, labels={names.LABEL_RUN: OTHER})
        await place.acquire()
        with pytest.raises(DrainBlockedError) as raised:
            await place.drain()
        assert "acme/cache has an emptyDir volume" in str(raised.value)
        assert "acme/faked has an emptyDir volume" in str(raised.value)
        assert "acme/lonely has no controller" in str(raised.value)
        assert place.nodes.evictions == []
        await place.drain(Drain.model_validate({"force": True, "deleteEmptyDirData": True, "gracePeriod": "7s"}))
        assert Counter(place.nodes.evictions) == Counter(
            {("acme/web", 7): 1, ("acme/lonely", 7): 1, ("acme/cache", 7): 1, ("acme/faked", 7): 1}
        )

    async def test_only_selected_pods_go(self, place: Place) -> None:
        place.pod("web", labels={"app": "web"})
        place.pod("db", labels={"app": "db"}, owner_kind="")
        await place.acquire()
        await place.drain(Drain.model_validate({"podSelector": {"matchLabels": {"app": "web"}}}))
        assert [name for name, _ in place.nodes.evictions] == ["acme/web"]

    async def test_who_blocks_and_since_when_is_told_once_and_kept(self, place: Place) -> None:
        place.pod("web")
        place.pod("api")
        place.nodes.budgets["acme/web"] = "The disruption budget web needs 2 healthy pods and has 2 currently"
        await place.acquire()
        first = await place.drain()
        assert isinstance(first, NotYet)
        assert (first.waits_for, first.subject) == ("Disruption", "acme/web")
        stamp = first.reason.split(" since ")[1][:20]
        await asyncio.sleep(1.1)
        place.nodes.budgets["acme/web"] = "The disruption budget web needs 2 healthy pods and has 1 currently"
        second = await place.drain(note=first.reason)
        assert second.reason == f"acme/web may not be evicted since {stamp}: {place.nodes.budgets['acme/web']}"
        place.nodes.budgets.clear()
        assert isinstance(await place.drain(note=second.reason), Done)

    async def test_the_others_leave_although_one_is_blocked(self, place: Place) -> None:
        place.pod("web")
        place.pod("api")
        place.nodes.budgets["acme/api"] = "no"
        await place.acquire()
        await place.drain()
        assert [pod.name for pod in place.nodes.pods["node-1"]] == ["api"]

    async def test_a_pod_that_hangs_is_named(self, place: Place) -> None:
        place.pod("web", terminating_since=int(time.time()) - 3600)
        await place.acquire()
        answer = await place.drain()
        assert answer.reason.startswith("acme/web should have ended since ")
        assert place.nodes.evictions == [], "it was deleted already"

    async def test_after_its_time_it_fails_and_says_what_stood_in_the_way(self, place: Place) -> None:
        place.pod("web")
        place.nodes.budgets["acme/web"] = "The disruption budget web"
        await place.acquire()
        with pytest.raises(DrainBlockedError, match=r"not drained within 15m: acme/web may not be evicted since"):
            await place.drain(since=int(time.time()) - 901)

    async def test_a_node_that_somebody_uncordoned_is_cordoned_again(self, place: Place) -> None:
        await place.acquire()
        place.change(unschedulable=False)
        await place.drain()
        assert place.node.unschedulable
        await place.release()
        assert place.standing == GIVEN_BACK

    async def test_hosts_and_campaigns_that_drain_nothing_evict_nothing(self, place: Place) -> None:
        place.pod("lonely", owner_kind="")
        await place.acquire()
        assert isinstance(await place.drain(Drain.model_validate({"enabled": False})), Done)
        assert isinstance(await place.drain(target=Target(name="db-1"), node=False), Done)

    async def test_one_request_that_fails_keeps_nobody_else_from_leaving(self, place: Place) -> None:
        place.pod("web")
        place.pod("api")
        await place.acquire()
        place.world.troubles.before["evict"] = [ApiUnavailableError("503")]
        with pytest.raises(ApiUnavailableError):
            await place.drain()
        assert len(place.nodes.pods["node-1"]) == 1
        assert isinstance(await place.drain(), Done)


DECLARED = {"results": [ResultDeclaration(name="changes"), ResultDeclaration(name="rebootRequired")]}
REPORTING = PATCH.model_copy(update={"spec": PATCH.spec.model_copy(update=DECLARED)})


class TestProcedures:
    async def test_its_results_come_back(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [
            Running("pulling"),
            Succeeded({"rebootRequired": "true"}, "3 updates"),
        ]
        first = await place.patch()
        assert (type(first), first.reason) == (NotYet, "pulling")
        answer = await place.patch()
        assert answer.value.reboot_required
        assert answer.message == "3 updates"

    @pytest.mark.parametrize("outcome", [Lost("node lost"), Failed("exit code 255", 255, abrupt=True)])
    async def test_a_reboot_under_a_patch_is_told_and_the_patch_is_carried_out_again(
        self, place: Place, outcome: Any
    ) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [outcome] * 3
        place.change(boot_id=AFTER)
        with pytest.raises(
            JobLostError, match="rebooted while the Procedure ran, which is therefore carried out again"
        ):
            await place.patch()

    async def test_and_not_for_ever(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Lost("node lost")]
        place.change(boot_id=AFTER)
        with pytest.raises(StepFailedError, match="3 times: let it report rebootRequired"):
            await place.patch(job_attempt=3)

    async def test_a_reboot_under_the_procedure_that_reboots_is_its_success(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Lost("node lost")]
        place.change(boot_id=AFTER)
        assert isinstance(await place.patch(use="reboot"), Done)

    @pytest.mark.parametrize("use", ["patch", "rollback"])
    async def test_one_whose_pod_was_gone_before_it_was_asked_is_carried_out_again(
        self, place: Place, use: str
    ) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Succeeded(), Succeeded({"rebootRequired": "true"}, pod="pod")]
        # It was not ended by that reboot.
        place.change(boot_id=AFTER)
        with pytest.raises(JobLostError, match="its pod was gone before it could be asked for rebootRequired"):
            await place.patch(REPORTING, use=use)
        answer = await place.patch(REPORTING, use=use, job_attempt=2)
        assert answer.value.reboot_required

    async def test_as_often_as_it_may_be_tried(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Succeeded()]
        with pytest.raises(StepFailedError, match="lost its pod 3 times"):
            await place.patch(REPORTING, job_attempt=3)

    @pytest.mark.parametrize(
        ("pinned", "use"),
        [
            pytest.param(PATCH, "patch", id="it declares no results"),
            pytest.param(REPORTING, "verify", id="they are not read"),
            pytest.param(REPORTING, "reboot", id="another reboot would be one too many"),
        ],
    )
    async def test_a_pod_that_is_gone_is_no_loss_where_nothing_hangs_on_its_results(
        self, place: Place, pinned: PinnedProcedure, use: str
    ) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Succeeded()]
        assert isinstance(await place.patch(pinned, use=use), Done)

    async def test_a_node_that_is_down_is_waited_for(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Lost("node lost")] * 2
        place.change(ready=False)
        answer = await place.patch()
        assert "is not Ready since its Job ended" in answer.reason
        place.change(ready=True)
        with pytest.raises(JobLostError, match="node lost"):
            await place.patch()

    async def test_a_failure_of_its_own_is_told_at_once(self, place: Place) -> None:
        await place.acquire()
        place.world.steps.script["wave-canary"] = [Failed("exit code 1", 1)]
        place.change(boot_id=AFTER)
        with pytest.raises(StepFailedError, match="exit code 1"):
            await place.patch()

    async def test_a_node_that_was_made_again_gets_no_procedure(self, place: Place) -> None:
        await place.acquire()
        place.nodes.put(Node("node-1", uid="new", labels={"tenant": "acme"}, ready=True, boot_id=AFTER))
        with pytest.raises(TargetGoneError, match="is another one than was acquired"):
            await place.patch()
        assert place.world.steps.every == {}

    async def test_what_another_worker_wrote_is_believed_before_this_ones_watch(self, place: Place) -> None:
        place.nodes.shown["node-1"] = place.node
        await place.acquire()
        assert isinstance(await place.patch(), Done)


class TestWaiting:
    async def test_another_boot_id_and_ready_is_a_reboot(self, place: Place) -> None:
        await place.acquire()
        assert "has not been rebooted yet" in (await place.rebooted()).reason
        place.change(boot_id=AFTER, ready=False)
        assert "was rebooted and is not Ready yet" in (await place.rebooted()).reason
        waiting = asyncio.create_task(place.rebooted())
        await asyncio.sleep(0.01)
        place.change(ready=True)
        assert isinstance(await waiting, Done)

    async def test_ready_is_waited_for(self, place: Place) -> None:
        await place.acquire()
        place.change(ready=False)
        assert "is not Ready" in (await place.ready()).reason
        place.change(ready=True)
        assert isinstance(await place.ready(), Done)
        assert isinstance(await place.ready(target=Target(name="db-1"), node=False), Done)

    async def test_a_node_that_goes_meanwhile_is_gone(self, place: Place) -> None:
        await place.acquire()
        waiting = asyncio.create_task(place.rebooted())
        await asyncio.sleep(0.01)
        place.nodes.drop("node-1")
        with pytest.raises(TargetGoneError):
            await waiting


class TestReleasing:
    async def test_all_is_given_back_and_twice_does_no_harm(self, place: Place) -> None:
        await place.acquire()
        await place.patch()
        assert (await place.release()).value.found == 2
        assert place.standing == GIVEN_BACK
        assert place.world.steps.jobs == {}
        assert (await place.release()).value.found == 0

    async def test_a_failed_targets_jobs_stay_to_be_looked_at(self, place: Place) -> None:
        await place.acquire()
        await place.patch()
        await place.release(keep_jobs=True)
        assert place.world.steps.stopped[-1] is False

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(
                {"labels": {names.LABEL_RUN: RUN, names.LABEL_CORDONED_BY: RUN}}, id="another tenant's by now"
            ),
            pytest.param({"control_plane": True}, id="of the control plane by now"),
            pytest.param({"ready": False}, id="not Ready"),
        ],
    )
    async def test_a_node_is_given_back_whatever_became_of_it(self, place: Place, change: dict[str, Any]) -> None:
        await place.acquire()
        place.change(**change)
        await place.release()
        assert place.standing == GIVEN_BACK

    async def test_a_node_that_is_gone_keeps_no_lease(self, place: Place) -> None:
        await place.acquire()
        place.nodes.drop("node-1")
        assert (await place.release()).value.found == 1
        assert place.world.target_leases.holders == {}

    async def test_anothers_node_and_lease_stay(self, place: Place) -> None:
        place.change(labels={"tenant": "acme", names.LABEL_RUN: OTHER, names.LABEL_CORDONED_BY: OTHER})
        place.change(unschedulable=True)
        place.world.target_leases.holders[(STEPS, "node-1")] = (OTHER, "acme-dev/other")
        assert (await place.release()).value.found == 0
        assert place.standing == (OTHER, OTHER, True, ["node-1"])

    async def test_what_still_runs_is_waited_for_where_it_can_end(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def stop(*_: Any, **__: Any) -> Stopped:
            return Stopped(1, ["patch-pod"])

        await place.acquire()
        monkeypatch.setattr(place.world.steps, "stop", stop)
        assert "waiting for patch-pod to stop" in (await place.release()).reason
        assert place.node.unschedulable
        place.change(ready=False)
        answer = await place.release()
        assert answer.value.items == [f"Pod/{STEPS}/patch-pod of node-1"]
        assert place.standing == GIVEN_BACK

    async def test_and_not_for_ever(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        async def stop(*_: Any, **__: Any) -> Stopped:
            return Stopped(1, ["patch-pod"])

        await place.acquire()
        monkeypatch.setattr(place.world.steps, "stop", stop)
        answer = await place.release(since=int(time.time()) - 301)
        assert isinstance(answer, Done)
        assert place.standing == GIVEN_BACK


Phase = Callable[[Place], Awaitable[Any]]
PHASES: dict[str, Phase] = {
    "acquire": Place.acquire,
    "drain": Place.drain,
    "patch": Place.patch,
    "ready": Place.ready,
    "release": Place.release,
}


async def whole(place: Place, done: list[str], broken: list[str]) -> None:
    """All phases; one that breaks is repeated, as a workflow repeats it."""
    for name, phase in PHASES.items():
        for _ in range(3):
            try:
                answer = await phase(place)
            except ApiUnavailableError:
                broken.append(name)
                continue
            assert isinstance(answer, Done), answer
            done.append(name)
            break


CALLS = ["acquire", "mark", "get_node", "pods", "evict", "wave-canary", "until", "stop", "unmark", "release_lease"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
async def test_dying_at_any_call_and_repeating_comes_to_the_same(place: Place, call: str, when: str) -> None:
    place.pod("web")
    getattr(place.world.troubles, when)[call] = [ApiUnavailableError("killed")]
    done: list[str] = []
    broken: list[str] = []
    await whole(place, done, broken)
    assert broken, "the fault was met"
    assert done == list(PHASES)
    assert place.standing == GIVEN_BACK
    assert [name for name, _ in place.nodes.evictions] == ["acme/web"]
    assert len(place.world.steps.every) == 1, "the Procedure was carried out once"
