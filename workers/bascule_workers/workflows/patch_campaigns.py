"""The workflow PatchCampaign: plan, then wave after wave: approval, window, batches, soak, gates. And back again."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.conditions import Phase, StepState
    from bascule_api.failures import Failure, FailureType
    from bascule_api.fleets import TargetPhase
    from bascule_api.patch_campaign_specs import FailureAction, Mode, Wave
    from bascule_api.patch_campaign_status import WaveState
    from bascule_api.patch_campaigns import PatchCampaignInput, PatchCampaignResult
    from bascule_api.progress import PROGRESS_LIMIT, Progress
    from bascule_workers.activities.patch_campaigns import PatchCampaignActivities
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.messages import (
        Done,
        Left,
        NotYet,
        PrepareRequest,
        ReleaseRequest,
        StepRequest,
        StopJobsRequest,
    )
    from bascule_workers.patch_campaigns import (
        BatchReport,
        HeldRequest,
        ReleaseHeldRequest,
        RollBackRequest,
    )
    from bascule_workers.plans import failures, fleet_progress, patched
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.fleet_progress import Fleet, FleetSnapshot, FleetWave
    from bascule_workers.plans.patch_campaigns import PLAN
    from bascule_workers.plans.progress import size
    from bascule_workers.workflows.batches import Batches
    from bascule_workers.workflows.calling import Activity
    from bascule_workers.workflows.campaign_gates import CampaignGates
    from bascule_workers.workflows.held import CREDENTIALS, HELD, JOBS, PARALLEL, given_back
    from bascule_workers.workflows.trouble import Ended
    from bascule_workers.workflows.undo import LAST_WORDS

_OPEN = (WaveState.SUCCEEDED, WaveState.SKIPPED)


@workflow.defn(name="PatchCampaign")
class PatchCampaignWorkflow(CampaignGates):
    """One run of a PatchCampaign."""

    kind = "PatchCampaign"

    @workflow.init
    def __init__(self, campaign: PatchCampaignInput) -> None:
        super().__init__(campaign)
        self.fleet: Fleet | None = None
        self.batches = Batches(plans.batch_input_campaign(campaign), self._moved)
        self._begun: dict[str, list[int]] = {}
        """What the memo says of its batches."""
        self._recorded = 0
        """How many targets the memo says were patched."""

    @workflow.run
    async def run(self, campaign: PatchCampaignInput) -> PatchCampaignResult:
        """Returns what was patched. Fails with the type of the failure; ends cancelled when cancelled."""
        return PatchCampaignResult.model_validate(await self.live())

    @workflow.signal(name=names.SIGNAL_REPORT)
    def report(self, report: BatchReport) -> None:
        """A batch tells how its targets stand."""
        self.batches.report(report)

    # The story

    async def body(self) -> None:
        fleet = self.fleet or await self._plan()
        if self.campaign.spec.mode == Mode.PLAN:
            return
        for wave, spec in zip(fleet.waves, self.campaign.spec.waves, strict=True):
            if wave.state in _OPEN:
                continue
            await self._wave(fleet, wave, spec)
            if wave is not fleet.waves[-1] and workflow.info().get_current_history_length() > plans.HISTORY_LIMIT:
                await self.continue_as_new(fleet.snapshot())

    async def _plan(self) -> Fleet:
        """Pin what the run needs, and fix which target is patched in which wave."""
        self._register()
        secrets = PrepareRequest(**self._common(PLAN), secrets=plans.secret_uses(self.campaign.spec))
        await self.step(PLAN, RunActivities.prepare, secrets, ends=False)
        plan = await self.step(PLAN, PatchCampaignActivities.plan, plans.plan_request(self.campaign))
        fleet = Fleet.of(plan)
        self._take(fleet)
        return fleet

    def _register(self) -> None:
        """Whatever comes: what the run holds is given back, and its copies go last."""
        self.saga.release(CREDENTIALS, RunActivities.release_all, ReleaseRequest(**self._common(PLAN)))
        self.saga.release(HELD, None, ReleaseHeldRequest(**self._common(PLAN)))
        self.saga.release_unfinished(JOBS, RunActivities.stop_jobs, StopJobsRequest(**self._common(PLAN)))

    def _take(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.batches.files = fleet.plan.files
        self._moved(True)

    async def _wave(self, fleet: Fleet, wave: FleetWave, spec: Wave) -> None:
        step = plans.wave_step(wave.name)
        record = self.steps[step]
        if not wave.targets:
            wave.state = WaveState.SKIPPED
            self.not_needed(step, "no targets are left for it")
            record.finished = self.now()
            return
        try:
            wave.state = WaveState.WAITING
            await self.approved(wave.name, fleet.plan.digest, spec.approval)
            await self._boundary()
            record.state, record.started = StepState.RUNNING, record.started or self.now()
            wave.state, wave.started = WaveState.RUNNING, wave.started or self.now()
            self._register_rollback(wave)
            await self._patched(fleet, wave, spec)
            await self._soaked(wave, spec)
            for gate in self.campaign.spec.gates:
                await self._passed(wave, gate)
        except Ended as ended:
            record.message = ended.failure.message
            self._over_with(fleet, wave, StepState.FAILED)
            raise
        except asyncio.CancelledError:
            self._over_with(fleet, wave, StepState.CANCELLED)
            raise
        self._over_with(fleet, wave, StepState.SUCCEEDED)

    def _over_with(self, fleet: Fleet, wave: FleetWave, state: StepState) -> None:
        record = self.steps[plans.wave_step(wave.name)]
        if record.started is not None:
            record.state, record.finished = state, self.now()
        if wave.started is not None or state == StepState.FAILED:
            wave.state = WaveState.SUCCEEDED if state == StepState.SUCCEEDED else WaveState.FAILED
            wave.finished = self.now()
        self._record(fleet, whole=True)
        self.touch()

    def _register_rollback(self, wave: FleetWave) -> None:
        if self.campaign.spec.rollback is not None:
            step = plans.wave_step(wave.name)
            request = RollBackRequest(**self._common(step), wave=wave.name)
            self.saga.undo(_rollback_of(wave), None, request, step=step)

    # Its targets

    async def _patched(self, fleet: Fleet, wave: FleetWave, spec: Wave) -> None:
        """Have batches patch the wave's targets, until all are over or too many have failed."""
        allowed = plans.allowed_failures(self.campaign.spec, fleet.total)
        parallel = plans.parallel(spec, len(wave.targets))
        try:
            while fleet.failing <= allowed and (self.batches.running or self.batches.waiting(wave)):
                if not self.batches.running:
                    await self._boundary()
                    await self._window(wave)
                    wave.state = WaveState.RUNNING
                self._hand_out(wave, parallel, allowed - fleet.failing)
                await self._news()
                self._check_ending()
                await self._take_care_of_lost(wave)
                if self._desired.suspended:
                    self.batches.halt()
            self.batches.halt()
            await self.batches.ended()
        except asyncio.CancelledError:
            # Cancelled, or out of time: what has begun is taken back, and nothing goes on behind the run's back.
            self.batches.give_up(releases_only=self._releases_only())
            await self.batches.ended()
            raise
        if fleet.failed > allowed:
            raise Ended(_too_many(plans.wave_step(wave.name), fleet, allowed))

    def _hand_out(self, wave: FleetWave, parallel: int, may_fail: int) -> None:
        """Begin as many batches as there may be targets at work."""
        if self._desired.suspended or (self._closes_at and self.now() >= self._closes_at):
            return
        if any(batch.halted for batch in self.batches.running.values()):
            return
        waiting, free = self.batches.waiting(wave), parallel - self.batches.busy
        while waiting and (share := plans.share_of_batch(free, parallel)):
            chosen = waiting[: plans.batch_size(share)]
            share = min(share, len(chosen))
            self.batches.begin(wave, chosen, share, closes_at=self._closes_at, may_fail=may_fail)
            waiting, free = waiting[len(chosen) :], free - share

    async def _news(self) -> None:
        suspended = self._desired.suspended
        await workflow.wait_condition(lambda: self.batches.news or self._desired.suspended != suspended)
        self.batches.news = False

    async def _take_care_of_lost(self, wave: FleetWave) -> None:
        """Release what a batch held that somebody ended. What it had begun counts as failed."""
        while self.batches.lost:
            batch = self.batches.lost.pop()
            await workflow.sleep(LAST_WORDS)
            dirty = [index for index in batch.indices if wave.reports[index].dirty]
            await self.batches.roll_back(wave, dirty, PARALLEL, self.campaign.compensation.timeout.seconds)

    @property
    def _idle(self) -> bool:
        return super()._idle and not self.batches.running

    # Going on in another execution

    def resume(self, state: dict[str, Any]) -> None:
        fleet = Fleet.restored(FleetSnapshot.model_validate(state))
        self._take(fleet)
        self._register()
        for wave in fleet.waves:
            if wave.started is not None:
                self._register_rollback(wave)

    # The end

    def before_settling(self, outcome: Phase) -> None:
        # Who cancels or deletes wants nothing to stay; a failure's Jobs stay readable for an hour.
        self.saga.amend(JOBS, finished_too=outcome == Phase.CANCELLED)
        fleet = self.fleet
        if fleet is None:
            return
        wanted = self._goes_back(outcome)
        for wave in fleet.waves:
            if wave.state == WaveState.PENDING and outcome != Phase.SUCCEEDED:
                wave.state = WaveState.SKIPPED
            self.saga.amend(_rollback_of(wave), patched=wave.name in wanted)
            if not self._to_roll_back(wave, patched=wave.name in wanted):
                self.saga.drop(_rollback_of(wave))

    def _goes_back(self, outcome: Phase) -> set[str]:
        """Names of the waves whose patched targets are rolled back."""
        waves = self.fleet.waves if self.fleet else []
        begun = [wave.name for wave in waves if wave.started is not None]
        if outcome == Phase.CANCELLED:
            return set(begun) if workflow.cancellation_reason() == names.CANCEL_DELETED else set()
        if outcome == Phase.SUCCEEDED or (self.failure and self.failure.type == FailureType.RUN_TIMED_OUT):
            return set()
        match self.campaign.spec.failure_policy.action:
            case FailureAction.ROLLBACK_ALL:
                return set(begun)
            case FailureAction.ROLLBACK_WAVE:
                return {wave.name for wave in waves if wave.state == WaveState.FAILED}
            case FailureAction.HALT:
                return set()

    def _to_roll_back(self, wave: FleetWave, *, patched: bool) -> list[int]:
        """The last ones first."""
        return [
            report.index
            for report in reversed(wave.reports)
            if report.dirty or (patched and report.phase == TargetPhase.PATCHED)
        ]

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        seconds = self._settling.seconds_left(self)
        if isinstance(request, ReleaseHeldRequest):
            held = HeldRequest(**request.model_dump(), targets=self.campaign.spec.targets)
            held = held.model_copy(update={"node_selector": self.campaign.node_selector})
            return await given_back(self, self.batches, held, seconds)
        if not isinstance(request, RollBackRequest) or self.fleet is None:
            return await super().take_back(activity, request)
        wave = self.fleet.wave(request.wave)
        spec = next(spec for spec in self.campaign.spec.waves if spec.name == request.wave)
        indices = self._to_roll_back(wave, patched=request.patched)
        wave.state = WaveState.ROLLING_BACK
        left = await self.batches.roll_back(wave, indices, plans.parallel(spec, len(wave.targets)), seconds)
        wave.state = WaveState.FAILED if left or not request.patched else WaveState.ROLLED_BACK
        self._record(self.fleet, whole=True)
        return Done(value=Left(items=left, found=len(indices) - len(left)))

    def undone(self, name: str) -> None:
        """All that a campaign knows of its effects is in its fleet."""

    def result(self, common: dict[str, Any]) -> PatchCampaignResult:
        fleet = self.fleet
        if fleet is None:
            return PatchCampaignResult(**common)
        self._record(fleet, whole=True)
        return PatchCampaignResult(
            **common,
            plan=fleet.plan_status(),
            targets=fleet.targets_status(),
            waves=[wave.status() for wave in fleet.waves],
        )

    # How it is told

    def _moved(self, urgent: bool) -> None:
        """Something changed at a target."""
        if self.fleet is not None:
            for wave in self.fleet.waves:
                record = self.steps.get(plans.wave_step(wave.name))
                if record is not None and record.state == StepState.RUNNING:
                    record.note = _note(self.fleet, wave)
            self._record(self.fleet)
        if self.batches.begun != self._begun:
            self._begun = {name: list(numbers) for name, numbers in self.batches.begun.items()}
            self._reporting.more[names.MEMO_BATCHES] = self._begun
        if urgent:
            self.touch()
        else:
            self.stir()

    def _record(self, fleet: Fleet, *, whole: bool = False) -> None:
        """Have the memo say what was patched: now and then as it grows, so that its versions are few."""
        standing = fleet.patched_names()
        grown = abs(len(standing) - self._recorded)
        if grown >= max(1, self._recorded // 8) or (whole and grown):
            self._recorded = len(standing)
            self._reporting.more[names.MEMO_PATCHED] = patched.packed(standing)

    def _progress(self) -> Progress:
        told = super()._progress()
        if self.fleet is None:
            return told
        facts = fleet_progress.facts(self.fleet, PROGRESS_LIMIT - size(told) - 64)
        return told.model_copy(update={"facts": facts})

    def _common(self, step: str) -> dict[str, Any]:
        return plans.common(self.campaign, step)


def _rollback_of(wave: FleetWave) -> str:
    return f"roll back {wave.name}"


def _note(fleet: Fleet, wave: FleetWave) -> str:
    over = wave.count(*fleet_progress.OVER)
    busy = fleet.targets_status().in_progress
    told = f"{over} of {len(wave.targets)} done"
    waiting = next((f"; {target.name} {target.phase}: {target.message}" for target in busy if target.message), "")
    return failures.shortened(told + waiting)


def _too_many(step: str, fleet: Fleet, allowed: int) -> Failure:
    failed = fleet.failures()
    named = [f"{name} ({report.failed_in}): {report.message}" for name, report in failed]
    told = f"{len(failed)} of {fleet.total} targets failed, and {allowed} may: {failures.listed(named)}"
    return Failure(step=step, type=FailureType.TOO_MANY_FAILURES, message=told[:1024], retryable=True)
