"""The child workflow PatchBatch: some targets of a campaign's wave, so many at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.fleets import TargetPhase
    from bascule_workers.patch_campaigns import BatchInput, BatchReport, BatchResult, Halt
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans import patched
    from bascule_workers.plans.fleet_progress import OVER
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.at_targets import AtTarget
    from bascule_workers.workflows.repeating import Repeating
    from bascule_workers.workflows.trouble import bugs_end_nothing

REPORT_PAUSE = timedelta(seconds=2)
"""Between two reports, at least, unless a target failed."""
SLOW_REPORTS = 600
"""Seconds after which a batch in which nothing moves may report once more."""
HASTY_REPORTS = 10
"""Reports of a failure that are made at once."""


@workflow.defn(name="PatchBatch")
class PatchBatchWorkflow(Repeating):
    """Some targets of a wave. It ends when all are over, or when it was told to begin no more and none is at work."""

    kind = "PatchBatch"

    @workflow.init
    def __init__(self, batch: BatchInput) -> None:
        super().__init__(batch.campaign.run.uid)
        self.batch = batch
        self.targets = [
            AtTarget(self, batch, target, index) for index, target in zip(batch.indices, batch.targets, strict=True)
        ]
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._halted: Halt | None = None
        self._cancelled = False
        self._changed: dict[int, AtTarget] = {}
        self._urgent = False
        self._phases = 0
        self._sent = 0
        self._sent_urgently = 0
        for at in self.targets:
            at.changed = self._begun
            at.recorded = self._record
        self._recorded: list[str] = []

    @workflow.run
    async def run(self, batch: BatchInput) -> BatchResult:
        """Returns how each target ended. It completes even if it is cancelled."""
        with bugs_end_nothing():
            reporter = self.beside(self._report())
            work = asyncio.create_task(self._work())
            while not work.done():
                try:
                    await self.until(work.done)
                except asyncio.CancelledError:
                    self._cancel()
            reporter.cancel()
            await work
        return BatchResult(targets=[at.report() for at in self.targets])

    @workflow.signal(name=names.SIGNAL_HALT)
    def halt(self, halt: Halt) -> None:
        """Bring to its end what has begun, and begin no more."""
        self._halted = halt

    async def _work(self) -> None:
        for at in self.targets:
            await workflow.wait_condition(lambda: self._closed or self._at_work < self.batch.max_parallel)
            if self._closed:
                break
            story = at.roll_back() if self.batch.rollback else at.patch()
            self._tasks[at.index] = asyncio.create_task(story)
        for outcome in await asyncio.gather(*self._tasks.values(), return_exceptions=True):
            # One that was given up before its first act has done nothing.
            if isinstance(outcome, BaseException) and not is_cancelled_exception(outcome):
                raise outcome

    @property
    def _at_work(self) -> int:
        return sum(not task.done() for task in self._tasks.values())

    @property
    def _closed(self) -> bool:
        """Whether no target is begun any more."""
        if self.batch.rollback:
            return False
        closes = self.batch.closes_at
        full = workflow.info().get_current_history_length() > plans.BATCH_HISTORY_LIMIT
        failed = sum(bool(at.failing) for at in self.targets) > self.batch.may_fail
        return self._cancelled or self._halted is not None or failed or full or bool(closes and self.now() >= closes)

    def _cancel(self) -> None:
        """Give up what has begun; what is on its way back already goes on."""
        if self.batch.rollback:
            return
        self._cancelled = True
        for at in self.targets:
            task = self._tasks.get(at.index)
            if task is not None and not task.done() and not at.settled and not at.cancelled:
                at.cancelled = True
                at.releases_only = self._halted is not None and self._halted.releases_only
                task.cancel()

    # Hooks of the loop

    def go_on(self, record: StepRecord) -> None:
        if isinstance(record, AtTarget):
            record.go_on()

    def noted(self, record: StepRecord) -> None:
        if isinstance(record, AtTarget):
            self._note(record)

    # Reports

    def _begun(self, at: AtTarget) -> None:
        self._phases += 1
        self._note(at)

    def _note(self, at: AtTarget) -> None:
        self._changed[at.index] = at
        self._urgent = self._urgent or at.phase == TargetPhase.FAILED or bool(at.failing)

    def _record(self, at: AtTarget) -> None:
        """Have the memo say what was patched, or rolled back: in one with the release, which takes the marks away."""
        self._recorded.append(self.batch.targets[self.batch.indices.index(at.index)].name)
        workflow.upsert_memo({names.MEMO_PATCHED: patched.packed(self._recorded)})

    async def _report(self) -> None:
        """Tell the campaign how the targets stand: at once of failures, else at a pace that its history bears."""
        begun = workflow.time()
        while True:
            await workflow.wait_condition(lambda: bool(self._changed))
            if not self._hasty:
                with suppress(asyncio.TimeoutError):
                    await workflow.wait_condition(lambda: self._hasty, timeout=REPORT_PAUSE)
            while not self._hasty and not self._may_report(begun):
                with suppress(asyncio.TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._hasty or self._may_report(begun), timeout=timedelta(seconds=SLOW_REPORTS)
                    )
            await self._send()

    @property
    def _hasty(self) -> bool:
        return self._urgent and self._sent_urgently < HASTY_REPORTS

    def _may_report(self, begun: float) -> bool:
        over = sum(at.phase in OVER for at in self.targets)
        bearable = plans.reports_so_far(len(self.targets), self.batch.reports, over, self._phases)
        return self._sent <= bearable + (workflow.time() - begun) / SLOW_REPORTS

    async def _send(self) -> None:
        self._sent += 1
        self._sent_urgently += self._urgent
        targets = [at.report() for _, at in sorted(self._changed.items())]
        self._changed, self._urgent = {}, False
        parent = workflow.info().parent
        if parent is None:
            return
        report = BatchReport(wave=self.batch.wave, batch=self.batch.batch, number=self._sent, targets=targets)
        try:
            await workflow.get_external_workflow_handle(parent.workflow_id).signal(names.SIGNAL_REPORT, report)
        except FailureError as error:
            # A campaign that is no more hears of nothing; its undo looks at the targets themselves.
            if is_cancelled_exception(error):
                raise
