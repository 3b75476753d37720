"""A batch that somebody ends in Temporal, on its real server: the campaign hears of it, and nothing stays held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from bascule_api import names
from bascule_codec import Keyring, data_converter
from bascule_workers.workflows import undo
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import campaign
from tests.support.runs import Runs
from tests.support.temporal import add_search_attributes, dev_server, worker_of


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(4)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=dev_server(),
        dev_server_extra_args=["--headless"],
        data_converter=data_converter(Keyring.generate(), "default"),
    ) as env:
        await add_search_attributes(env.client)
        runs = Runs(env)
        async with worker_of(runs, fleet):
            yield Campaigns(runs)


async def test_a_batch_that_somebody_ends_counts_as_failed_where_it_was_at_work(
    campaigns: Campaigns, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo, "LAST_WORDS", timedelta(seconds=0.1))
    hold = fleet.troubles.hold("patch")
    given = campaign(waves=[{"name": "all", "maxParallel": 2}])
    handle = await campaigns.start(given)
    await hold.began.wait()
    await campaigns.until(handle, lambda told: told.facts.get("targets", {}).get("inProgress"))
    batch = names.batch_workflow_id(handle.id, "all", 1)
    fleet.troubles.release_holds()
    await campaigns.env.client.get_workflow_handle(batch).terminate(reason="by hand")
    hold.let_go.set()

    story = await campaigns.story(handle)

    assert story.failure_type == "TooManyFailures"
    assert "somebody ended" in (story.result.failure.message if story.result.failure else "")
    assert fleet.steps.patched == set()
    fleet.assert_free()
