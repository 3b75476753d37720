"""Giving back what a campaign's run still holds: nodes with its label, and targets whose Lease is its own."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_workers.activities.patch_campaigns import PatchCampaignActivities
    from bascule_workers.messages import Done, Left, NotYet
    from bascule_workers.patch_campaigns import Held, HeldRequest
    from bascule_workers.plans.fleet_progress import FleetWave
    from bascule_workers.workflows.batches import Batches
    from bascule_workers.workflows.calling import Calling

PARALLEL = 20
"""Targets that are given back at a time."""
HELD = "held"
STANDING = "standing"


async def looked_up(run: Calling, request: HeldRequest) -> Done[Held] | NotYet:
    """What is held, and what was patched: one attempt."""
    return await run.call(PatchCampaignActivities.held, request)


async def given_back(run: Calling, batches: Batches, request: HeldRequest, seconds: int) -> Done[Left] | NotYet:
    """Release what is held, and take nothing back: one attempt of a counterweight."""
    report = await looked_up(run, request)
    if isinstance(report, NotYet):
        return report
    wave = FleetWave(HELD, report.value.held)
    left = await batches.roll_back(wave, range(len(wave.targets)), PARALLEL, seconds, release_only=True)
    return Done(value=Left(items=left, found=len(wave.targets) - len(left)))
