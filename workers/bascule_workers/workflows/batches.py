"""The child workflows of a campaign, or of its undo: each works on some targets of a wave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.fleets import TargetPhase
    from bascule_api.patch_campaigns import PatchCampaignInput
    from bascule_workers.messages import SourcePin
    from bascule_workers.patch_campaigns import BatchInput, BatchReport, BatchResult, Halt, TargetReport
    from bascule_workers.plans import failures
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.fleet_progress import OVER, FleetWave

WORKFLOW = "PatchBatch"
LOST = "somebody ended the workflow that worked on it"


@dataclass
class Batch:
    """A child workflow that is at work."""

    number: int
    wave: FleetWave
    indices: list[int]
    share: int
    rollback: bool
    reported: int = 0
    handle: workflow.ChildWorkflowHandle[Any, BatchResult] | None = None
    halted: Halt | None = None
    cancelled: bool = False
    task: asyncio.Task[None] | None = None
    before: dict[int, TargetReport] = field(default_factory=dict)
    """How its targets stood before it."""

    @property
    def busy(self) -> int:
        """How many targets it may be working on."""
        left = sum(self.wave.reports[index].phase not in OVER for index in self.indices)
        return 0 if self.rollback else min(self.share, left)


class Batches:
    """Hands targets out to child workflows, and takes in what they report."""

    def __init__(self, campaign: PatchCampaignInput, changed: Callable[[bool], None]) -> None:
        self.campaign = campaign
        self.files: dict[str, SourcePin] = {}
        self.last = 0
        """Number of the last one that was begun."""
        self.begun: dict[str, list[int]] = {}
        """The first and last number, by wave and by `<wave>/rollback`."""
        self.running: dict[int, Batch] = {}
        self.lost: list[Batch] = []
        """Those that others ended."""
        self.news = False
        """Set whenever something came in; reset by who waits for it."""
        self._changed = changed
        self._signals: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        return sum(batch.busy for batch in self.running.values())

    def waiting(self, wave: FleetWave) -> list[int]:
        """Targets of the wave that nobody has begun or been given."""
        given = {index for batch in self.running.values() if batch.wave is wave for index in batch.indices}
        return [index for index in wave.indices(TargetPhase.PENDING) if index not in given]

    def begin(
        self, wave: FleetWave, indices: Sequence[int], share: int, *, release: bool = False, **more: Any
    ) -> Batch:
        """Have another child workflow work on these targets of a wave. `release`: do nothing but give them back."""
        self.last += 1
        given = BatchInput(
            campaign=plans.without_rollback(self.campaign) if release else self.campaign,
            wave=wave.name,
            batch=self.last,
            indices=list(indices),
            targets=[wave.targets[index] for index in indices],
            max_parallel=share,
            reports=plans.reports_of_batch(len(wave.targets)),
            files=self.files,
            **more,
        )
        batch = Batch(self.last, wave, given.indices, share, given.rollback)
        batch.before = {index: wave.reports[index] for index in indices}
        self.running[batch.number] = batch
        self.begun.setdefault(f"{wave.name}/rollback" if given.rollback else wave.name, [self.last, 0])[1] = self.last
        batch.task = asyncio.create_task(self._carried_out(batch, given))
        self._changed(True)
        return batch

    async def _carried_out(self, batch: Batch, given: BatchInput) -> None:
        try:
            batch.handle = await workflow.start_child_workflow(
                WORKFLOW,
                given,
                id=names.batch_workflow_id(
                    workflow.info().workflow_id, batch.wave.name, batch.number, rollback=batch.rollback
                ),
                result_type=BatchResult,
                parent_close_policy=ParentClosePolicy.TERMINATE,
                cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                static_summary=f"{len(batch.indices)} targets",
            )
            if batch.halted is not None:
                await batch.handle.signal(names.SIGNAL_HALT, batch.halted)
            if batch.cancelled:
                batch.handle.cancel()
            result = await batch.handle
        except FailureError:
            # Somebody terminated it: of what it had in hand, nobody knows.
            self._lose(batch)
        else:
            self._take_in(batch, result.targets)
        del self.running[batch.number]
        self.news = True
        self._changed(True)

    def _lose(self, batch: Batch) -> None:
        """Of what a batch had in hand that is no more, nobody knows: it counts as failed, and has to be taken back."""
        self.lost.append(batch)
        over = {TargetPhase.ROLLED_BACK} if batch.rollback else OVER | {TargetPhase.PENDING}
        for report in [batch.wave.reports[index] for index in batch.indices]:
            if report.phase not in over:
                at = TargetPhase.ROLLING_BACK if batch.rollback else report.phase
                lost = {"phase": TargetPhase.FAILED, "failed_in": at, "message": LOST, "dirty": True}
                batch.wave.update([report.model_copy(update=lost)])

    def report(self, report: BatchReport) -> None:
        """Take in what a child workflow told meanwhile. What comes late, or from another run's, is ignored."""
        batch = self.running.get(report.batch)
        if batch is None or batch.wave.name != report.wave or report.number <= batch.reported:
            return
        batch.reported = report.number
        self._take_in(batch, report.targets)
        self.news = True
        self._changed(any(target.failed_in is not None for target in report.targets))

    def _take_in(self, batch: Batch, reports: Sequence[TargetReport]) -> None:
        known = [report for report in reports if report.index in batch.before]
        batch.wave.update(_seen(batch.before[report.index], report) if batch.rollback else report for report in known)

    def halt(self, halt: Halt | None = None) -> None:
        """Have all of them begin no more targets."""
        for batch in self.running.values():
            if batch.halted is None and not batch.rollback:
                batch.halted = halt or Halt()
                if batch.handle is not None:
                    self._signalled(batch.handle, batch.halted)

    def _signalled(self, handle: workflow.ChildWorkflowHandle[Any, BatchResult], halt: Halt) -> None:
        async def signalled() -> None:
            try:
                await handle.signal(names.SIGNAL_HALT, halt)
            except FailureError:
                # It is over already.
                return

        self._signals.append(asyncio.create_task(signalled()))

    def give_up(self, *, releases_only: bool) -> None:
        """Have all of them take back what has begun."""
        self.halt(Halt(releases_only=releases_only))
        for batch in self.running.values():
            if not batch.cancelled and not batch.rollback:
                batch.cancelled = True
                if batch.handle is not None:
                    batch.handle.cancel()

    async def ended(self) -> None:
        """Wait until none is at work."""
        await workflow.wait_condition(lambda: not self.running)

    async def roll_back(
        self, wave: FleetWave, indices: Sequence[int], parallel: int, seconds: int, *, release_only: bool = False
    ) -> list[str]:
        """Roll targets of a wave back, in this order. Returns what could not be, each with the reason."""
        rest, mine = list(indices), list[Batch]()
        until = workflow.time() + seconds
        while rest or any(batch.number in self.running for batch in mine):
            free = parallel - sum(batch.share for batch in mine if batch.number in self.running)
            while rest and (share := plans.share_of_batch(free, parallel)):
                chosen = rest[: plans.batch_size(share)]
                share = min(share, len(chosen))
                left = max(60, round(until - workflow.time()))
                mine.append(self.begin(wave, chosen, share, rollback=True, timeout_seconds=left, release=release_only))
                rest, free = rest[len(chosen) :], free - share
            await self._one_ends(mine)
        return [told for index in indices if (told := self._left(wave, index))]

    async def _one_ends(self, batches: Sequence[Batch]) -> None:
        at_work = {batch.number for batch in batches} & self.running.keys()
        await workflow.wait_condition(lambda: not at_work <= self.running.keys())

    def _left(self, wave: FleetWave, index: int) -> str:
        report = wave.reports[index]
        if not (report.dirty or report.held) and report.phase in OVER:
            return ""
        where = plans.reference(self.campaign, wave.targets[index])
        return failures.shortened(f"{where}: {report.message or 'not rolled back'}")


def _seen(before: TargetReport, report: TargetReport) -> TargetReport:
    """How a target stands that is being rolled back, or was: one that had failed has failed, whatever becomes of it."""
    if before.phase == TargetPhase.FAILED and report.phase == TargetPhase.ROLLED_BACK:
        return before.model_copy(update={"rolled_back": report.rolled_back, "dirty": False, "held": False})
    return report
