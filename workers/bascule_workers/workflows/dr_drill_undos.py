"""The workflow DRDrillUndo: whatever a drill was doing when it was ended, nothing of it stays."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.dr_drills import DRDrillUndoInput
    from bascule_api.progress import UndoResult
    from bascule_workers.activities.dr_drills import DrillRestores
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.dr_drills import TeardownRequest
    from bascule_workers.messages import Done, Left, NotYet, StepRequest
    from bascule_workers.plans import dr_drills as plans
    from bascule_workers.workflows.calling import Activity
    from bascule_workers.workflows.drill_ends import CREDENTIALS, NAMESPACE, VELERO, torn_down
    from bascule_workers.workflows.undo import Undo


@workflow.defn(name=names.undo_workflow("DRDrill"))
class DRDrillUndoWorkflow(Undo):
    """Releases what a run of a DRDrill left. There is nothing else that it could take back."""

    kind = "DRDrill"

    @workflow.init
    def __init__(self, undo: DRDrillUndoInput) -> None:
        super().__init__(undo)
        self.undo = undo

    @workflow.run
    async def run(self, undo: DRDrillUndoInput) -> UndoResult:
        """Returns how it went; it completes also where something is left."""
        return await self.live()

    def register(self) -> None:
        self.saga.release(CREDENTIALS, RunActivities.release_all, plans.release_request(self.undo))
        self.saga.release(NAMESPACE, None, plans.teardown_request(self.undo))
        # First of all: Velero would make the namespace again.
        self.saga.release(VELERO, DrillRestores.remove_velero, plans.remove_velero_request(self.undo))

    async def take_back(self, activity: Activity[Any, Left] | None, request: StepRequest) -> Done[Left] | NotYet:
        if not isinstance(request, TeardownRequest):
            return await super().take_back(activity, request)
        report = await torn_down(self, request)
        if isinstance(report, NotYet):
            return report
        return Done(value=Left(items=report.value.items, found=report.value.found))
