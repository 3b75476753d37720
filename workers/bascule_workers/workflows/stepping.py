"""The steps of a run, and where it pauses: suspension and gates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.conditions import StepState
    from bascule_api.progress import ApprovalMessage, Desired, RunInput, WaitingProgress
    from bascule_api.runs import ApprovalSpec
    from bascule_workers.plans.progress import StepRecord
    from bascule_workers.workflows.calling import Activity, R, T
    from bascule_workers.workflows.gates import ApprovalGate
    from bascule_workers.workflows.repeating import SERVICE_LIMIT, Repeating
    from bascule_workers.workflows.trouble import Ended


class Stepping(Repeating):
    """Carries out steps, with retries and waits as durable timers."""

    def __init__(self, given: RunInput, steps: list[str]) -> None:
        super().__init__(given.run.uid)
        self.input = given
        self.steps = {name: StepRecord(name) for name in steps}
        # Before any signal is handled: one may be there before the run's first act.
        self._desired = given.handover.desired if given.handover else Desired(sequence=-1, suspended=given.suspended)
        self._ending = False
        self._waiting: WaitingProgress | None = None
        self._gate: ApprovalGate | None = None
        self._parked = 0
        self._working = 0
        self._gates: dict[str, str] = {}
        """Steps at which the run waits for something besides people, and what that gate is called."""

    def stir(self) -> None:
        """Something changed that soon changes again, unless there is trouble: it is told with what follows."""
        self._reporting.stirred = self._reporting.stirred or not self.quiet

    async def step(
        self,
        name: str,
        activity: Activity[R, T],
        request: R,
        *,
        limit: timedelta | None = SERVICE_LIMIT,
        ends: bool = True,
        gate: str = "",
    ) -> T:
        """Carry out a step: one activity, again and again until it is done.

        Waits and retries are durable timers. `limit` bounds how long trouble is waited out; None leaves that to the
        run's timeout. With `ends=False` another activity of the same step follows. `gate`: the run waits at this gate
        meanwhile, and its timeout stands still. Raises Ended.
        """
        await self._boundary()
        # A step that only needs a service is over within moments, as a rule.
        tell = self.touch if limit is None else self.stir
        record = self.steps[name]
        record.state, record.started = StepState.RUNNING, record.started or self.now()
        tell()
        self._begin_work(name, gate)
        try:
            value = await self.repeated(record, activity, request, limit)
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
            self._end_work(name)
            record.finished = self.now() if record.state != StepState.RUNNING else None
            tell()

    def _begin_work(self, name: str, gate: str) -> None:
        if gate:
            self._gates[name] = gate
            self._parked += 1
        else:
            self._working += 1

    def _end_work(self, name: str) -> None:
        if self._gates.pop(name, ""):
            self._parked -= 1
        else:
            self._working -= 1

    def not_needed(self, name: str, reason: str) -> None:
        """A step turned out to have nothing to do here."""
        record = self.steps[name]
        record.state, record.message = StepState.SKIPPED, reason
        self.stir()

    def go_on(self, record: StepRecord) -> None:
        self._check_ending()

    def waits(self, record: StepRecord, waiting: WaitingProgress | None) -> None:
        gate = self._gates.get(record.name)
        self._waiting = waiting.model_copy(update={"gate": gate}) if waiting and gate else waiting

    def _check_ending(self) -> None:
        if self._ending:
            raise asyncio.CancelledError

    async def _boundary(self) -> None:
        """Where a run may pause: before each step."""
        self._check_ending()
        if self._desired.suspended:
            await self.parked(lambda: not self._desired.suspended)

    async def approved(self, gate: str, subject: str, spec: ApprovalSpec) -> ApprovalMessage | None:
        """Wait until a person has approved the subject: returns the approval; None where none is asked for.

        Raises Ended when it is rejected, or too late.
        """
        if not spec.required:
            return None
        await self._boundary()
        self._gate = ApprovalGate(gate, subject, spec.timeout.seconds)
        try:
            while not self._gate.decided:
                await self._at_gate(self._gate)
            return self._gate.approval
        finally:
            self._gate = self._waiting = None
            self.touch()

    async def _at_gate(self, gate: ApprovalGate) -> None:
        """Wait for a decision, or for a change of suspension: while suspended, the gate's deadline stands still."""
        suspended, since = self._desired.suspended, workflow.time()
        left = None if suspended else timedelta(seconds=gate.seconds_left)
        self._waiting = gate.waiting(self.now(), deadline=not suspended)
        try:
            await self.parked(lambda: gate.decided or self._desired.suspended != suspended, left)
        except TimeoutError:
            raise Ended(gate.too_late()) from None
        if not suspended:
            gate.seconds_left -= workflow.time() - since
        if gate.rejection is not None:
            raise Ended(gate.rejection)

    async def parked(self, until: Callable[[], bool], longest: timedelta | None = None) -> None:
        """Wait for people; the run's timeout stands still. Raises TimeoutError after the longest time."""
        self._parked += 1
        self.touch()
        try:
            await workflow.wait_condition(until, timeout=longest)
        finally:
            self._parked -= 1
            self.touch()

    # Waiting for people

    @property
    def _idle(self) -> bool:
        """Whether the run waits for people, and nothing else goes on: then its timeout stands still."""
        return self._parked > 0 and self._working == 0

    @workflow.signal(name=names.SIGNAL_DESIRED)
    def desired(self, desired: Desired) -> None:
        """The operator says whether to be suspended; the highest sequence wins."""
        if desired.sequence > self._desired.sequence:
            self._desired = desired
            self.touch()

    @workflow.update(name=names.UPDATE_APPROVAL)
    async def approval(self, message: ApprovalMessage) -> None:
        """A person's decision on the gate at which the run waits. The first one counts."""
        if self._gate is not None:
            self._gate.decide(message)

    @approval.validator
    def _validate_approval(self, message: ApprovalMessage) -> None:
        given = (message.uid, message.run)
        if given != (self.input.run.uid, self.input.run.number):
            raise ApplicationError("the Approval is for another run", type="Stale", non_retryable=True)
        if self._gate is None or not self._gate.awaits(message):
            raise ApplicationError("the run waits for no such approval", type="Stale", non_retryable=True)
