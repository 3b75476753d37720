"""One activity, again and again until it is done: the retries and waits of every workflow, as durable timers.

Everything that people may want to know is a value here, so that the memo can carry it; Temporal's own retries are off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from bascule_api.failures import Failure, FailureType
    from bascule_api.progress import WaitingProgress
    from bascule_workers.messages import Done, NotYet
    from bascule_workers.plans import failures
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.calling import Activity, Calling, R, T
    from bascule_workers.workflows.trouble import Ended, Trouble, trouble_of

SERVICE_LIMIT = timedelta(minutes=15)
"""How long what only needs a service goes on trying."""


@dataclass(frozen=True)
class Bound:
    """How long something may be not yet done, although nothing is wrong."""

    seconds: float
    type: FailureType


class Repeating(Calling):
    """Carries out activities until they are done."""

    def go_on(self, record: StepRecord) -> None:
        """Raise asyncio.CancelledError if what the record is about ends.

        A cancellation can meet an activity that ends by itself at the same moment: then it is delivered here.
        """

    def waits(self, record: StepRecord, waiting: WaitingProgress | None) -> None:
        """What is waited for now; None: nothing any more."""

    def noted(self, record: StepRecord) -> None:
        """The record's note says something else."""
        self.touch()

    async def repeated(
        self,
        record: StepRecord,
        activity: Activity[R, T],
        request: R,
        limit: timedelta | None = SERVICE_LIMIT,
        bound: Bound | None = None,
    ) -> T:
        """Carry the activity out. `limit` bounds how long trouble is waited out, `bound` everything. Raises Ended."""
        begun, errors = workflow.time(), 0
        record.attempts = record.attempts or 1
        waiting: WaitingProgress | None = None
        while True:
            try:
                report = await self._answer(record, activity, request)
            except ActivityError as error:
                self.go_on(record)
                errors += 1
                trouble = trouble_of(error)
                record.note = failures.shortened(f"attempt {record.attempts}: {trouble.message}")
                record.log = trouble.log or record.log
                _raise_if_final(record.name, trouble, workflow.time() - begun, limit)
                request = request.model_copy(update=trouble.next_attempt(request.job_attempt))
                # Counted as it is decided, not as it begins: one change to tell instead of two.
                record.attempts += 1
                await self._pause(record, failures.backoff(errors))
                continue
            self.go_on(record)
            if isinstance(report, Done):
                record.log, record.message = report.log or record.log, report.message or record.message
                return report.value
            errors = 0
            left = _left(record, report, bound, workflow.time() - begun)
            waiting = self._waited_for(record, report, waiting)
            request = await self._not_yet(record, request, report, waiting, left)

    async def _answer(self, record: StepRecord, activity: Activity[R, T], request: R) -> Done[T] | NotYet:
        """What the activity says. What it waited for is what the run waits for until then: it waits by itself too."""
        try:
            return await self.call(activity, request)
        finally:
            self.waits(record, None)

    def _waited_for(self, record: StepRecord, report: NotYet, before: WaitingProgress | None) -> WaitingProgress | None:
        """What is waited for, since when it first was."""
        if report.waits_for is None:
            return None
        same = before is not None and (before.kind, before.subject) == (report.waits_for, report.subject)
        return WaitingProgress(
            gate=record.name,
            kind=report.waits_for,
            subject=report.subject,
            detail=failures.shortened(report.reason),
            since=before.since if before and same else self.now(),
        )

    async def _not_yet(
        self, record: StepRecord, request: R, report: NotYet, waiting: WaitingProgress | None, left: float
    ) -> R:
        """Show what is waited for, and wait. Returns the request to go on with."""
        record.note = failures.shortened(report.reason)
        self.waits(record, waiting)
        self.noted(record)
        if report.again_after:
            await self._pause(record, min(report.again_after, left))
        return request.model_copy(update={"note": report.reason or "running", "cursor": report.cursor})

    async def _pause(self, record: StepRecord, seconds: float) -> None:
        self.touch()
        await workflow.sleep(seconds)
        self.go_on(record)


def _left(record: StepRecord, report: NotYet, bound: Bound | None, spent: float) -> float:
    """Seconds that are left. Raises Ended when there are none."""
    if bound is None:
        return float("inf")
    if spent >= bound.seconds:
        message = f"{report.reason or 'not done'} (waited for {round(spent)} s)"
        raise Ended(Failure(step=record.name, type=bound.type, message=message[:1024], retryable=True))
    return max(1.0, bound.seconds - spent)


def _raise_if_final(step: str, trouble: Trouble, spent: float, limit: timedelta | None) -> None:
    too_long = limit is not None and spent > limit.total_seconds()
    if trouble.retryable and not too_long:
        return
    message = f"{trouble.message} (tried for {round(spent)} s)" if too_long else trouble.message
    failure = Failure(
        step=step, type=trouble.type, message=message[:1024], retryable=trouble.retryable, log=trouble.log_end
    )
    raise Ended(failure, trouble.results)
