"""What every run has in common: steps with retries and waits, suspension, timeout, counterweights, progress, result.

Everything that people may want to know is a value here, so that the memo can carry it; Temporal's own retries are off.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributeUpdate
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.conditions import CompensationState, Phase, StepState
    from bascule_api.progress import Desired, Progress, RunInput, RunResult, WaitingProgress
    from bascule_api.runs import Failure, FailureType
    from bascule_workers import version
    from bascule_workers.messages import Done, NotYet, StepRequest
    from bascule_workers.plans import failures
    from bascule_workers.plans.progress import StepRecord, bounded, completed, message_of
    from bascule_workers.workflows.saga import Saga
    from bascule_workers.workflows.settling import Settling
    from bascule_workers.workflows.trouble import Ended, Trouble, trouble_of

T = TypeVar("T")
R = TypeVar("R", bound=StepRequest)
Activity = Callable[[Any, R], Awaitable[Done[T] | NotYet]]

ACTIVITY_TIMEOUT = timedelta(minutes=10)
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
SERVICE_LIMIT = timedelta(minutes=15)
"""How long a step that only needs a service goes on trying."""

UPDATED_AT = SearchAttributeKey.for_datetime(names.SEARCH_UPDATED_AT)
KIND = SearchAttributeKey.for_keyword(names.SEARCH_KIND)
UID = SearchAttributeKey.for_keyword(names.SEARCH_UID)
PHASE = SearchAttributeKey.for_keyword(names.SEARCH_PHASE)


class Run(ABC):
    """The base of every workflow. A kind gives its steps, its body and its result."""

    kind: ClassVar[str]

    def __init__(self, given: RunInput, steps: list[str]) -> None:
        self.input = given
        self.saga = Saga()
        self.steps = {name: StepRecord(name) for name in steps}
        self.facts: dict[str, Any] = {}
        self.failure: Failure | None = None
        self._desired = Desired(sequence=-1, suspended=given.suspended)
        self._over: Phase | None = None
        self._ending = False
        self._waiting: WaitingProgress | None = None
        self._parked = 0
        self._working = 0
        self._waited = 0.0
        self._settling = Settling(self.input.compensation.timeout.seconds)
        self._told: Progress | None = None
        self._number = 0
        self._changed = True

    # What a kind fills in

    @abstractmethod
    async def body(self) -> None:
        """The run's story. Raises Ended when it fails."""

    @abstractmethod
    def result(self, common: dict[str, Any]) -> RunResult:
        """The result, from what all kinds have in common and what this kind found."""

    @abstractmethod
    def before_settling(self, outcome: Phase) -> None:
        """The outcome is known; counterweights may still be amended."""

    @abstractmethod
    def undone(self, name: str) -> None:
        """A counterweight has done its work, with nothing left."""

    # The life of a run

    @workflow.signal(name=names.SIGNAL_DESIRED)
    def desired(self, desired: Desired) -> None:
        """The operator says whether to be suspended; the highest sequence wins."""
        if desired.sequence > self._desired.sequence:
            self._desired = desired
            self.touch()

    async def live(self) -> RunResult:
        """Carry out the body, settle what it did, and close as it came out."""
        reporter = asyncio.create_task(self._report())
        outcome = await self._outcome()
        await self._settle(outcome)
        reporter.cancel()
        result = self._close(outcome)
        if outcome == Phase.FAILED and self.failure is not None:
            raise ApplicationError(self.failure.message, type=self.failure.type, non_retryable=True)
        if outcome == Phase.CANCELLED:
            raise asyncio.CancelledError(workflow.cancellation_reason() or "")
        return result

    async def _outcome(self) -> Phase:
        """Carry out the body until it ends, the run is cancelled, or its time is up."""
        body = asyncio.create_task(self.body())
        timed_out = False
        while not body.done():
            try:
                await self._until_idleness_changes(body)
            except (TimeoutError, asyncio.CancelledError) as error:
                timed_out = timed_out or isinstance(error, asyncio.TimeoutError)
                if not self._ending:
                    body.cancel()
                self._ending = True
        try:
            await body
        except Ended as ended:
            self.failure = ended.failure
        except BaseException as error:
            # Anything else is a bug: the workflow task fails and is tried again with mended code; nothing is undone.
            if not (self._ending and is_cancelled_exception(error)):
                raise
            self.failure = self._timeout() if timed_out else None
        else:
            return Phase.SUCCEEDED
        return Phase.FAILED if self.failure and not self._cancelled(timed_out) else Phase.CANCELLED

    def _cancelled(self, timed_out: bool) -> bool:
        return workflow.cancellation_reason() is not None and not timed_out

    async def _until_idleness_changes(self, body: asyncio.Task[None]) -> None:
        """Return when the body is done or starts or stops waiting for people. TimeoutError when time is up."""
        idle, since = self._idle, workflow.time()
        left = None
        if not idle and not self._ending:
            left = timedelta(seconds=max(0.0, self.input.timeout_seconds - self._active_seconds(since)))
        await workflow.wait_condition(lambda: body.done() or self._idle is not idle, timeout=left)
        if idle:
            self._waited += workflow.time() - since

    def _active_seconds(self, now: float) -> float:
        return now - workflow.info().start_time.timestamp() - self._waited

    @property
    def _idle(self) -> bool:
        """Whether the run waits for people, and nothing else goes on: then its timeout stands still."""
        return self._parked > 0 and self._working == 0

    def _timeout(self) -> Failure:
        running = [step for step in self.steps.values() if step.state in (StepState.RUNNING, StepState.CANCELLED)]
        notes = "; ".join(f"{step.name}: {step.note}" for step in running if step.note)
        message = f"the run took longer than {self.input.timeout_seconds} s" + (f" ({notes})" if notes else "")
        for step in running:
            step.state, step.message = StepState.FAILED, message
        name = running[0].name if running else ""
        return Failure(step=name, type=FailureType.RUN_TIMED_OUT, message=message[:1024], retryable=True)

    # Steps

    async def step(
        self,
        name: str,
        activity: Activity[R, T],
        request: R,
        *,
        limit: timedelta | None = SERVICE_LIMIT,
        ends: bool = True,
    ) -> T:
        """Carry out a step: one activity, again and again until it is done.

        Waits and retries are durable timers. `limit` bounds how long trouble is waited out; None leaves that to the
        run's timeout. With `ends=False` another activity of the same step follows. Raises Ended.
        """
        await self._boundary()
        record = self.steps[name]
        record.state, record.started = StepState.RUNNING, record.started or self.now()
        self.touch()
        self._working += 1
        try:
            value = await self._repeated(record, activity, request, limit)
        except Ended as ended:
            record.state, record.message = StepState.FAILED, ended.failure.message
            raise
        except BaseException as error:
            if is_cancelled_exception(error):
                record.state = StepState.CANCELLED
            raise
        else:
            record.state, record.note = (StepState.SUCCEEDED if ends else StepState.RUNNING), ""
            return value
        finally:
            self._working -= 1
            record.finished = self.now() if record.state != StepState.RUNNING else None
            self.touch()

    async def _repeated(self, record: StepRecord, activity: Activity[R, T], request: R, limit: timedelta | None) -> T:
        begun, errors = workflow.time(), 0
        record.attempts = record.attempts or 1
        while True:
            try:
                report = await self.call(activity, request)
            except ActivityError as error:
                self._check_ending()
                errors += 1
                trouble = trouble_of(error)
                record.note = failures.shortened(f"attempt {record.attempts}: {trouble.message}")
                self._raise_if_final(record.name, trouble, workflow.time() - begun, limit)
                request = request.model_copy(update=trouble.next_attempt(request.job_attempt))
                # Counted as it is decided, not as it begins: one change to tell instead of two.
                record.attempts += 1
                await self._pause(failures.backoff(errors))
                continue
            self._check_ending()
            if isinstance(report, Done):
                return report.value
            errors = 0
            request = await self._not_yet(record, request, report)

    async def _not_yet(self, record: StepRecord, request: R, report: NotYet) -> R:
        """Show what is waited for, and wait. Returns the request to go on with."""
        record.note = failures.shortened(report.reason)
        self._waiting = None
        if report.waits_for is not None:
            self._waiting = WaitingProgress(
                gate=record.name, kind=report.waits_for, subject=report.subject, detail=record.note, since=self.now()
            )
        self.touch()
        if report.again_after:
            await self._pause(report.again_after)
        self._waiting = None
        return request.model_copy(update={"note": report.reason or "running"})

    def _raise_if_final(self, step: str, trouble: Trouble, spent: float, limit: timedelta | None) -> None:
        too_long = limit is not None and spent > limit.total_seconds()
        if trouble.retryable and not too_long:
            return
        message = f"{trouble.message} (tried for {round(spent)} s)" if too_long else trouble.message
        raise Ended(Failure(step=step, type=trouble.type, message=message[:1024], retryable=trouble.retryable))

    async def call(self, activity: Activity[R, T], request: R) -> Done[T] | NotYet:
        """One attempt of an activity."""
        return await workflow.execute_activity_method(
            activity,
            request,
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary=request.step,
        )

    async def _pause(self, seconds: float) -> None:
        self.touch()
        await workflow.sleep(seconds)
        self._check_ending()

    def _check_ending(self) -> None:
        """A cancellation can meet an activity that ends by itself at the same moment: then it is delivered here."""
        if self._ending:
            raise asyncio.CancelledError

    async def _boundary(self) -> None:
        """Where a run may pause: before each step."""
        self._check_ending()
        if self._desired.suspended:
            await self.parked(lambda: not self._desired.suspended)

    async def parked(self, until: Callable[[], bool]) -> None:
        """Wait for people; the run's timeout stands still."""
        self._parked += 1
        self.touch()
        try:
            await workflow.wait_condition(until)
        finally:
            self._parked -= 1
            self.touch()

    # The end

    async def _settle(self, outcome: Phase) -> None:
        """Run the counterweights. A cancellation meanwhile changes nothing."""
        for record in self.steps.values():
            if record.state == StepState.PENDING and outcome != Phase.SUCCEEDED:
                record.state = StepState.SKIPPED
        self.before_settling(outcome)
        work = asyncio.create_task(self._settling.run(self, self.saga, succeeded=outcome == Phase.SUCCEEDED))
        while not work.done():
            try:
                await workflow.wait_condition(work.done)
            except asyncio.CancelledError:
                continue
        await work

    def _close(self, outcome: Phase) -> RunResult:
        """Tell progress and result a last time, in the activation that closes the workflow."""
        self._over = outcome
        self._upsert(self._progress())
        result = self.result(
            {
                "phase": outcome,
                "progress_number": self._number,
                "steps": [step.full() for step in self.steps.values()],
                "failure": self.failure if outcome == Phase.FAILED else None,
                "compensation": self._settling.status(),
                "waited_seconds": round(self._waited),
                "version": version.VERSION,
            }
        )
        workflow.upsert_memo({names.MEMO_RESULT: result.to_wire()})
        return result

    # Progress

    def now(self) -> int:
        return int(workflow.time())

    def touch(self) -> None:
        """Something changed that people may want to see."""
        self._changed = True

    async def _report(self) -> None:
        """Tell the progress, once at the end of each activation in which it changed."""
        while True:
            await workflow.wait_condition(lambda: self._changed)
            while self._changed:
                self._changed = False
                # Conditions are looked at when nothing else can run: until then more may change.
                await workflow.wait_condition(lambda: True)
            self._upsert(self._progress())

    def _progress(self) -> Progress:
        steps = list(self.steps.values())
        return Progress(
            number=1,
            phase=self._phase(),
            steps=[step.brief() for step in steps],
            completed=completed(steps),
            total=len(steps),
            message=failures.shortened(self._settling.message or message_of(steps)),
            waiting=self._waiting,
            compensation=self._settling.progress(),
            version=version.VERSION,
            facts=self.facts,
        )

    def _phase(self) -> Phase:
        if self._over is not None:
            return self._over
        if self._settling.state == CompensationState.RUNNING:
            return Phase.COMPENSATING
        if self._waiting is not None:
            return Phase.WAITING
        if self._idle and self._desired.suspended:
            return Phase.SUSPENDED
        return Phase.RUNNING

    def _upsert(self, progress: Progress) -> None:
        self._changed = False
        if progress == self._told:
            return
        # Facts are replaced, never changed in place: the copy of the reference is enough to compare with.
        self._told = progress
        self._number += 1
        told = bounded(progress.model_copy(update={"number": self._number}))
        workflow.upsert_memo({names.MEMO_PROGRESS: told.to_wire()})
        updates: list[SearchAttributeUpdate[Any]] = [
            UPDATED_AT.value_set(workflow.now()),
            PHASE.value_set(told.phase),
        ]
        if self._number == 1:
            updates += [KIND.value_set(self.kind), UID.value_set(self.input.run.uid)]
        workflow.upsert_search_attributes(updates)
