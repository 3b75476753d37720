"""Runs of DRDrills against a test server: started, and read back from their histories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.dr_drill_status import DrillStatus
from bascule_api.dr_drills import DRDrillInput, DRDrillResult, DRDrillUndoInput
from bascule_api.progress import Progress, UndoResult
from tests.support.runs import Runs, Told


@dataclass(frozen=True)
class Story:
    """How a drill went."""

    result: DRDrillResult
    progress: list[Progress]
    told: Told
    failure_type: str

    @property
    def closed(self) -> str:
        return self.told.closed

    @property
    def steps(self) -> dict[str, str]:
        return {step.name: str(step.state) for step in self.result.steps}

    @property
    def messages(self) -> dict[str, str]:
        return {step.name: step.message for step in self.result.steps if step.message}

    @property
    def drill(self) -> DrillStatus:
        assert self.result.drill is not None
        return self.result.drill

    @property
    def verdict(self) -> tuple[str, str]:
        return str(self.drill.verdict), str(self.drill.reason)

    @property
    def phases(self) -> list[Phase]:
        """The phases in order, without repetitions."""
        seen = [progress.phase for progress in self.progress]
        return [phase for index, phase in enumerate(seen) if index == 0 or seen[index - 1] != phase]


class Drills:
    """Starts drills and waits for them."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.env = runs.env

    async def start(self, drill: DRDrillInput) -> WorkflowHandle[Any, DRDrillResult]:
        return await self.env.client.start_workflow(
            "DRDrill",
            drill,
            id=names.workflow_id("DRDrill", drill.run.uid, drill.run.number),
            task_queue=names.task_queue("acme"),
            result_type=DRDrillResult,
        )

    async def carried_out(self, drill: DRDrillInput) -> Story:
        return await self.story(await self.start(drill))

    async def story(self, handle: WorkflowHandle[Any, DRDrillResult]) -> Story:
        failure_type = ""
        try:
            async with asyncio.timeout(120):
                await handle.result()
        except WorkflowFailureError as error:
            failure_type = getattr(error.cause, "type", "") or ""
        told = await self.runs.told(handle)
        memos = told.memos
        progress = [Progress.model_validate(memo[names.MEMO_PROGRESS]) for memo in memos if names.MEMO_PROGRESS in memo]
        [result] = [memo[names.MEMO_RESULT] for memo in memos if names.MEMO_RESULT in memo]
        return Story(DRDrillResult.model_validate(result), progress, told, failure_type)

    async def until(self, handle: WorkflowHandle[Any, Any], holds: Callable[[Progress], object]) -> Progress:
        """Wait until the run has told something that holds. Server time passes meanwhile."""
        async with asyncio.timeout(60):
            while True:
                told = await self.runs.told(handle)
                found = [memo[names.MEMO_PROGRESS] for memo in told.memos if names.MEMO_PROGRESS in memo]
                if found and holds(progress := Progress.model_validate(found[-1])):
                    return progress
                await asyncio.sleep(0.05)

    async def undo(self, undo: DRDrillUndoInput) -> WorkflowHandle[Any, UndoResult]:
        return await self.env.client.start_workflow(
            names.undo_workflow("DRDrill"),
            undo,
            id=names.undo_workflow_id("DRDrill", undo.run.uid, undo.run.number, undo.attempt),
            task_queue=names.task_queue("acme"),
            result_type=UndoResult,
        )

    async def undone(self, undo: DRDrillUndoInput) -> UndoResult:
        handle = await self.undo(undo)
        async with asyncio.timeout(120):
            return await handle.result()
