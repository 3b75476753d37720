"""What every run has in common: its life from the body over the counterweights to the result that it closes with."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import asdict
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.base import ApiModel
    from bascule_api.conditions import CompensationState, Phase, StepState
    from bascule_api.failures import Failure, FailureType
    from bascule_api.progress import Handover, HandoverStep, Progress, RunInput, RunResult
    from bascule_workers import version
    from bascule_workers.plans import failures
    from bascule_workers.plans.progress import StepRecord, completed, message_of
    from bascule_workers.workflows.saga import Saga
    from bascule_workers.workflows.settling import Settling
    from bascule_workers.workflows.stepping import Stepping
    from bascule_workers.workflows.trouble import Continued, Ended, bugs_end_nothing


_MOMENT = timedelta(milliseconds=1)


class Run(Stepping, ABC):
    """The base of every workflow. A kind gives its steps, its body and its result."""

    def __init__(self, given: RunInput, steps: list[str]) -> None:
        super().__init__(given, steps)
        self.saga = Saga()
        self.facts: dict[str, Any] = {}
        self.failure: Failure | None = None
        self._over: Phase | None = None
        self._began = 0.0
        self._waited = 0.0
        self._settling = Settling(self.input.compensation.timeout.seconds)

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

    def resume(self, state: dict[str, Any]) -> None:
        """Restore what an earlier execution handed on, and register its counterweights again.

        Called before the body and before anything can end the run. For kinds that continue as new.
        """
        raise NotImplementedError(f"{self.kind} does not continue as new")

    # The life of a run

    async def live(self) -> RunResult:
        """Carry out the body, settle what it did, and close as it came out; or go on in another execution."""
        with bugs_end_nothing():
            self._take_up(self.input.handover)
            reporter = self.beside(self._reporting.go_on(self._progress))
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
        except Continued as continued:
            # Another execution would know nothing of a cancellation that meets it: this one ends then.
            if not self._ending and workflow.cancellation_reason() is None:
                self._hand_over(continued.state)
            self.failure = self._timeout() if timed_out else None
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
        await self.until(lambda: body.done() or self._idle is not idle, left)
        if idle:
            self._waited += workflow.time() - since

    def _active_seconds(self, now: float) -> float:
        return now - self._began - self._waited

    def _timeout(self) -> Failure:
        running = [step for step in self.steps.values() if step.state in (StepState.RUNNING, StepState.CANCELLED)]
        notes = "; ".join(f"{step.name}: {step.note}" for step in running if step.note)
        message = f"the run took longer than {self.input.timeout_seconds} s" + (f" ({notes})" if notes else "")
        for step in running:
            step.state, step.message = StepState.FAILED, message
        name = running[0].name if running else ""
        return Failure(step=name, type=FailureType.RUN_TIMED_OUT, message=message[:1024], retryable=True)

    # Going on in another execution

    async def continue_as_new(self, state: ApiModel) -> NoReturn:
        """Have another execution go on, with a history of its own: `resume` gets the state, the body runs again.

        For the body, between steps. Steps, time waited, progress, facts and suspension are handed on as well.
        """
        self._check_ending()
        if self._working or self._parked:
            raise RuntimeError("a run continues as new between steps only")
        # Signals are applied before a cancellation that came with them: after a timer both are known.
        await workflow.sleep(_MOMENT)
        while not workflow.all_handlers_finished():
            await workflow.sleep(_MOMENT)
        raise Continued(state)

    def _hand_over(self, state: ApiModel) -> NoReturn:
        """The memo is handed on explicitly: Temporal keeps the search attributes, but of the memo only its start."""
        handover = Handover(
            progress_number=self._reporting.number,
            started=self._began,
            waited_seconds=self._waited,
            desired=self._desired,
            steps=[HandoverStep.model_validate(asdict(step)) for step in self.steps.values()],
            facts=self.facts,
            counterweights=[entry.name for entry in self.saga.stack],
            state=state.to_wire(),
        )
        workflow.continue_as_new(self.input.model_copy(update={"handover": handover}), memo=dict(workflow.memo()))

    def _take_up(self, handover: Handover | None) -> None:
        """Begin, or go on where an earlier execution stopped."""
        self._began = handover.started if handover else workflow.info().start_time.timestamp()
        if handover is None:
            return
        self._reporting.number = handover.progress_number
        self._waited, self.facts = handover.waited_seconds, handover.facts
        self.steps = {step.name: StepRecord(**step.model_dump()) for step in handover.steps}
        self.resume(handover.state)
        registered = {entry.name for entry in self.saga.stack}
        if forgotten := [name for name in handover.counterweights if name not in registered]:
            raise RuntimeError(f"{self.kind} continued as new and forgot its counterweights: {', '.join(forgotten)}")

    # The end

    async def _settle(self, outcome: Phase) -> None:
        """Run the counterweights. A cancellation meanwhile changes nothing."""
        for record in self.steps.values():
            if record.state == StepState.PENDING and outcome != Phase.SUCCEEDED:
                record.state = StepState.SKIPPED
        self.before_settling(outcome)
        succeeded = outcome == Phase.SUCCEEDED
        due = self.saga.due(succeeded=succeeded, undo=not self._releases_only())
        self._settling.begin(self, due, counts=not succeeded and any(entry.step for entry in due))
        # After a success nobody waits for the releases: unless one is in trouble, the run's end tells of them.
        self.quiet = succeeded
        await self.finished(asyncio.create_task(self._settling.run(self, due)))

    def _releases_only(self) -> bool:
        return workflow.cancellation_reason() == names.CANCEL_DELETED_RELEASES_ONLY

    def _close(self, outcome: Phase) -> RunResult:
        """Tell progress and result a last time, in the activation that closes the workflow."""
        self._over = outcome
        return self._reporting.close(self._progress(), lambda: self.result(self._common_result(outcome)))

    def _common_result(self, outcome: Phase) -> dict[str, Any]:
        return {
            "phase": outcome,
            "progress_number": self._reporting.number,
            "steps": [step.full() for step in self.steps.values()],
            "failure": self.failure if outcome == Phase.FAILED else None,
            "compensation": self._settling.status(),
            "waited_seconds": round(self._waited),
            "version": version.VERSION,
        }

    # Progress

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
        if self._idle and self._desired.suspended:
            return Phase.SUSPENDED
        if self._waiting is not None:
            return Phase.WAITING
        return Phase.RUNNING
