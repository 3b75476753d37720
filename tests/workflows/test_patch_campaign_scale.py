"""How large histories become: a thousand targets, and what five thousand would cost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.fleets import Target
from bascule_codec import Keyring, data_converter
from bascule_workers.messages import Done, Left, NotYet, PrepareRequest, ReleaseRequest
from bascule_workers.patch_campaigns import (
    Acquired,
    AcquireRequest,
    DrainRequest,
    Held,
    HeldRequest,
    JobReport,
    Plan,
    PlanRequest,
    ReadyRequest,
    ReleaseTargetRequest,
    TargetJobRequest,
)
from bascule_workers.plans import waves
from bascule_workers.supervisor import WORKFLOWS, activities_of
from tests.support.campaign_runs import Campaigns
from tests.support.campaigns import campaign
from tests.support.runs import Runs
from tests.support.temporal import patient, skipping_time

TARGETS = 1_000


class Scripted:
    """A fleet at which everything succeeds at once."""

    def __init__(self, count: int) -> None:
        self._targets = [
            Target(name=f"ip-10-0-{index // 250}-{index % 250}", zone=f"z{index % 3}") for index in range(count)
        ]
        self.patched: list[str] = []

    @activity.defn(name="run.prepare")
    async def prepare(self, request: PrepareRequest) -> Done[Left] | NotYet:
        return Done(value=Left())

    @activity.defn(name="run.release_all")
    async def release_all(self, request: ReleaseRequest) -> Done[Left] | NotYet:
        return Done(value=Left())

    @activity.defn(name="patch_campaign.plan")
    async def plan(self, request: PlanRequest) -> Done[Plan] | NotYet:
        return Done(value=waves.plan(self._targets, request.waves, request.order, request.procedures))

    @activity.defn(name="patch_campaign.held")
    async def held(self, request: HeldRequest) -> Done[Held] | NotYet:
        return Done(value=Held(held=[], patched=[]))

    @activity.defn(name="patch_target.acquire")
    async def acquire(self, request: AcquireRequest) -> Done[Acquired] | NotYet:
        return Done(value=Acquired(boot_id="1", cordoned=True))

    @activity.defn(name="patch_target.drain")
    async def drain(self, request: DrainRequest) -> Done[Left] | NotYet:
        return Done(value=Left())

    @activity.defn(name="patch_target.run_procedure")
    async def run_procedure(self, request: TargetJobRequest) -> Done[JobReport] | NotYet:
        self.patched.append(request.target.name)
        return Done(value=JobReport())

    @activity.defn(name="patch_target.ready")
    async def ready(self, request: ReadyRequest) -> Done[Left] | NotYet:
        return Done(value=Left())

    @activity.defn(name="patch_target.release")
    async def release(self, request: ReleaseTargetRequest) -> Done[Left] | NotYet:
        return Done(value=Left())


@pytest.fixture
async def campaigns() -> AsyncIterator[Campaigns]:
    async with skipping_time(data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


def worker(runs: Runs, fleet: Scripted) -> Worker:
    return patient(
        Worker(
            runs.env.client,
            task_queue=names.task_queue("acme"),
            workflows=WORKFLOWS,
            activities=activities_of(fleet),
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
    )


async def history_of(env: WorkflowEnvironment, workflow: str) -> tuple[int, int]:
    """Events and bytes."""
    history = await env.client.get_workflow_handle(workflow).fetch_history()
    return len(history.events), sum(event.ByteSize() for event in history.events)


async def test_histories_stay_small_at_a_thousand_targets(campaigns: Campaigns) -> None:
    fleet = Scripted(TARGETS)
    given = campaign(waves=[{"name": "all", "maxParallel": 100}])
    async with worker(campaigns.runs, fleet):
        story = await campaigns.story(await campaigns.start(given), seconds=400)

    assert story.result.phase == Phase.SUCCEEDED
    assert len(fleet.patched) == len(set(fleet.patched)) == TARGETS
    run = names.workflow_id("PatchCampaign", given.run.uid, 1)
    events, size = await history_of(campaigns.env, run)
    child_events, child_size = await history_of(campaigns.env, names.batch_workflow_id(run, "all", 1))
    print(f"\ncampaign of {TARGETS}: {events} events, {size} bytes")
    print(f"a batch of 50: {child_events} events, {child_size} bytes")
    # What a campaign of 5,000 may have is a fifth of Temporal's limits: 10,240 events and 10 MB.
    assert events * 5_000 // TARGETS < 10_240
    assert size * 5_000 // TARGETS < 10_000_000
    assert child_events < 5_000
