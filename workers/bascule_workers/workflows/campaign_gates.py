"""Where a campaign waits between its targets: windows, soaks, and gates that are measured."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import WaitKind
    from bascule_api.failures import Failure, FailureType
    from bascule_api.gates import Gate, Verdict
    from bascule_api.patch_campaign_specs import Wave
    from bascule_api.patch_campaign_status import WaveState
    from bascule_api.patch_campaigns import PatchCampaignInput
    from bascule_api.progress import WaitingProgress
    from bascule_workers.activities.gates import GateActivities
    from bascule_workers.patch_campaigns import WindowRequest
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.fleet_progress import FleetWave
    from bascule_workers.workflows.run import Run
    from bascule_workers.workflows.trouble import Ended

SHORTEST_WINDOW_WAIT = 15
LONGEST_WINDOW_WAIT = 86_400
"""Seconds after which a window is asked for again: people change the rules of their clocks."""


class CampaignGates(Run):
    """The waits of a campaign, at all of which its timeout stands still."""

    def __init__(self, campaign: PatchCampaignInput) -> None:
        super().__init__(campaign, plans.steps(campaign))
        self.campaign = campaign
        self._closes_at = 0
        """Until when targets may be begun, in epoch seconds; 0: for as long as one likes."""

    async def _window(self, wave: FleetWave) -> None:
        """Wait until targets may be begun."""
        windows = self.campaign.spec.windows
        if not windows or (self._closes_at and self.now() < self._closes_at):
            return
        step = plans.wave_step(wave.name)
        while True:
            request = WindowRequest(**plans.common(self.campaign, step), windows=windows, now=self.now())
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
            # Who tells of windows may have another clock than Temporal has.
            again = min(max(state.changes_at, self.now() + SHORTEST_WINDOW_WAIT), self.now() + LONGEST_WINDOW_WAIT)
            await self._until(again, waiting)

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
