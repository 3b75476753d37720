"""Giving back what a campaign's run still holds: nodes with its label, and targets whose Lease is its own."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.fleets import Target
    from bascule_workers.activities.patch_campaigns import PatchCampaignActivities
    from bascule_workers.messages import Done, Left, NotYet
    from bascule_workers.patch_campaigns import Held, HeldRequest
    from bascule_workers.plans.fleet_progress import FleetWave
    from bascule_workers.workflows.batches import Batches
    from bascule_workers.workflows.calling import Calling

PARALLEL = 20
"""Targets that are given back at a time."""

CREDENTIALS = "delete the run's copies"
JOBS = "stop the run's Jobs"
HELD = "release what is held"
STANDING = "roll back what was patched"


async def looked_up(run: Calling, request: HeldRequest) -> Done[Held] | NotYet:
    """What is held, and what was patched: one attempt."""
    return await run.call(PatchCampaignActivities.held, request)


async def given_back(run: Calling, batches: Batches, request: HeldRequest, seconds: int) -> Done[Left] | NotYet:
    """Release what is held, and take nothing back: one attempt of a counterweight."""
    report = await looked_up(run, request)
    if isinstance(report, NotYet):
        return report
    return Done(value=await released(batches, report.value.held, seconds))


async def released(batches: Batches, targets: list[Target], seconds: int) -> Left:
    """Release targets, and take nothing back."""
    wave = FleetWave("held", targets)
    left = await batches.roll_back(wave, range(len(targets)), PARALLEL, seconds, release_only=True)
    return Left(items=left, found=len(targets) - len(left))
