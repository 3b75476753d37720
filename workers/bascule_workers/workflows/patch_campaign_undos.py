"""The workflow PatchCampaignUndo: whatever a run was doing when it was ended, its nodes are given back."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.fleets import Target
    from bascule_api.patch_campaigns import PatchCampaignUndoInput
    from bascule_api.progress import UndoResult
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.messages import (
        Done,
        Earlier,
        Left,
        NotYet,
        PrepareRequest,
        ReleaseRequest,
        StepRequest,
        StopJobsRequest,
    )
    from bascule_workers.patch_campaigns import BatchReport, Held, HeldRequest
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.fleet_progress import FleetWave
    from bascule_workers.plans.patch_campaigns import PLAN
    from bascule_workers.workflows.batches import Batches
    from bascule_workers.workflows.calling import Activity
    from bascule_workers.workflows.held import CREDENTIALS, HELD, JOBS, PARALLEL, STANDING, looked_up, released
    from bascule_workers.workflows.trouble import trouble_of
    from bascule_workers.workflows.undo import Undo


@workflow.defn(name=names.undo_workflow("PatchCampaign"))
class PatchCampaignUndoWorkflow(Undo):
    """Takes back what a run of a PatchCampaign left."""

    kind = "PatchCampaign"

    @workflow.init
    def __init__(self, undo: PatchCampaignUndoInput) -> None:
        super().__init__(undo)
        self.undo = undo
        self.batches = Batches(plans.undo_campaign(undo), lambda _: self.touch())

    @workflow.run
    async def run(self, undo: PatchCampaignUndoInput) -> UndoResult:
        """Returns how it went; it completes also where something is left."""
        return await self.live()

    @workflow.signal(name=names.SIGNAL_REPORT)
    def report(self, report: BatchReport) -> None:
        """A batch tells how its targets stand."""
        self.batches.report(report)

    def register(self) -> None:
        common = plans.undo_common(self.undo, PLAN)
        release = ReleaseRequest(**common, earlier=Earlier.ALL if self.undo.final else Earlier.NONE)
        self.saga.release(CREDENTIALS, RunActivities.release_all, release)
        if self.undo.effects.rollback is not None:
            self.saga.undo(STANDING, None, plans.undo_request(self.undo, standing=True))
        self.saga.release(HELD, None, plans.undo_request(self.undo, standing=False))
        # First of all: what still runs could go on patching.
        self.saga.release(JOBS, RunActivities.stop_jobs, StopJobsRequest(**common, finished_too=True))

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        if not isinstance(request, HeldRequest):
            return await super().take_back(activity, request)
        report = await looked_up(self, request)
        if isinstance(report, NotYet):
            return report
        seconds = self._settling.seconds_left(self)
        if request.records:
            return Done(value=await self._standing(report.value, seconds))
        return Done(value=await self._held(report.value, seconds))

    async def _held(self, held: Held, seconds: int) -> Left:
        """Give back what the run holds, whatever state it is in; rolled back first, if that is wanted and possible."""
        if not held.held:
            return Left()
        problem = await self._pinned(held) if self._wanted else ""
        if self._wanted and not problem:
            wave = FleetWave("held", held.held)
            left = await self.batches.roll_back(wave, range(len(held.held)), PARALLEL, seconds)
            return Left(items=left, found=len(held.held))
        done = await released(self.batches, held.held, seconds)
        return done.model_copy(update={"items": done.items + (self._told(held.held, problem) if problem else [])})

    async def _standing(self, held: Held, seconds: int) -> Left:
        """Roll back what runs patched."""
        if not held.patched:
            return Left(items=held.unknown)
        if problem := await self._pinned(held):
            return Left(items=[*held.unknown, *self._told(held.patched, problem)])
        wave = FleetWave("standing", held.patched)
        left = await self.batches.roll_back(wave, range(len(held.patched)), PARALLEL, seconds)
        return Left(items=[*held.unknown, *left], found=len(held.patched))

    @property
    def _wanted(self) -> bool:
        return self.undo.undo and self.undo.effects.rollback is not None

    async def _pinned(self, held: Held) -> str:
        """Copy the keys that a rollback logs in with. Returns why nothing can be rolled back."""
        if self.batches.campaign.spec.rollback is None:
            return plans.undo_problem(self.undo)
        self.batches.files = held.files
        secrets = plans.undo_secrets(self.undo)
        if not secrets:
            return ""
        prepare = PrepareRequest(**plans.undo_common(self.undo, PLAN), secrets=secrets, compensating=True)
        try:
            await self.call(RunActivities.prepare, prepare)
        except ActivityError as error:
            trouble = trouble_of(error)
            if trouble.retryable:
                raise
            return trouble.message
        return ""

    def _told(self, targets: list[Target], problem: str) -> list[str]:
        return [f"{plans.reference(self.batches.campaign, target)}: {problem}" for target in targets]
