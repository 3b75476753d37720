"""What a campaign does at one target: acquire, drain, patch, reboot, verify, release; and back again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from bascule_api.failures import Failure, FailureType
    from bascule_api.fleets import Target, TargetPhase
    from bascule_api.gates import HttpCheck
    from bascule_api.patch_campaign_specs import PatchStep
    from bascule_api.procedures import PinnedProcedure
    from bascule_workers.activities.gates import GateActivities
    from bascule_workers.activities.patch_targets import PatchTargetActivities
    from bascule_workers.patch_campaigns import (
        Acquired,
        AcquireRequest,
        BatchInput,
        BootRequest,
        DrainRequest,
        HttpCheckRequest,
        JobReport,
        ReadyRequest,
        ReleaseTargetRequest,
        StopTargetRequest,
        TargetJobRequest,
        TargetReport,
    )
    from bascule_workers.plans import failures
    from bascule_workers.plans import patch_campaigns as plans
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.calling import Activity
    from bascule_workers.workflows.repeating import SERVICE_LIMIT, Bound, Repeating
    from bascule_workers.workflows.trouble import Ended

R = TypeVar("R")
T = TypeVar("T")

LOST_REBOOT = 300.0
"""Seconds that a node has to come back after a reboot whose Job did not end well: maybe the reboot ended it."""


class AtTarget(StepRecord):
    """One target, and how it stands. It is the record of what is carried out there as well."""

    def __init__(self, batch: Repeating, given: BatchInput, target: Target, index: int) -> None:
        super().__init__(plans.wave_step(given.wave))
        self._batch = batch
        self._given = given
        self._campaign = given.campaign
        self._spec = given.campaign.spec
        self._target = target
        self._node = plans.is_node(given.campaign)
        self._boot_id = ""
        self.index = index
        self.phase = TargetPhase.PENDING
        self.since = 0
        self.settled = False
        """Whether it is on its way back: then no cancellation disturbs it any more."""
        self.cancelled = False
        self.releases_only = False
        self.patching = False
        """Whether its patch has begun."""
        self.failing: dict[str, Any] = {}
        """Once it has failed: in which phase, and why."""
        self.told: TargetReport | None = None
        """Of its end."""
        self.changed: Callable[[AtTarget], None] = lambda _: None
        self.recorded: Callable[[AtTarget], None] = lambda _: None
        """Told of what was patched, or rolled back, before it is released: until then the target itself says so."""

    # The story

    async def patch(self) -> None:
        """Patch the target. However that goes, it is released; if it fails, it is taken back first."""
        try:
            await self._acquire()
            await self._drain()
            self.patching = True
            await self._carried_out(TargetPhase.PATCHING, plans.PATCH, self._spec.patch)
            await self._verify()
        except Ended as ended:
            await self._failed(ended.failure)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await self._failed(None)
        else:
            await self._patched()

    async def roll_back(self) -> None:
        """Take an earlier patch back, as far as there is something that does, and release the target."""
        self.settled = True
        message = ""
        if self._spec.rollback is not None:
            try:
                await self._acquire()
                await self._drain()
                message = await self._taken_back(self._spec.rollback)
            except Ended as ended:
                message = ended.failure.message
                if ended.failure.type == FailureType.TARGET_GONE:
                    await self._end(TargetPhase.SKIPPED, message=message)
                    return
        if message:
            await self._end(TargetPhase.FAILED, TargetPhase.ROLLING_BACK, message=message, dirty=True)
        else:
            if self._spec.rollback is not None:
                self.recorded(self)
            await self._end(TargetPhase.ROLLED_BACK, rolled_back=self._spec.rollback is not None)

    # Its parts

    async def _acquire(self) -> None:
        self._begins(TargetPhase.ACQUIRING)
        # Another campaign may hold it for as long as it likes: how long this one waits, its own timeout says.
        self._boot_id = (await self._acquired(self._patience if self.settled else None)).boot_id

    async def _acquired(self, bound: Bound | None = None) -> Acquired:
        return await self._do(PatchTargetActivities.acquire, AcquireRequest(**self._common()), bound=bound)

    async def _drain(self) -> None:
        if not (self._node and self._spec.drain.enabled):
            return
        self._begins(TargetPhase.DRAINING)
        bound = Bound(self._spec.drain.timeout.seconds, FailureType.DRAIN_BLOCKED)
        await self._do(PatchTargetActivities.drain, DrainRequest(**self._common(), drain=self._spec.drain), bound=bound)

    async def _carried_out(self, phase: TargetPhase, use: str, step: PatchStep) -> None:
        """Carry a Procedure out, and reboot the target if it says that it has to be."""
        self._begins(phase)
        procedure = plans.procedure_of(self._campaign, step)
        timeout = plans.timeout_of(step, procedure)
        report = await self._procedure(use, procedure, timeout, parameters=step.parameters)
        if report.reboot_required:
            await self._reboot(procedure)

    async def _procedure(self, use: str, procedure: PinnedProcedure, seconds: int, **more: Any) -> JobReport:
        inventory = self._spec.targets.inventory
        request = TargetJobRequest(
            **self._common(),
            **({"parameters": {}} | more),
            procedure=procedure,
            timeout_seconds=seconds,
            use=use,
            source=self._given.files.get(use),
            boot_id=self._boot_id,
            ssh_login=bool(inventory and inventory.secret_ref),
        )
        return await self._do(PatchTargetActivities.run_procedure, request)

    async def _reboot(self, patch: PinnedProcedure) -> None:
        """Reboot the target, once, and wait until it is back."""
        reboot = plans.reboot_of(self._campaign, patch)
        if reboot is None:
            await self._reboots_itself()
            return
        if self._node:
            self._boot_id = (await self._acquired()).boot_id
        self._begins(TargetPhase.REBOOTING)
        # A Job that is lost may have been lost by the reboot: another one would be another reboot.
        once = reboot.spec.model_copy(update={"retry": reboot.spec.retry.model_copy(update={"attempts": 1})})
        timeout, trouble = reboot.spec.timeout.seconds, ""
        try:
            await self._procedure(plans.REBOOT, reboot.model_copy(update={"spec": once}), timeout)
        except Ended as ended:
            if not self._node:
                raise
            timeout, trouble = min(timeout, round(LOST_REBOOT)), ended.failure.message
        if self._node:
            await self._rebooted(timeout, trouble)
            self._boot_id = (await self._acquired()).boot_id

    async def _reboots_itself(self) -> None:
        """Without a Procedure that reboots, the one that says so has asked the target itself."""
        if self._node:
            self._begins(TargetPhase.REBOOTING)
            await self._rebooted(plans.REBOOT_SECONDS, "")
            self._boot_id = (await self._acquired()).boot_id

    async def _rebooted(self, seconds: int, trouble: str) -> None:
        request = BootRequest(**self._common(), boot_id=self._boot_id)
        bound = Bound(seconds, FailureType.REBOOT_TIMED_OUT)
        try:
            await self._do(PatchTargetActivities.rebooted, request, bound=bound)
        except Ended as ended:
            if not trouble:
                raise
            raise self._ended(ended.failure.type, f"{trouble}; then: {ended.failure.message}") from None

    async def _verify(self) -> None:
        self._begins(TargetPhase.VERIFYING)
        verify = self._spec.verify
        await self._ready()
        if verify is not None and verify.procedure is not None:
            procedure = self._campaign.procedures[verify.procedure]
            try:
                await self._procedure(plans.VERIFY, procedure, verify.timeout.seconds, parameters=verify.parameters)
            except Ended as ended:
                raise self._not_verified(ended.failure) from None
        if verify is not None and verify.http is not None:
            await self._check_http(verify.http, verify.timeout.seconds)

    def _not_verified(self, failure: Failure) -> Ended:
        unfit = (FailureType.STEP_FAILED, FailureType.STEP_TIMED_OUT)
        return self._ended(FailureType.TARGET_NOT_READY if failure.type in unfit else failure.type, failure.message)

    async def _check_http(self, check: HttpCheck, seconds: int) -> None:
        request = HttpCheckRequest(**self._common(), check=check, timeout_seconds=seconds)
        await self._do(GateActivities.check_http, request)

    async def _ready(self) -> None:
        """Whether a node is Ready. Of a host that is not known: what `verify` says has to do."""
        if self._node:
            verify = self._spec.verify
            seconds = verify.timeout.seconds if verify else plans.READY_SECONDS
            request = ReadyRequest(**self._common())
            await self._do(PatchTargetActivities.ready, request, bound=Bound(seconds, FailureType.TARGET_NOT_READY))

    # The ends

    async def _patched(self) -> None:
        self.settled = True
        self.recorded(self)
        await self._end(TargetPhase.PATCHED)

    async def _failed(self, failure: Failure | None) -> None:
        """Take back what was done, and release the target. Without a failure it was interrupted."""
        self.settled = True
        at, rollback = self.phase, self._spec.rollback
        gone = failure is not None and failure.type == FailureType.TARGET_GONE
        message = failure.message if failure else "interrupted"
        if not self.patching and (gone or failure is None):
            # Nothing has been done to it.
            await self._end(TargetPhase.SKIPPED if gone else TargetPhase.PENDING, message=message if gone else "")
            return
        if failure is not None:
            self.failing = {"failed_in": at, "type": failure.type, "message": failures.shortened(message)}
        rolled_back = False
        if self.patching and not gone and rollback and not self.releases_only:
            trouble = await self._taken_back(rollback)
            rolled_back = not trouble
            message += f"; rolling back: {trouble}" if trouble else ""
        if failure is None and rolled_back:
            await self._end(TargetPhase.ROLLED_BACK, rolled_back=True)
            return
        await self._end(
            TargetPhase.FAILED,
            at,
            message=message,
            type=failure.type if failure else None,
            rolled_back=rolled_back,
            dirty=self.patching and not gone and not rolled_back,
        )

    async def _taken_back(self, rollback: PatchStep) -> str:
        """Carry the rollback out. Returns what went wrong."""
        self._begins(TargetPhase.ROLLING_BACK)
        # A rollback that failed before is over, and would be taken for this one.
        stop = StopTargetRequest(**self._common(), finished_too=self._given.rollback)
        try:
            # What was given up in the midst of its patch, or lost, may still be at it.
            await self._do(PatchTargetActivities.stop, stop, bound=self._patience)
            await self._carried_out(TargetPhase.ROLLING_BACK, plans.ROLLBACK, rollback)
            await self._ready()
        except Ended as ended:
            return ended.failure.message
        return ""

    async def _end(self, phase: TargetPhase, at: TargetPhase | None = None, message: str = "", **more: Any) -> None:
        """Release the target, and say how it ended."""
        failed = phase == TargetPhase.FAILED
        self._begins(TargetPhase.RELEASING)
        request = ReleaseTargetRequest(**self._common(), keep_jobs=failed)
        held = False
        try:
            await self._do(PatchTargetActivities.release, request, bound=self._patience)
        except Ended as ended:
            held = True
            message = "; ".join(part for part in (message, f"not released: {ended.failure.message}") if part)
            if not failed:
                phase, at = TargetPhase.FAILED, TargetPhase.RELEASING
        self.phase, self.since = phase, self._batch.now()
        self.told = TargetReport(
            index=self.index,
            phase=phase,
            since=self.since,
            message=failures.shortened(message),
            failed_in=at,
            held=held,
            **more,
        )
        self.changed(self)

    # How it is told and asked

    def report(self) -> TargetReport:
        """How it stands."""
        told = {"message": failures.shortened(self.note, 160)} | self.failing
        return self.told or TargetReport(index=self.index, phase=self.phase, since=self.since, **told)

    def go_on(self) -> None:
        """Raise asyncio.CancelledError if the target was given up."""
        if self.cancelled and not self.settled:
            raise asyncio.CancelledError

    @property
    def _patience(self) -> Bound:
        """How long is tried what takes back."""
        seconds = self._given.timeout_seconds or self._campaign.compensation.timeout.seconds
        return Bound(seconds, FailureType.STEP_FAILED)

    def _begins(self, phase: TargetPhase) -> None:
        self.phase, self.since, self.note, self.attempts = phase, self._batch.now(), "", 0
        self.changed(self)

    async def _do(
        self,
        activity: Activity[Any, T],
        request: Any,
        limit: timedelta | None = SERVICE_LIMIT,
        bound: Bound | None = None,
    ) -> T:
        self.go_on()
        if self.settled:
            # What takes back is tried for longer than what may fail.
            limit = timedelta(seconds=self._patience.seconds)
        return await self._batch.repeated(self, activity, request, limit, bound)

    def _common(self) -> dict[str, Any]:
        return {
            **plans.common(self._campaign, self.name),
            "target": self._target,
            "node": self._node,
            "node_selector": self._campaign.node_selector,
            "since": self.since,
            "compensating": self.settled,
        }

    def _ended(self, kind: FailureType, message: str) -> Ended:
        return Ended(Failure(step=self.name, type=kind, message=message[:1024]))
