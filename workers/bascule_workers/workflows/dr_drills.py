"""The workflow DRDrill: provision, restore, validate, measure, and tear down, whatever comes."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import StepState
    from bascule_api.dr_drill_specs import Probe
    from bascule_api.dr_drills import DRDrillInput, DRDrillResult
    from bascule_workers.activities.dr_drills import DrillEnvironments, DrillProbes, DrillRestores
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.dr_drills import (
        ApplyStage,
        DrillPlan,
        DrillRequest,
        ProbeReport,
    )
    from bascule_workers.messages import PrepareRequest
    from bascule_workers.plans import dr_drills as plans
    from bascule_workers.plans import failures
    from bascule_workers.plans.dr_drills import (
        APPLY,
        APPLY_AFTER,
        DECLARE,
        ISOLATE,
        PLAN,
        PROVISION,
        REPORT,
        RESTORE,
    )
    from bascule_workers.plans.drill_progress import known
    from bascule_workers.plans.drill_verdicts import ProbeOutcome
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.drill_ends import CREDENTIALS, LAST, NAMESPACE, TOLD, VELERO, DrillEnds
    from bascule_workers.workflows.trouble import Ended


@workflow.defn(name="DRDrill")
class DRDrillWorkflow(DrillEnds):
    """One run of a DRDrill."""

    kind = "DRDrill"

    @workflow.init
    def __init__(self, drill: DRDrillInput) -> None:
        super().__init__(drill)

    @workflow.run
    async def run(self, drill: DRDrillInput) -> DRDrillResult:
        """Returns what was measured. Fails with the type of the failure; ends cancelled when cancelled."""
        return DRDrillResult.model_validate(await self.live())

    # The story

    async def body(self) -> None:
        plan = await self._plan()
        await self._declare(plan)
        if await self._provision(plan):
            await self._restore(plan)
            await self._validate()

    async def _plan(self) -> DrillPlan:
        """Pin what the run needs, and fix what it is going to do."""
        self.saga.release(TOLD, None, DrillRequest(**self._common(REPORT)))
        self.saga.release(CREDENTIALS, RunActivities.release_all, plans.release_request(self.drill))
        if uses := plans.secret_uses(self.drill):
            await self.step(PLAN, RunActivities.prepare, PrepareRequest(**self._common(PLAN), secrets=uses), ends=False)
        plan = await self.step(PLAN, DrillEnvironments.plan, plans.plan_request(self.drill))
        self.plan = plan
        if plan.after:
            self.steps = plans.with_step(self.steps, StepRecord(APPLY_AFTER), after=RESTORE)
        return plan

    async def _declare(self, plan: DrillPlan) -> None:
        """Wait for a person's consent, where one is asked for."""
        spec = self.drill.spec.approval
        if not spec.required:
            return
        self.record.begins("decide", self.now())
        try:
            approval = await self.approved(DECLARE, plan.digest, spec)
        finally:
            self.record.ends("decide", self.now())
        self.approvals += [plans.approved(approval, self.now())] if approval else []

    async def _provision(self, plan: DrillPlan) -> bool:
        """The namespace and the pilot light in it. Returns whether the namespace is as isolated as it has to be."""
        begun = await self._since()
        self.record.begins("provision", begun)
        teardown = plans.teardown_request(self.drill)
        self.saga.release(NAMESPACE, None, teardown, step=PROVISION)
        made = await self.step(PROVISION, DrillEnvironments.provision, plans.provision_request(self.drill))
        self.record.ends("provision", known(made.at) or self.now())
        if not await self._isolated():
            return False
        await self._apply(APPLY, ApplyStage.BEFORE_RESTORE, plan.before, part="provision")
        return True

    async def _isolated(self) -> bool:
        request = plans.isolation_request(self.drill)
        if request is None:
            self.not_needed(ISOLATE, "spec.environment.isolation is None")
            return True
        report = await self.step(ISOLATE, DrillEnvironments.isolated, request)
        if report.enforced:
            return True
        self.record.leak = report.message or "a connection out of the drill's namespace got through"
        self._failed(ISOLATE, self.record.leak)
        for name, step in self.steps.items():
            if step.state == StepState.PENDING and name not in LAST:
                self.not_needed(name, "isolation is not enforced")
        return False

    async def _apply(self, step: str, stage: ApplyStage, objects: int, *, part: str) -> None:
        """Apply a stage of the manifests; that belongs to a part of the timeline."""
        if not objects:
            if step in self.steps:
                self.not_needed(step, "there is nothing to apply")
            return
        request = plans.apply_request(self.drill, stage, await self._since())
        applied = await self.step(step, DrillEnvironments.apply, request)
        self.record.ends(part, known(applied.at) or self.now())

    async def _restore(self, plan: DrillPlan) -> None:
        """Bring the data back. However long that takes is bounded by the restore's own timeout, and the run's."""
        begun = await self._since()
        self.record.begins("restore", begun)
        if (by_velero := plans.velero_request(self.drill, begun)) is not None:
            self.saga.release(VELERO, DrillRestores.remove_velero, plans.remove_velero_request(self.drill))
            restored = await self.step(RESTORE, DrillRestores.restore_by_velero, by_velero, limit=None)
        else:
            request = plans.restore_request(self.drill)
            restored = await self.step(RESTORE, DrillRestores.restore, request, limit=None)
        self.record.recovery_point, self.record.backup = known(restored.recovery_point), restored.backup
        self.record.ends("restore", known(restored.finished) or self.now(), began=known(restored.started))
        self.steps[RESTORE].message = failures.shortened(restored.message or self.steps[RESTORE].message)
        await self._apply(APPLY_AFTER, ApplyStage.AFTER_RESTORE, plan.after, part="restore")

    async def _validate(self) -> None:
        """All probes, each to its end, so that one drill names all that fail."""
        begun = await self._since()
        self.record.begins("validate", begun)
        outcomes = await asyncio.gather(
            *(self._probe(probe, begun) for probe in self.drill.spec.probes), return_exceptions=True
        )
        troubles = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for trouble in sorted(troubles, key=lambda trouble: isinstance(trouble, Ended)):
            raise trouble
        self.record.ends("validate", max(outcome for outcome in outcomes if isinstance(outcome, int)))

    async def _probe(self, probe: Probe, begun: int) -> int:
        """Ask until it passes, or gives up. Returns when that was."""
        step = plans.probe_step(probe)
        request = plans.probe_request(self.drill, probe, self.record.recovery_point, begun)
        try:
            report = await self.step(step, DrillProbes.probe, request, limit=None)
        except Ended as ended:
            if probe.required:
                raise
            report = ProbeReport(passed=False, message=ended.failure.message)
        at = known(report.at) or self.now()
        if not report.passed:
            self._failed(step, report.message)
        self.record.probes[probe.name] = ProbeOutcome(
            name=probe.name,
            required=probe.required,
            passed_at=at if report.passed else 0,
            data_as_of=known(report.data_as_of),
            message=report.message,
        )
        return at

    async def _since(self) -> int:
        """When the next step begins: what is suspended before it does not count against it."""
        await self._boundary()
        return self.now()

    def _failed(self, step: str, message: str) -> None:
        """A step was carried out, and what it found is bad."""
        record = self.steps[step]
        record.state, record.message = StepState.FAILED, message[:1024]
        self.touch()
