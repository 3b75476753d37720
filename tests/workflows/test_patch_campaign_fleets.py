"""Campaigns of more than a batch, of hosts, and of nodes that do not drain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bascule_api.conditions import Phase
from bascule_api.fleets import TargetPhase
from bascule_codec import Keyring, data_converter
from bascule_workers.plans import patch_campaigns as plans
from bascule_workers.plans.nodes import PodOnNode
from bascule_workers.plans.outcomes import Failed
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import campaign
from tests.support.temporal import serving_runs


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(120)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def test_more_targets_than_a_batch_holds_are_each_patched_once(campaigns: Campaigns, fleet: Fleet) -> None:
    story = await campaigns.carried_out(campaign(waves=[{"name": "all", "maxParallel": 60}]))

    assert story.result.phase == Phase.SUCCEEDED
    assert sorted(fleet.steps.targets("patch")) == sorted(fleet.nodes.nodes)
    assert story.cells == ["P" * 120]
    fleet.assert_free()


async def test_a_batch_whose_history_is_full_hands_the_rest_back(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "BATCH_HISTORY_LIMIT", 100)
    for name in sorted(fleet.nodes.nodes)[20:]:
        fleet.nodes.drop(name)

    story = await campaigns.carried_out(campaign(waves=[{"name": "all", "maxParallel": 5}]))

    assert story.result.phase == Phase.SUCCEEDED
    assert sorted(fleet.steps.targets("patch")) == sorted(fleet.nodes.nodes)
    fleet.assert_free()


async def test_a_budget_that_is_spent_stops_all_batches(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["patch"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")] * 200

    waves = [{"name": "all", "maxParallel": 10}]
    story = await campaigns.carried_out(campaign(waves=waves, failurePolicy={"maxFailures": 2}))

    assert story.failure_type == "TooManyFailures"
    assert story.result.targets is not None
    assert 3 <= story.result.targets.failed <= 12
    assert fleet.steps.patched == set()
    fleet.assert_free()


async def test_a_node_that_may_not_be_drained_fails_and_is_given_back(campaigns: Campaigns, fleet: Fleet) -> None:
    for name in sorted(fleet.nodes.nodes)[2:]:
        fleet.nodes.drop(name)
    for name in fleet.nodes.nodes:
        fleet.nodes.pods[name] = [PodOnNode(namespace="web", name=f"bare-{name}", uid="1")]

    story = await campaigns.carried_out(campaign())

    assert story.result.targets is not None
    [failure] = story.result.targets.failures
    assert (failure.phase, failure.rolled_back) == (TargetPhase.DRAINING, False)
    assert "has no controller" in failure.message
    assert fleet.steps.done == []
    fleet.assert_free()


async def test_hosts_of_an_inventory_are_patched_with_the_tenants_key(campaigns: Campaigns, fleet: Fleet) -> None:
    hosts = fleet.with_hosts()
    fleet.steps.script["patch/db-2"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")]

    given = campaign(**hosts, failurePolicy={"maxFailures": 1})
    story = await campaigns.carried_out(given)

    assert story.result.phase == Phase.SUCCEEDED
    assert fleet.steps.patched == {"db-1", "db-3"}
    assert fleet.steps.targets("rollback") == ["db-2"]
    fleet.assert_free()
