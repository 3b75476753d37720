"""The workflow PatchCampaignUndo: whatever a campaign was doing when it was ended, no node stays held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest
from temporalio.service import RPCError

from bascule_api import names
from bascule_api.fleets import Target
from bascule_api.patch_campaign_status import Patched
from bascule_api.patch_campaigns import PatchCampaignInput
from bascule_codec import Keyring, data_converter
from bascule_workers.errors import ApiUnavailableError
from bascule_workers.plans import patch_campaigns as plans
from bascule_workers.plans.waves import ordered
from bascule_workers.ports.audit import Moment
from bascule_workers.workflows import undo
from tests.support.campaign_runs import Campaigns, Fleet, undo_of
from tests.support.campaigns import PATCH, campaign
from tests.support.temporal import serving_runs

ZONE = "topology.kubernetes.io/zone"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test server does not skip time any more once a run was terminated in an activity."""
    monkeypatch.setattr(undo, "LAST_WORDS", timedelta(seconds=0.1))


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(3)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def terminated(campaigns: Campaigns, fleet: Fleet, given: PatchCampaignInput, call: str, *, after: bool) -> None:
    """A campaign that somebody ends while it makes a call, with its batches; its activity hears of it and ends too."""
    hold = fleet.troubles.hold_after(call) if after else fleet.troubles.hold(call)
    handle = await campaigns.start(given)
    await hold.began.wait()
    fleet.troubles.release_holds()
    await handle.terminate(reason="by hand")
    for wave in given.spec.waves:
        for number in (1, 2):
            batch = campaigns.env.client.get_workflow_handle(names.batch_workflow_id(handle.id, wave.name, number))
            # It never began, or the server ended it along with its parent.
            with suppress(RPCError):
                await batch.terminate(reason="its campaign was ended")
    async with asyncio.timeout(60):
        await fleet.audit.happened(Moment.CANCELLED)


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("call", ["select", "acquire", "mark", "patch", "verify", "unmark", "release_lease"])
async def test_of_a_campaign_that_was_terminated_in_any_call_nothing_is_held(
    campaigns: Campaigns, fleet: Fleet, call: str, after: bool
) -> None:
    given = campaign(verify={"procedure": "smoke"})
    await terminated(campaigns, fleet, given, call, after=after)

    result = await campaigns.undone(undo_of(given))

    assert result.compensation.left == []
    assert result.compensation.state.settled
    # A verified one whose node is given back already has no mark: its batch's record tells.
    assert fleet.steps.patched == set()
    fleet.assert_free()


async def test_what_an_earlier_execution_of_the_run_patched_goes_back_as_well(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memo of a run that continued as new names the batches of its last execution only."""
    monkeypatch.setattr(plans, "HISTORY_LIMIT", 1)
    given = campaign(waves=[{"name": "canary", "size": 2, "maxParallel": 2}, {"name": "rest"}])
    targets = [Target(name=node.name, zone=node.labels[ZONE]) for node in fleet.nodes.nodes.values()]
    last = ordered(targets, plans.order(given.spec))[-1].name

    await terminated(campaigns, fleet, given, f"patch/{last}", after=False)
    standing = set(fleet.steps.patched)
    result = await campaigns.undone(undo_of(given))

    assert standing == set(fleet.nodes.nodes) - {last}
    assert (result.compensation.state, result.compensation.left) == ("Succeeded", [])
    assert fleet.steps.patched == set()
    fleet.assert_free()


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("call", ["acquire", "patch", "release_lease"])
async def test_of_a_campaign_at_hosts_that_was_terminated_nothing_is_held(
    campaigns: Campaigns, fleet: Fleet, call: str, after: bool
) -> None:
    given = campaign(**fleet.with_hosts())
    await terminated(campaigns, fleet, given, call, after=after)

    result = await campaigns.undone(undo_of(given))

    assert result.compensation.left == []
    assert result.compensation.state.settled
    assert fleet.steps.patched == set()
    fleet.assert_free()


async def test_what_finished_runs_patched_at_hosts_goes_back_where_they_are_still_listed(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    given = campaign(**fleet.with_hosts())
    await campaigns.carried_out(given)
    standing = [Patched(run=1, workflow_id=names.workflow_id("PatchCampaign", given.run.uid, 1), count=3)]

    result = await campaigns.undone(undo_of(given, standing=standing, abandoned=False, final=True))

    assert (result.compensation.state, result.compensation.left) == ("Succeeded", [])
    assert sorted(fleet.steps.targets("rollback")) == ["db-1", "db-2", "db-3"]
    fleet.assert_free()


async def test_releases_only_takes_no_patch_back(campaigns: Campaigns, fleet: Fleet) -> None:
    given = campaign(verify={"procedure": "smoke"})
    await terminated(campaigns, fleet, given, "verify", after=False)

    result = await campaigns.undone(undo_of(given, undo=False))

    assert result.compensation.left == []
    assert fleet.steps.targets("rollback") == []
    fleet.assert_free()


async def test_what_finished_runs_patched_goes_back(campaigns: Campaigns, fleet: Fleet) -> None:
    given = campaign()
    await campaigns.carried_out(given)
    standing = [Patched(run=1, workflow_id=names.workflow_id("PatchCampaign", given.run.uid, 1), count=3)]

    result = await campaigns.undone(undo_of(given, standing=standing, abandoned=False, final=True))

    assert (result.compensation.state, result.compensation.left) == ("Succeeded", [])
    assert sorted(fleet.steps.targets("rollback")) == sorted(fleet.nodes.nodes)
    assert fleet.steps.patched == set()
    fleet.assert_free()


async def test_a_record_that_is_gone_is_told(campaigns: Campaigns, fleet: Fleet) -> None:
    given = campaign()
    gone = [Patched(run=1, workflow_id="patchcampaign/gone/1", count=3)]

    result = await campaigns.undone(undo_of(given, standing=gone, abandoned=False))

    assert (result.compensation.state, len(result.compensation.left)) == ("Failed", 1)
    assert "3 targets of run 1" in result.compensation.left[0]


async def test_a_rollback_that_cannot_be_used_is_told_and_the_node_given_back(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    given = campaign()
    await terminated(campaigns, fleet, given, "patch", after=False)

    result = await campaigns.undone(
        undo_of(given, procedures={"patch": PATCH}, unpinned={"rollback": "there is no Procedure rollback"})
    )

    assert [item.partition(": ")[2] for item in result.compensation.left] == ["there is no Procedure rollback"]
    fleet.assert_free()


async def test_an_api_server_that_is_away_is_waited_for(campaigns: Campaigns, fleet: Fleet) -> None:
    given = campaign()
    await campaigns.carried_out(given)
    for call in ("marked", "held", "select", "acquire", "unmark"):
        fleet.troubles.before[call] = [ApiUnavailableError("the API server is away") for _ in range(4)]
    standing = [Patched(run=1, workflow_id=names.workflow_id("PatchCampaign", given.run.uid, 1), count=3)]

    result = await campaigns.undone(undo_of(given, standing=standing, abandoned=False))

    assert result.compensation.left == []
    assert fleet.steps.patched == set()
    fleet.assert_free()
