"""How a drill ends: its verdict, the time for people to look at it, its teardown, and its report."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import Phase, StepState, WaitKind
    from bascule_api.dr_drill_status import DrillVerdict
    from bascule_api.dr_drills import DRDrillInput, DRDrillResult
    from bascule_api.failures import FailureType
    from bascule_api.progress import PROGRESS_LIMIT, Progress, WaitingProgress
    from bascule_workers import version
    from bascule_workers.activities.dr_drills import DrillEnvironments, DrillReports
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.dr_drills import DrillPlan, ReportRequest, TeardownRequest, TornDown
    from bascule_workers.messages import Done, Left, NotYet, StepRequest
    from bascule_workers.plans import dr_drills as plans
    from bascule_workers.plans import drill_progress, drill_verdicts, failures
    from bascule_workers.plans.dr_drills import KEEP, PROVISION, REPORT, REPORT_SECONDS, STOP_SECONDS, TEARDOWN
    from bascule_workers.plans.drill_progress import DrillRecord, known
    from bascule_workers.plans.drill_verdicts import Measured
    from bascule_workers.plans.progress import StepRecord, message_of, size
    from bascule_workers.workflows.calling import Activity, Calling
    from bascule_workers.workflows.repeating import Bound
    from bascule_workers.workflows.run import Run
    from bascule_workers.workflows.trouble import Ended, trouble_of

CREDENTIALS = "delete the run's copies"
NAMESPACE = "tear the drill's namespace down"
VELERO = "delete the run's Restores of Velero"
TOLD = "report"
STOP_LIMIT = timedelta(seconds=STOP_SECONDS)
LAST = (TEARDOWN, REPORT)
"""Steps that are carried out whatever comes."""


async def torn_down(run: Calling, request: TeardownRequest) -> Done[TornDown] | NotYet:
    """One attempt of a counterweight. What there was is counted first, and past the deadline there is no other attempt:
    then the namespace has to go in the same one."""
    report = await run.call(DrillEnvironments.teardown, request)
    if isinstance(report, NotYet) and report.cursor and not request.cursor:
        counted = request.model_copy(update={"note": report.reason, "cursor": report.cursor})
        report = await run.call(DrillEnvironments.teardown, counted)
    return report


class DrillEnds(Run):
    """The end of a drill's run, whatever its body came to."""

    def __init__(self, drill: DRDrillInput) -> None:
        super().__init__(drill, plans.steps(drill))
        self.drill = drill
        self.started = int(workflow.info().start_time.timestamp())
        namespace = plans.teardown_request(drill).namespace
        declared = plans.declared_at(drill) or self.started
        self.record = DrillRecord(namespace, declared, order=[probe.name for probe in drill.spec.probes])
        self.plan: DrillPlan | None = None
        self.approvals: list[str] = []
        self._outcome_was = Phase.CANCELLED

    async def _settle(self, outcome: Phase) -> None:
        self._outcome_was = outcome
        for name, record in self.steps.items():
            if record.state == StepState.PENDING and name not in LAST:
                record.state = StepState.SKIPPED
        self.record.figures = drill_verdicts.figures(self._measured(outcome))
        if self._to_be_kept(outcome):
            await self.finished(asyncio.create_task(self._stop_jobs()))
            # A cancellation meanwhile was noticed by nobody.
            if not self.record.unkept and self._to_be_kept(outcome):
                await self._kept(self.drill.spec.keep_for.seconds)
        await super()._settle(outcome)

    def _measured(self, outcome: Phase) -> Measured:
        return Measured(
            phase=outcome,
            started=self.started,
            declared_at=plans.declared_at(self.drill),
            waited=round(self._waited),
            objectives=self.drill.spec.objectives,
            failure=self.failure,
            leak=self.record.leak,
            recovery_point=self.record.recovery_point,
            probes=tuple(self.record.probes[name] for name in self.record.order if name in self.record.probes),
        )

    def _to_be_kept(self, outcome: Phase) -> bool:
        met = self.record.figures is not None and self.record.figures.verdict == DrillVerdict.MET
        provisioned = self.steps[PROVISION].state == StepState.SUCCEEDED
        ended = outcome == Phase.CANCELLED or workflow.cancellation_reason() is not None
        return bool(self.drill.spec.keep_for.seconds) and provisioned and not met and not ended

    async def _stop_jobs(self) -> None:
        """End what still runs of the drill, above all a restore: its pod may reach out of the namespace, and nobody
        waits for it. A namespace in which that cannot be done is not kept."""
        bound = Bound(STOP_SECONDS, FailureType.STEP_TIMED_OUT)
        try:
            await self.repeated(
                StepRecord(KEEP), RunActivities.stop_jobs, plans.stop_request(self.drill), STOP_LIMIT, bound
            )
        except Ended as ended:
            self.record.unkept = ended.failure.message

    async def _kept(self, seconds: int) -> None:
        """Leave the namespace for people to look at. A cancellation ends that, and changes nothing of the outcome."""
        since = self.now()
        self.record.begins("kept", since)
        detail = f"people to look at the namespace {self.record.namespace}"
        self._waiting = WaitingProgress(
            gate=KEEP, kind=WaitKind.SOAK, detail=detail, since=since, until=since + seconds
        )
        try:
            await self.parked(lambda: False, timedelta(seconds=seconds))
        except (TimeoutError, asyncio.CancelledError):
            self._waiting = None
        self._waited += self.now() - since
        self.record.ends("kept", self.now())

    def before_settling(self, outcome: Phase) -> None:
        self.steps[REPORT].state = StepState.PENDING
        if any(entry.name == NAMESPACE for entry in self.saga.stack):
            self.steps[TEARDOWN].state = StepState.PENDING
        else:
            self.not_needed(TEARDOWN, "nothing was provisioned")

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        if isinstance(request, TeardownRequest):
            return await self._tear_down(request)
        if activity is None:
            await self._report(request)
            return Done(value=Left())
        return await super().take_back(activity, request)

    async def _tear_down(self, request: TeardownRequest) -> Done[Left] | NotYet:
        """One attempt. People wait for it, also after a success."""
        self.quiet = False
        record = self._last_step(TEARDOWN)
        self.record.begins("teardown", self.now())
        try:
            report = await torn_down(self, request)
        except ActivityError as error:
            record.attempts += 1
            record.note = failures.shortened(trouble_of(error).message)
            raise
        finally:
            self.touch()
        if isinstance(report, NotYet):
            record.note = failures.shortened(report.reason)
            self.record.left = [report.reason]
            return report
        torn = report.value
        self.record.searched, self.record.left = torn.searched, torn.items
        self.record.ends("teardown", known(torn.finished) or self.now(), began=known(torn.started))
        told = f"left: {failures.listed(torn.items)}" if torn.items else ""
        self._end_last(record, StepState.FAILED if torn.items else StepState.SUCCEEDED, told)
        return Done(value=Left(items=torn.items, found=torn.found))

    async def _report(self, request: StepRequest) -> None:
        """Tell of the drill, teardown included. A report that cannot be made changes nothing."""
        if (teardown := self.steps[TEARDOWN]).state == StepState.RUNNING:
            self.record.left = self.record.left or [teardown.note]
            self._end_last(teardown, StepState.FAILED, teardown.note)
        record, limit = self._last_step(REPORT), timedelta(seconds=REPORT_SECONDS)
        wanted = self._report_request().model_copy(update={"compensating": request.compensating})
        bound = Bound(REPORT_SECONDS, FailureType.STEP_TIMED_OUT)
        try:
            report = await self.repeated(record, DrillReports.report, wanted, limit, bound)
        except Ended as ended:
            self._end_last(record, StepState.FAILED, ended.failure.message)
            return
        self.record.report, self.record.report_repository = report.digest, report.repository
        self._end_last(record, StepState.SUCCEEDED, report.note)

    def _report_request(self) -> ReportRequest:
        info = workflow.info()
        return ReportRequest(
            **self._common(REPORT),
            spec=self.drill.spec,
            drill=self.record.status(),
            history=self.drill.history,
            approvals=self.approvals,
            procedures=plans.hashes(self.drill),
            plan=self.plan,
            revision=self.drill.run.revision,
            workflow_id=info.workflow_id,
            workflow_run_id=info.run_id,
            started=self.started,
            finished=self.now(),
            failure=plans.told(self.failure) if self.failure and self._outcome_was == Phase.FAILED else "",
            version=version.VERSION,
        )

    def _last_step(self, name: str) -> StepRecord:
        """Begin it, or go on with it."""
        record = self.steps[name]
        if record.state != StepState.RUNNING:
            record.state, record.started, record.attempts = StepState.RUNNING, self.now(), 1
        self.touch()
        return record

    def _end_last(self, record: StepRecord, state: StepState, message: str) -> None:
        record.state, record.finished, record.note = state, self.now(), ""
        record.message = message[:1024]
        self.touch()

    def go_on(self, record: StepRecord) -> None:
        if record.name not in (KEEP, *LAST):
            super().go_on(record)

    def undone(self, name: str) -> None:
        """All that a drill knows of its effects is in its record."""

    # How it is told

    def result(self, common: dict[str, Any]) -> DRDrillResult:
        return DRDrillResult(**common, drill=self.record.status())

    def _progress(self) -> Progress:
        told = super()._progress()
        if any(self.steps[name].state == StepState.RUNNING for name in LAST):
            told = told.model_copy(update={"message": failures.shortened(message_of(list(self.steps.values())))})
        facts = drill_progress.facts(self.record.status(), PROGRESS_LIMIT - size(told) - 64)
        return told.model_copy(update={"facts": facts})

    def _common(self, step: str) -> dict[str, Any]:
        return plans.common(self.drill, step)
