"""Taking back what a run left, after the run itself is over: the common part of every kind's undo workflow.

A run that ended by itself has compensated, or said what is left. This one is for the others: a finished run whose
effects shall go with its resource, one that was ended by others, and a compensation that failed. It believes nothing
that was written down: what there is to take back is looked for where it would be.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.conditions import CompensationState, Phase
    from bascule_api.progress import Progress, UndoInput, UndoResult
    from bascule_workers import version
    from bascule_workers.plans import failures
    from bascule_workers.workflows.calling import HEARTBEAT_TIMEOUT, Calling
    from bascule_workers.workflows.saga import Saga
    from bascule_workers.workflows.settling import Settling
    from bascule_workers.workflows.trouble import bugs_end_nothing

LAST_WORDS = HEARTBEAT_TIMEOUT + timedelta(seconds=5)
"""After this time every activity of a run that is no more has heard of it, as its worker heartbeats every 1 to 5 s."""


class Undo(Calling, ABC):
    """The base of every undo workflow. A kind registers its counterweights."""

    def __init__(self, given: UndoInput) -> None:
        super().__init__(given.run.uid)
        self.input = given
        self.saga = Saga()
        self._settling = Settling(given.timeout_seconds, given.attempt)

    @abstractmethod
    def register(self) -> None:
        """Register what may be there to take back, in the order in which the run would have made it."""

    async def live(self) -> UndoResult:
        """Carry out the counterweights, and complete whatever came of it. A cancellation changes nothing."""
        with bugs_end_nothing():
            self.register()
            reporter = self.beside(self._reporting.go_on(self._progress))
            await self.finished(asyncio.create_task(self._settle()))
            reporter.cancel()
            return self._reporting.close(self._progress(), self._result)

    async def _settle(self) -> None:
        due = self.saga.due(succeeded=False, undo=self.input.undo)
        self._settling.begin(self, due, counts=True)
        if self.input.abandoned:
            self._settling.message = "waiting for activities of the run to end"
            self.touch()
            await workflow.sleep(LAST_WORDS)
        await self._settling.run(self, due)
        if self._settling.state == CompensationState.SUCCEEDED and not self._settling.found:
            self._settling.state = CompensationState.NOTHING_TO_DO

    def _progress(self) -> Progress:
        return Progress(
            number=1,
            phase=Phase.COMPENSATING,
            message=failures.shortened(self._settling.message),
            compensation=self._settling.progress(),
            version=version.VERSION,
        )

    def _result(self) -> UndoResult:
        info = workflow.info()
        told = {"attempt": self.input.attempt, "workflow_id": info.workflow_id, "run_id": info.run_id}
        return UndoResult(
            progress_number=self._reporting.number,
            compensation=self._settling.status().model_copy(update=told),
            version=version.VERSION,
        )
