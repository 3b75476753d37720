"""Runs of one kind against a test server: started, waited for, undone, and read back from their histories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from temporalio.client import WorkflowFailureError, WorkflowHandle

from bascule_api import names
from bascule_api.progress import Progress, RunInput, RunResult, UndoInput, UndoResult
from tests.support.runs import Runs, Told

R = TypeVar("R", bound=RunResult)


@dataclass(frozen=True)
class KindStory(Generic[R]):
    """How a run went."""

    result: R
    progress: list[Progress]
    told: Told
    failure_type: str

    @property
    def closed(self) -> str:
        return self.told.closed

    @property
    def steps(self) -> dict[str, str]:
        return {step.name: str(step.state) for step in self.result.steps}


S = TypeVar("S")


class KindRuns(Generic[R, S]):
    """Starts runs of a kind and waits for them."""

    def __init__(
        self, runs: Runs, kind: str, result: type[R], story: Callable[[R, list[Progress], Told, str], S]
    ) -> None:
        self.runs = runs
        self.env = runs.env
        self._kind = kind
        self._result = result
        self._story = story

    async def start(self, run: RunInput) -> WorkflowHandle[Any, R]:
        return await self.env.client.start_workflow(
            self._kind,
            run,
            id=names.workflow_id(self._kind, run.run.uid, run.run.number),
            task_queue=names.task_queue("acme"),
            result_type=self._result,
        )

    async def carried_out(self, run: RunInput) -> S:
        return await self.story(await self.start(run))

    async def story(self, handle: WorkflowHandle[Any, R], seconds: float = 120) -> S:
        failure_type = ""
        try:
            async with asyncio.timeout(seconds):
                await handle.result()
        except WorkflowFailureError as error:
            failure_type = getattr(error.cause, "type", "") or ""
        told = await self._told(handle)
        memos = told.memos
        progress = [Progress.model_validate(memo[names.MEMO_PROGRESS]) for memo in memos if names.MEMO_PROGRESS in memo]
        [result] = [memo[names.MEMO_RESULT] for memo in memos if names.MEMO_RESULT in memo]
        return self._story(self._result.model_validate(result), progress, told, failure_type)

    async def until(
        self, handle: WorkflowHandle[Any, Any], holds: Callable[[Progress], object], seconds: float = 60
    ) -> Progress:
        """Wait until the run has told something that holds. Server time passes meanwhile."""
        async with asyncio.timeout(seconds):
            while True:
                told = await self._told(handle)
                found = [memo[names.MEMO_PROGRESS] for memo in told.memos if names.MEMO_PROGRESS in memo]
                if found and holds(progress := Progress.model_validate(found[-1])):
                    return progress
                await asyncio.sleep(0.05)

    async def _told(self, handle: WorkflowHandle[Any, Any]) -> Told:
        # The latest execution: a long run goes on in another one.
        return await self.runs.told(self.env.client.get_workflow_handle(handle.id))

    async def undo(self, undo: UndoInput) -> WorkflowHandle[Any, UndoResult]:
        return await self.env.client.start_workflow(
            names.undo_workflow(self._kind),
            undo,
            id=names.undo_workflow_id(self._kind, undo.run.uid, undo.run.number, undo.attempt),
            task_queue=names.task_queue("acme"),
            result_type=UndoResult,
        )

    async def undone(self, undo: UndoInput) -> UndoResult:
        handle = await self.undo(undo)
        async with asyncio.timeout(120):
            return await handle.result()
