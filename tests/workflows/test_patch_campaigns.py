"""The workflow PatchCampaign, path by path: real Temporal code and activities, time that skips, nodes in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase, WaitKind
from bascule_api.fleets import TargetPhase
from bascule_api.procedures import PinnedProcedure
from bascule_codec import Keyring, data_converter
from bascule_workers.plans import patched
from bascule_workers.plans.outcomes import Failed, Succeeded
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import PATCH, PROCEDURES, campaign
from tests.support.temporal import serving_runs


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(6)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def test_a_fleet_is_patched_wave_after_wave_and_every_node_is_given_back(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    story = await campaigns.carried_out(campaign())

    assert (story.closed, story.result.phase, story.failure_type) == ("COMPLETED", Phase.SUCCEEDED, "")
    assert story.steps == {"plan": "Succeeded", "wave-canary": "Succeeded", "wave-fleet": "Succeeded"}
    assert story.waves == {"canary": "Succeeded", "fleet": "Succeeded"}
    assert story.cells == ["P", "PPPPP"]
    assert story.result.targets is not None
    assert story.result.targets.summary == "6/6"
    assert fleet.steps.patched == set(fleet.nodes.nodes)
    assert len(fleet.steps.targets("patch")) == 6
    assert len(patched.unpacked(story.patched or "")) == 6
    fleet.assert_free()


def failed(code: int = 3) -> Failed:
    return Failed(f"exit code {code}", exit_code=code, pod="p", container="step")


async def test_the_mode_plan_shows_the_waves_and_touches_nothing(campaigns: Campaigns, fleet: Fleet) -> None:
    story = await campaigns.carried_out(campaign(mode="Plan"))

    assert story.result.phase == Phase.SUCCEEDED
    assert story.steps == {"plan": "Succeeded"}
    assert story.cells == [".", "....."]
    assert story.result.plan is not None
    assert story.result.plan.digest.startswith("sha256:")
    assert fleet.steps.done == []
    fleet.assert_free()


async def test_one_failure_stops_the_campaign_and_only_the_failed_target_is_rolled_back(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    waves = [{"name": "canary", "size": 2}, {"name": "fleet"}]
    fleet.steps.script["patch"] = [Succeeded(pod="p"), failed()]

    story = await campaigns.carried_out(campaign(waves=waves))

    assert (story.closed, story.failure_type) == ("FAILED", "TooManyFailures")
    assert story.waves == {"canary": "Failed", "fleet": "Skipped"}
    assert story.cells == ["PF", "...."]
    assert story.result.targets is not None
    [failure] = story.result.targets.failures
    assert (failure.phase, failure.message, failure.rolled_back) == (TargetPhase.PATCHING, "exit code 3", True)
    assert fleet.steps.targets("rollback") == [failure.name]
    assert story.result.compensation.left == []
    assert len(patched.unpacked(story.patched or "")) == 1
    fleet.assert_free()


@pytest.mark.parametrize(
    ("action", "cells"),
    [
        pytest.param("Halt", ["P", "PF..."], id="halt leaves what was patched"),
        pytest.param("RollbackWave", ["P", "RF..."], id="the failed wave goes back"),
        pytest.param("RollbackAll", ["R", "RF..."], id="all waves go back"),
    ],
)
async def test_what_happens_to_the_others_says_the_policy(
    campaigns: Campaigns, fleet: Fleet, action: str, cells: list[str]
) -> None:
    waves = [{"name": "canary", "size": 1}, {"name": "fleet"}]
    fleet.steps.script["patch"] = [Succeeded(pod="p"), Succeeded(pod="p"), failed()]

    story = await campaigns.carried_out(campaign(waves=waves, failurePolicy={"action": action}))

    assert story.failure_type == "TooManyFailures"
    assert story.cells == cells[:2]
    standing = sum(picture.count("P") for picture in story.cells)
    assert len(fleet.steps.patched) == standing
    assert len(patched.unpacked(story.patched or "")) == standing
    assert story.result.compensation.left == []
    fleet.assert_free()


async def test_targets_roll_back_in_reverse(campaigns: Campaigns, fleet: Fleet) -> None:
    waves = [{"name": "canary", "size": 2}, {"name": "fleet"}]
    fleet.steps.script["patch"] = [*[Succeeded(pod="p")] * 5, failed()]

    await campaigns.carried_out(campaign(waves=waves, failurePolicy={"action": "RollbackAll"}))

    assert fleet.steps.targets("rollback")[1:] == list(reversed(fleet.steps.targets("patch")))


async def test_as_many_may_fail_as_the_budget_says(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [Succeeded(pod="p"), failed(), failed()]

    story = await campaigns.carried_out(campaign(failurePolicy={"maxFailures": 2}))

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.targets is not None
    assert (story.result.targets.failed, story.result.targets.patched) == (2, 4)
    assert story.result.targets.summary == "4/6, 2 failed"
    fleet.assert_free()


async def test_a_failed_target_whose_rollback_fails_is_released_and_listed(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [failed()]
    fleet.steps.script["rollback"] = [failed(4)] * 20

    story = await campaigns.carried_out(campaign())

    assert story.failure_type == "TooManyFailures"
    assert story.result.compensation.state == CompensationState.FAILED
    [left] = story.result.compensation.left
    assert left.startswith("node/node-")
    assert left.endswith("exit code 4")
    fleet.assert_free()


async def test_a_rollback_that_fails_at_first_is_tried_again_at_the_end(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [failed()]
    fleet.steps.script["rollback"] = [failed(4)]

    story = await campaigns.carried_out(campaign())

    # The failed Job is gone with the release, so that there is another one.
    assert story.result.compensation.left == []
    assert story.result.targets is not None
    assert story.result.targets.failures[0].rolled_back
    fleet.assert_free()


async def test_without_a_rollback_a_failed_target_is_released_as_it_is(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [failed()]

    story = await campaigns.carried_out(campaign(rollback=None))

    assert story.failure_type == "TooManyFailures"
    assert story.result.compensation.left == []
    assert fleet.steps.targets("rollback") == []
    fleet.assert_free()


async def test_a_target_is_rebooted_once_when_its_patch_says_so(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.results["patch"] = {"rebootRequired": "true"}

    story = await campaigns.carried_out(campaign())

    assert story.result.phase == Phase.SUCCEEDED
    assert sorted(fleet.steps.targets("reboot")) == sorted(fleet.nodes.nodes)
    assert {node.boot_id for node in fleet.nodes.nodes.values()} == {"2"}
    fleet.assert_free()


def asking_itself() -> dict[str, PinnedProcedure]:
    """Procedures of which the patch names none that reboots: it asks the node by itself."""
    return PROCEDURES | {"patch": PATCH.model_copy(update={"spec": PATCH.spec.model_copy(update={"reboot": None})})}


async def test_a_patch_that_asks_the_node_itself_is_waited_for(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.results["patch"] = {"rebootRequired": "true"}
    fleet.steps.reboots = {"patch"}

    story = await campaigns.carried_out(campaign(procedures=asking_itself()))

    assert story.result.phase == Phase.SUCCEEDED
    assert fleet.steps.targets("reboot") == []
    assert {node.boot_id for node in fleet.nodes.nodes.values()} == {"2"}
    fleet.assert_free()


async def test_verification_is_part_of_it(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["verify"] = [failed(7)]

    story = await campaigns.carried_out(campaign(verify={"procedure": "smoke"}))

    assert story.result.targets is not None
    [failure] = story.result.targets.failures
    assert (failure.phase, failure.rolled_back) == (TargetPhase.VERIFYING, True)
    fleet.assert_free()


async def test_a_node_that_was_cordoned_before_stays_cordoned(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.nodes.put(replace(fleet.nodes.nodes["node-002"], unschedulable=True))

    story = await campaigns.carried_out(campaign())

    assert story.result.phase == Phase.SUCCEEDED
    fleet.assert_free(cordoned=("node-002",))


async def test_a_node_that_goes_meanwhile_is_skipped(campaigns: Campaigns, fleet: Fleet) -> None:
    waves = [{"name": "canary", "size": 1, "soak": "1h"}, {"name": "fleet", "maxParallel": "100%"}]
    handle = await campaigns.start(campaign(waves=waves))
    await campaigns.until(handle, lambda told: told.waiting and told.waiting.kind == WaitKind.SOAK)
    [gone, *_] = sorted(set(fleet.nodes.nodes) - fleet.steps.patched)
    fleet.nodes.drop(gone)

    story = await campaigns.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.targets is not None
    assert (story.result.targets.skipped, story.result.targets.patched) == (1, 5)
    fleet.assert_free()


async def test_a_continued_run_skips_what_the_other_one_patched(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [*[Succeeded(pod="p")] * 3, failed()]
    waves = [{"name": "canary", "size": 1}, {"name": "fleet"}]
    first = campaign(waves=waves)
    await campaigns.carried_out(first)
    done = set(fleet.steps.patched)
    assert len(done) == 3
    fleet.steps.done.clear()
    previous = {"number": 1, "workflow_id": names.workflow_id("PatchCampaign", first.run.uid, 1)}

    story = await campaigns.carried_out(campaign(first.run.uid, number=2, waves=waves, continues=[previous]))

    assert story.result.phase == Phase.SUCCEEDED
    assert story.waves == {"canary": "Skipped", "fleet": "Succeeded"}
    assert story.result.targets is not None
    assert (story.result.targets.skipped, story.result.targets.patched) == (3, 3)
    assert set(fleet.steps.targets("patch")) == set(fleet.nodes.nodes) - done
    assert len(patched.unpacked(story.patched or "")) == 3


async def test_a_continued_run_of_which_nothing_is_known_is_told(campaigns: Campaigns, fleet: Fleet) -> None:
    gone = {"number": 1, "workflow_id": "patchcampaign/gone/1"}

    story = await campaigns.carried_out(campaign(number=2, continues=[gone]))

    assert story.result.phase == Phase.SUCCEEDED
    [plan] = [step for step in story.result.steps if step.name == "plan"]
    assert "run 1 patched is patched again" in plan.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"waves": [{"name": "a", "size": 4}]}, "2 of 6 targets are in no wave", id="a rest in no wave"),
        pytest.param({"waves": [{"name": "a", "size": 7}]}, "7 of 6 targets", id="more than there are"),
        pytest.param(
            {"targets": {"nodes": {"selector": {"matchLabels": {"role": "none"}}}}}, "no node matches", id="no target"
        ),
        pytest.param({"node_selector": {}}, "the Tenant may patch no nodes", id="a tenant without nodes"),
        pytest.param(
            {"targets": {"inventory": {"configMap": {"name": "none"}}}}, "which does not exist", id="no inventory"
        ),
    ],
)
async def test_a_plan_that_cannot_be_is_refused_before_anything_is_touched(
    campaigns: Campaigns, fleet: Fleet, changes: dict[str, Any], said: str
) -> None:
    story = await campaigns.carried_out(campaign(**changes))

    assert story.failure_type == "PlanRefused"
    assert said in (story.result.failure.message if story.result.failure else "")
    assert fleet.steps.done == []
    assert story.patched is None
    fleet.assert_free()
