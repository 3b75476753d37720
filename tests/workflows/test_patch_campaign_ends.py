"""How campaigns end before their time: cancelled, deleted, suspended, out of time, or with a worker that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from bascule_api import names
from bascule_api.conditions import Phase, WaitKind
from bascule_api.procedures import ResultDeclaration
from bascule_api.progress import Progress
from bascule_codec import Keyring, data_converter
from bascule_workers.activities import patch_targets
from bascule_workers.errors import ApiUnavailableError
from bascule_workers.plans import patch_campaigns as plans
from bascule_workers.plans import patched
from bascule_workers.plans.outcomes import Failed, Lost, Running, Succeeded
from bascule_workers.workflows import calling
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import PATCH, PROCEDURES, campaign
from tests.support.temporal import serving_runs

SOAK = [{"name": "canary", "size": 2, "maxParallel": 2, "soak": "1h"}, {"name": "fleet"}]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(4)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def held(campaigns: Campaigns, fleet: Fleet, call: str, **changes: Any) -> WorkflowHandle[Any, Any]:
    """A campaign that is in the midst of a call."""
    hold = fleet.troubles.hold(call)
    handle = await campaigns.start(campaign(verify={"procedure": "smoke"}, **changes))
    await hold.began.wait()
    fleet.troubles.release_holds()
    if call in RELEASING:
        # What gives a node back is never interrupted.
        asyncio.get_running_loop().call_later(1, hold.let_go.set)
    return handle


RELEASING = ("stop", "unmark", "release_lease")


def soaking(told: Progress) -> bool:
    return told.waiting is not None and told.waiting.kind == WaitKind.SOAK


PHASES = ["secret", "select", "acquire", "mark", "pods", "patch", "verify", "stop", "unmark", "release_lease"]
"""Calls of a run in the order of a target's phases; the first two are those of its plan."""


@pytest.mark.parametrize("call", PHASES)
async def test_cancelled_in_any_phase_every_node_is_given_back(campaigns: Campaigns, fleet: Fleet, call: str) -> None:
    handle = await held(campaigns, fleet, call)
    await handle.cancel(reason="cancelled: not today")

    story = await campaigns.story(handle)

    assert (story.closed, story.result.phase) == ("CANCELED", Phase.CANCELLED)
    assert story.result.compensation.left == []
    # What was verified may stay; what was in the midst of its patch may not.
    assert len(fleet.steps.patched) == (1 if call in RELEASING else 0)
    fleet.assert_free()


@pytest.mark.parametrize("call", PHASES)
async def test_deleted_in_any_phase_all_that_was_patched_goes_back(
    campaigns: Campaigns, fleet: Fleet, call: str
) -> None:
    handle = await held(campaigns, fleet, call)
    await handle.cancel(reason=names.CANCEL_DELETED)

    story = await campaigns.story(handle)

    assert story.closed == "CANCELED"
    assert story.result.compensation.left == []
    assert fleet.steps.patched == set()
    fleet.assert_free()


@pytest.mark.parametrize(
    ("reason", "standing"),
    [
        pytest.param(names.CANCEL_DELETED, 0, id="deleted: all goes back"),
        pytest.param(names.CANCEL_DELETED_RELEASES_ONLY, 2, id="deleted with releases only: it stays"),
        pytest.param("superseded: the spec changed", 2, id="superseded: it stays"),
    ],
)
async def test_what_becomes_of_what_is_patched_says_the_reason(
    campaigns: Campaigns, fleet: Fleet, reason: str, standing: int
) -> None:
    handle = await campaigns.start(campaign(waves=SOAK))
    await campaigns.until(handle, soaking)
    await handle.cancel(reason=reason)

    story = await campaigns.story(handle)

    assert story.closed == "CANCELED"
    assert len(fleet.steps.patched) == standing
    assert len(patched.unpacked(story.patched or "")) == standing
    assert story.waves["fleet"] == "Skipped"
    fleet.assert_free()


