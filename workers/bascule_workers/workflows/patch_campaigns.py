"""The workflow PatchCampaign: plan, then wave after wave: approval, window, batches, soak, gates. And back again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.conditions import Phase, StepState, WaitKind
    from bascule_api.fleets import TargetPhase
    from bascule_api.gates import Gate, Verdict
    from bascule_api.patch_campaigns import (
        FailureAction,
        Mode,
        PatchCampaignInput,
        PatchCampaignResult,
        PatchCampaignUndoInput,
        Wave,
        WaveState,
    )
    from bascule_api.progress import PROGRESS_LIMIT, Progress, UndoResult, WaitingProgress
    from bascule_api.runs import Failure, FailureType
    from bascule_workers.activities.gates import GateActivities
    from bascule_workers.activities.patch_campaigns import PatchCampaignActivities
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
    from bascule_workers.patch_campaigns import (
        BatchReport,
        HeldRequest,
        ReleaseHeldRequest,
        RollBackRequest,
        WindowRequest,
    )
    from bascule_workers.plans import failures, fleet_progress, patched
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.fleet_progress import Fleet, FleetSnapshot, FleetWave
    from bascule_workers.plans.patch_campaigns import PLAN
    from bascule_workers.plans.progress import size
    from bascule_workers.workflows.batches import Batches
    from bascule_workers.workflows.calling import Activity
    from bascule_workers.workflows.held import HELD as HELD_WAVE
    from bascule_workers.workflows.held import PARALLEL, given_back, looked_up
    from bascule_workers.workflows.run import Run
    from bascule_workers.workflows.trouble import Ended
    from bascule_workers.workflows.undo import LAST_WORDS, Undo

CREDENTIALS = "delete the run's copies"
JOBS = "stop the run's Jobs"
HELD = "release what is held"
STANDING = "roll back what was patched"
HISTORY_LIMIT = 1_000
"""Events from which on the next wave gets a history of its own."""
LONGEST_WINDOW_WAIT = 86_400
"""Seconds after which a window is asked for again: people change the rules of their clocks."""
_OPEN = (WaveState.SUCCEEDED, WaveState.SKIPPED)


@workflow.defn(name="PatchCampaign")
class PatchCampaignWorkflow(Run):
    """One run of a PatchCampaign."""

    kind = "PatchCampaign"

    @workflow.init
    def __init__(self, campaign: PatchCampaignInput) -> None:
        super().__init__(campaign, plans.steps(campaign))
        self.campaign = campaign
        self.fleet: Fleet | None = None
        self.batches = Batches(plans.batch_input_campaign(campaign), self._moved)
        self._closes_at = 0
        """Until when targets may be begun, in epoch seconds; 0: for as long as one likes."""
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
            if wave is not fleet.waves[-1] and workflow.info().get_current_history_length() > HISTORY_LIMIT:
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
            record.state, record.message = StepState.FAILED, ended.failure.message
            raise
        finally:
            if record.state == StepState.RUNNING:
                record.state = StepState.CANCELLED if self._ending else StepState.SUCCEEDED
            record.finished = wave.finished = self.now()
            wave.state = WaveState.SUCCEEDED if record.state == StepState.SUCCEEDED else WaveState.FAILED
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
        finally:
            # Cancelled, or out of time: what has begun is taken back, and nothing goes on behind the run's back.
            self.batches.give_up(releases_only=self._releases_only())
            await self.batches.ended()
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

    # Its gates

    async def _window(self, wave: FleetWave) -> None:
        """Wait until targets may be begun."""
        windows = self.campaign.spec.windows
        if not windows or (self._closes_at and self.now() < self._closes_at):
            return
        step = plans.wave_step(wave.name)
        while True:
            request = WindowRequest(**self._common(step), windows=windows, now=self.now())
            state = await self.step(step, GateActivities.window, request, ends=False, gate=wave.name)
            if state.open:
                self._closes_at = state.changes_at
                return
            if not state.changes_at:
                told = "none of spec.windows ever opens again"
                raise Ended(Failure(step=step, type=FailureType.PLAN_REFUSED, message=told))
            wave.state = WaveState.WAITING
            detail = f"the window {state.name}" if state.name else "a window"
            waiting = self._waits_at(wave.name, WaitKind.WINDOW, detail, state.changes_at)
            await self._until(min(state.changes_at, self.now() + LONGEST_WINDOW_WAIT), waiting)

    async def _soaked(self, wave: FleetWave, spec: Wave) -> None:
        if not spec.soak.seconds:
            return
        wave.state = WaveState.SOAKING
        until = self.now() + spec.soak.seconds
        await self._until(until, self._waits_at(wave.name, WaitKind.SOAK, f"time passes: {spec.soak}", until))

    async def _passed(self, wave: FleetWave, gate: Gate) -> None:
        wave.state = WaveState.CHECKING
        step = plans.wave_step(wave.name)
        request = plans.gate_request(self.campaign, step, gate)
        where = f"{wave.name}/{gate.name}"
        # A gate may take days; what troubles it then is waited out as long as the run may last.
        report = await self.step(step, GateActivities.gate, request, limit=None, ends=False, gate=where)
        if report.verdict != Verdict.PASS:
            failed = report.verdict == Verdict.FAIL
            told = f"the gate {where} {'failed' if failed else 'is inconclusive'}: {report.message}"
            kind = FailureType.GATE_FAILED if failed else FailureType.GATE_INCONCLUSIVE
            raise Ended(Failure(step=step, type=kind, message=told[:1024], retryable=True))

    def _waits_at(self, gate: str, kind: WaitKind, detail: str, until: int) -> WaitingProgress:
        return WaitingProgress(gate=gate, kind=kind, detail=detail, since=self.now(), until=until)

    async def _until(self, until: int, waiting: WaitingProgress) -> None:
        """Let time pass, suspended or not; the run's timeout stands still."""
        self._waiting = waiting
        try:
            await self.parked(lambda: False, timedelta(seconds=max(0, until - self.now())))
        except TimeoutError:
            pass
        finally:
            self._waiting = None

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
        self.saga.undo(STANDING, None, plans.undo_request(self.undo, standing=True))
        self.saga.release(HELD, None, plans.undo_request(self.undo, standing=False))
        # First of all: what still runs could go on patching.
        self.saga.release(JOBS, RunActivities.stop_jobs, StopJobsRequest(**common, finished_too=True))

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        if not isinstance(request, HeldRequest):
            return await super().take_back(activity, request)
        seconds = self._settling.seconds_left(self)
        back = self.batches.campaign.spec.rollback is not None and self.undo.undo
        if not request.records and not back:
            return await given_back(self, self.batches, request, seconds)
        return await self._rolled_back(request, seconds, back=back)

    async def _rolled_back(self, request: HeldRequest, seconds: int, *, back: bool) -> Done[Left] | NotYet:
        """Roll back what is held, or what was patched: one attempt."""
        held = await looked_up(self, request)
        if isinstance(held, NotYet):
            return held
        found = held.value.patched if request.records else held.value.held
        left = list(held.value.unknown)
        if found and back:
            secrets = plans.undo_secrets(self.undo)
            prepare = PrepareRequest(**plans.undo_common(self.undo, PLAN), secrets=secrets, compensating=True)
            pinned = await self.call(RunActivities.prepare, prepare) if secrets else None
            if isinstance(pinned, NotYet):
                return pinned
            self.batches.files = held.value.files
            wave = FleetWave("standing" if request.records else HELD_WAVE, found)
            left += await self.batches.roll_back(wave, range(len(found)), PARALLEL, seconds)
        elif found:
            reason = plans.undo_problem(self.undo)
            left += [f"{plans.reference(self.batches.campaign, target)}: {reason}" for target in found]
        return Done(value=Left(items=left, found=len(found)))


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
