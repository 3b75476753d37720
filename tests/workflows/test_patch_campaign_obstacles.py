"""What stands in the way at a target: budgets, reboots that do not come, checks that fail, pods that are refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.fleets import TargetPhase
from bascule_api.gates import Verdict
from bascule_api.patch_campaign_status import FailedTarget, TargetInProgress
from bascule_api.progress import Progress
from bascule_codec import Keyring, data_converter
from bascule_workers.activities import draining
from bascule_workers.plans import patch_campaigns as plans
from bascule_workers.plans.nodes import PodOnNode
from bascule_workers.plans.outcomes import NO_POD, Running, Succeeded
from tests.support.campaign_runs import Campaigns, Fleet, Story
from tests.support.campaigns import PATCH, PROCEDURES, campaign
from tests.support.fake_world import JOB_SETTINGS
from tests.support.temporal import serving_runs

WAVES = [{"name": "all", "maxParallel": 2}]
BLOCKED = "node-000"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(2)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


def in_progress(told: Progress, name: str = BLOCKED) -> TargetInProgress | None:
    targets = told.facts.get("targets", {}).get("inProgress", [])
    return next((TargetInProgress.model_validate(target) for target in targets if target["name"] == name), None)


def says(told: Progress, *words: str) -> bool:
    target = in_progress(told)
    return target is not None and all(word in target.message for word in words)


def failure(story: Story) -> FailedTarget:
    assert story.failure_type == "TooManyFailures"
    assert story.result.targets is not None
    [found] = story.result.targets.failures
    return found


@dataclass
class Clock:
    """The time of day, which a test may put forward."""

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


async def test_a_budget_that_lets_no_pod_go_is_told_and_then_the_node_is_given_back_unpatched(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(draining, "time", clock)
    monkeypatch.setattr(draining, "SETTLES_SECONDS", 0.1)
    monkeypatch.setattr(draining, "AGAIN_SECONDS", 0.1)
    fleet.nodes.pods[BLOCKED] = [PodOnNode("web", "web-0", "uid", owner_kind="ReplicaSet")]
    fleet.nodes.budgets["web/web-0"] = "the disruption budget web needs 1 healthy pods and has 1 currently"
    handle = await campaigns.start(campaign(waves=WAVES, drain={"timeout": "10m"}))
    told = await campaigns.until(handle, lambda told: says(told, "web/web-0 may not be evicted since 2"))
    target = in_progress(told)
    assert target is not None
    assert target.phase == TargetPhase.DRAINING
    assert "the disruption budget web" in target.message
    clock.ahead = 3_600

    story = await campaigns.story(handle)

    found = failure(story)
    assert (found.name, found.phase, found.rolled_back) == (BLOCKED, TargetPhase.DRAINING, False)
    assert found.message.startswith("the node was not drained within 10m: web/web-0 may not be evicted since 2")
    assert story.result.compensation.left == []
    assert fleet.steps.targets("rollback") == []
    assert fleet.steps.patched == {"node-001"}
    fleet.assert_free()


async def test_a_node_that_never_reboots_is_rolled_back_and_given_back(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fake waits in real time within the activity, while the server's time stands with it.
    monkeypatch.setattr(plans, "REBOOT_SECONDS", 2)
    fleet.nodes.patience = 0.5
    fleet.steps.results["patch"] = {"rebootRequired": "true"}
    itself = PATCH.model_copy(update={"spec": PATCH.spec.model_copy(update={"reboot": None})})

    story = await campaigns.carried_out(
        campaign(waves=[{"name": "all", "maxParallel": 1}], procedures=PROCEDURES | {"patch": itself})
    )

    found = failure(story)
    assert (found.phase, found.rolled_back) == (TargetPhase.REBOOTING, True)
    assert "has not been rebooted yet" in found.message
    assert fleet.steps.targets("reboot") == []
    assert fleet.steps.targets("rollback") == [found.name]
    assert fleet.steps.patched == set()
    fleet.assert_free()


async def test_a_target_that_does_not_answer_as_it_should_is_rolled_back(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script[JOB_SETTINGS.tools_image] = [
        Succeeded({"verdict": Verdict.FAIL}, "http://10.0.0.1:8080/ did not pass within 120 s", pod="p")
    ]

    story = await campaigns.carried_out(
        campaign(waves=[{"name": "all", "maxParallel": 1}], verify={"http": {"port": 8080, "path": "/"}})
    )

    found = failure(story)
    assert (found.phase, found.rolled_back) == (TargetPhase.VERIFYING, True)
    assert found.message == "http://10.0.0.1:8080/ did not pass within 120 s"
    assert fleet.steps.targets("rollback") == [found.name]
    assert fleet.steps.patched == set()
    assert story.result.compensation.left == []
    fleet.assert_free()


async def test_pods_that_are_refused_are_told_and_hold_up_no_deletion(campaigns: Campaigns, fleet: Fleet) -> None:
    refused = Running(f"{NO_POD}the pod is forbidden: violates PodSecurity")
    fleet.steps.script[f"patch/{BLOCKED}"] = [refused]
    fleet.steps.script["rollback"] = [refused] * 50
    use = f"patch/{BLOCKED}"
    first = fleet.troubles.hold(use)
    handle = await campaigns.start(campaign(waves=[{"name": "all", "maxParallel": 2}]))
    await first.began.wait()
    # The first look tells of the refusal; the next one goes on waiting.
    fleet.troubles.release_holds()
    fleet.troubles.hold(use)
    first.let_go.set()
    await campaigns.until(handle, lambda told: says(told, "no pod can be made: the pod is forbidden"))
    fleet.troubles.release_holds()
    await handle.cancel(reason=names.CANCEL_DELETED)

    story = await campaigns.story(handle)

    assert (story.closed, story.result.phase) == ("CANCELED", Phase.CANCELLED)
    assert any(left.startswith(f"node/{BLOCKED}: {NO_POD}") for left in story.result.compensation.left)
    fleet.assert_free()