async def test_with_releases_only_nothing_is_rolled_back_in_the_midst_either(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    handle = await held(campaigns, fleet, "verify")
    await handle.cancel(reason=names.CANCEL_DELETED_RELEASES_ONLY)

    story = await campaigns.story(handle)

    assert story.closed == "CANCELED"
    assert fleet.steps.targets("rollback") == []
    fleet.assert_free()


async def test_suspended_it_finishes_what_has_begun_and_goes_on_later(campaigns: Campaigns, fleet: Fleet) -> None:
    hold = fleet.troubles.hold("patch")
    handle = await campaigns.start(campaign(waves=[{"name": "all", "maxParallel": 2}], timeout_seconds=600))
    await hold.began.wait()
    await campaigns.runs.desire(handle, 1, suspended=True)
    fleet.troubles.release_holds()
    hold.let_go.set()
    await campaigns.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    assert len(fleet.steps.patched) == 2
    assert fleet.target_leases.holders == {}
    await campaigns.env.sleep(100_000)
    await campaigns.runs.desire(handle, 2, suspended=False)

    story = await campaigns.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert len(fleet.steps.targets("patch")) == 4
    fleet.assert_free()


async def signalled(campaigns: Campaigns, workflow_id: str, name: str) -> None:
    """Wait until a workflow has heard of something."""
    handle = campaigns.env.client.get_workflow_handle(workflow_id)
    async with asyncio.timeout(60):
        while True:
            async for event in handle.fetch_history_events():
                if event.workflow_execution_signaled_event_attributes.signal_name == name:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("call", PHASES[2:])
async def test_suspended_in_any_phase_its_target_comes_to_its_end_and_no_other_is_begun(
    campaigns: Campaigns, fleet: Fleet, call: str
) -> None:
    hold = fleet.troubles.hold(call)
    given = campaign(verify={"procedure": "smoke"}, waves=[{"name": "all"}], timeout_seconds=600)
    handle = await campaigns.start(given)
    await hold.began.wait()
    await campaigns.runs.desire(handle, 1, suspended=True)
    await signalled(campaigns, names.batch_workflow_id(handle.id, "all", 1), names.SIGNAL_HALT)
    fleet.troubles.release_holds()
    hold.let_go.set()
    await campaigns.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    assert (len(fleet.steps.patched), fleet.target_leases.holders) == (1, {})
    assert [node.name for node in fleet.nodes.nodes.values() if node.run or node.unschedulable] == []
    await campaigns.env.sleep(100_000)
    assert len(fleet.steps.patched) == 1
    await campaigns.runs.desire(handle, 2, suspended=False)

    story = await campaigns.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert sorted(fleet.steps.targets("patch")) == sorted(fleet.nodes.nodes)
    fleet.assert_free()


@pytest.mark.parametrize("call", ["secret", *PHASES[2:]])
async def test_a_call_that_hangs_is_given_up_and_made_again(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(calling, "ACTIVITY_TIMEOUT", timedelta(seconds=3))
    hold = fleet.troubles.hold(call)
    handle = await campaigns.start(campaign(verify={"procedure": "smoke"}))
    await hold.began.wait()
    fleet.troubles.release_holds()

    story = await campaigns.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert sorted(fleet.steps.targets("patch")) == sorted(fleet.nodes.nodes)
    hold.let_go.set()
    fleet.assert_free()


async def test_out_of_time_what_is_patched_stays_and_the_rest_is_given_back(campaigns: Campaigns, fleet: Fleet) -> None:
    waves = [{"name": "canary", "size": 1, "soak": "1m"}, {"name": "fleet"}]
    # Whatever comes after the canary meets an API server that is away until the time is up.
    given = campaign(waves=waves, timeout_seconds=300, failurePolicy={"action": "RollbackAll"})
    handle = await campaigns.start(given)
    await campaigns.until(handle, soaking)
    fleet.troubles.before["patch"] = [ApiUnavailableError("the API server is away") for _ in range(30)]

    story = await campaigns.story(handle)

    assert story.failure_type == "RunTimedOut"
    assert len(fleet.steps.patched) >= 1
    assert story.result.targets is not None
    assert story.result.targets.patched == len(fleet.steps.patched)
    assert story.result.compensation.left == []
    fleet.assert_free()


CALLS = [
    "secret",
    "create",
    "select",
    "acquire",
    "mark",
    "pods",
    "patch",
    "reboot",
    "verify",
    "unmark",
    "release_lease",
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_worker_that_dies_after_an_effect_repeats_nothing(
    campaigns: Campaigns, fleet: Fleet, call: str
) -> None:
    fleet.steps.results["patch"] = {"rebootRequired": "true"}
    fleet.troubles.after[call] = [ApiUnavailableError("died right after") for _ in range(2)]

    story = await campaigns.carried_out(campaign(verify={"procedure": "smoke"}))

    assert story.result.phase == Phase.SUCCEEDED
    for use in ("patch", "reboot", "verify"):
        assert sorted(fleet.steps.targets(use)) == sorted(fleet.nodes.nodes)
    assert {node.boot_id for node in fleet.nodes.nodes.values()} == {"2"}
    fleet.assert_free()


@pytest.mark.parametrize("call", [*CALLS, "get_node", "held", "marked"])
async def test_what_is_away_for_a_while_is_tried_again(campaigns: Campaigns, fleet: Fleet, call: str) -> None:
    fleet.troubles.before[call] = [ApiUnavailableError("the API server is away") for _ in range(5)]
    fleet.steps.results["patch"] = {"rebootRequired": "true"}

    story = await campaigns.carried_out(campaign(verify={"procedure": "smoke"}))

    assert story.result.phase == Phase.SUCCEEDED
    fleet.assert_free()


async def test_a_release_that_takes_long_is_tried_until_it_is_done(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.troubles.before["unmark"] = [ApiUnavailableError("the API server is away") for _ in range(40)]

    story = await campaigns.carried_out(campaign())

    assert story.result.phase == Phase.SUCCEEDED
    fleet.assert_free()


async def test_a_lost_job_is_carried_out_again(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_targets, "SIGNS_SECONDS", 0.1)
    fleet.steps.script["patch"] = [Running("no node takes it"), Lost("its node was drained")]

    story = await campaigns.carried_out(campaign())

    assert story.result.phase == Phase.SUCCEEDED
    assert len(fleet.steps.targets("patch")) == 4
    fleet.assert_free()


async def test_a_reboot_that_nobody_heard_is_due_is_asked_for_again(campaigns: Campaigns, fleet: Fleet) -> None:
    declared = PATCH.spec.model_copy(update={"results": [ResultDeclaration(name="rebootRequired")]})
    patch = PATCH.model_copy(update={"spec": declared})
    fleet.steps.script["patch/node-000"] = [Succeeded()]
    fleet.steps.results["patch"] = {"rebootRequired": "true"}

    story = await campaigns.carried_out(campaign(procedures=PROCEDURES | {"patch": patch}))

    assert story.result.phase == Phase.SUCCEEDED
    assert fleet.steps.targets("patch").count("node-000") == 2
    assert sorted(fleet.steps.targets("reboot")) == sorted(fleet.nodes.nodes)
    fleet.assert_free()


async def test_a_campaign_goes_on_in_another_execution_between_waves(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "HISTORY_LIMIT", 1)
    waves = [{"name": "a", "size": 1}, {"name": "b", "size": 2}, {"name": "c"}]
    fleet.steps.script["patch"] = [
        *[Succeeded(pod="p")] * 3,
        Failed("exit code 3", exit_code=3, pod="p", container="step"),
    ]
    handle = await campaigns.start(campaign(waves=waves, failurePolicy={"action": "RollbackAll"}))

    story = await campaigns.story(handle)

    latest = await campaigns.env.client.get_workflow_handle(handle.id).describe()
    assert latest.run_id != handle.first_execution_run_id
    assert story.failure_type == "TooManyFailures"
    assert story.cells == ["R", "R", "RF"]
    assert fleet.steps.patched == set()
    fleet.assert_free()
