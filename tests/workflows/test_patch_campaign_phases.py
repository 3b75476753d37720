"""What is told of a target while it is at work: each of its phases, where they are few that are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bascule_api.conditions import Phase
from bascule_api.progress import Progress
from bascule_codec import Keyring, data_converter
from bascule_workers.workflows import patch_batches, reporting
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import campaign
from tests.support.temporal import serving_runs

CALLS = {
    "acquire": "Acquiring",
    "pods": "Draining",
    "patch": "Patching",
    "reboot": "Rebooting",
    "verify": "Verifying",
    "unmark": "Releasing",
}
"""A call of each phase of a target, in their order."""


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(1)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def test_a_single_target_is_told_in_each_of_its_phases(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_batches, "REPORT_PAUSE", timedelta(seconds=0.1))
    monkeypatch.setattr(reporting, "LONGEST_PATIENCE", timedelta(seconds=0.1))
    fleet.steps.results["patch"] = {"rebootRequired": "true"}
    holds = {call: fleet.troubles.hold(call) for call in CALLS}
    handle = await campaigns.start(campaign(verify={"procedure": "smoke"}, waves=[{"name": "all"}]))

    for call, phase in CALLS.items():
        await holds[call].began.wait()
        # Held, it stays in that phase: the campaign has to tell it meanwhile.
        await campaigns.until(handle, lambda told, phase=phase: phases(told) == [phase])  # type: ignore[misc]
        del fleet.troubles.holds[call]
        holds[call].let_go.set()

    assert (await campaigns.story(handle)).result.phase == Phase.SUCCEEDED
    fleet.assert_free()


def phases(told: Progress) -> list[str]:
    return [target["phase"] for target in told.facts.get("targets", {}).get("inProgress", [])]
