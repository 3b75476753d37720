"""DRDrills: what they add to the reconciler of everything that runs."""

from __future__ import annotations

from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drill_status import DRDrillStatus
from bascule_api.dr_drills import REVISION_FIELDS, DRDrillInput, DRDrillResult
from bascule_api.progress import RunIdentity
from bascule_api.runs import RunStatus
from bascule_operator.decisions import dr_drills, drill_status
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, RunView
from bascule_operator.reconcilers.kinds import RunKind
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key


def workflow_input(subject: Subject, run: RunIdentity, grounds: Grounds) -> DRDrillInput:
    """The input of the run's workflow."""
    spec, status = subject.spec, subject.status
    if not isinstance(spec, DRDrillSpec) or not isinstance(status, DRDrillStatus):
        raise TypeError("a DRDrill has a DRDrillSpec and a DRDrillStatus")
    return dr_drills.workflow_input(spec, status, run, grounds)


def complete(world: World, key: Key, subject: Subject, new: RunStatus, view: RunView) -> RunStatus:
    """The status with what concerns the drill."""
    old = subject.status
    if not isinstance(old, DRDrillStatus) or not isinstance(new, DRDrillStatus):
        raise TypeError("a DRDrill has a DRDrillStatus")
    return drill_status.complete(subject, old, new, view, world.clock())


KIND = RunKind(
    kind=dr_drills.KIND,
    spec=DRDrillSpec,
    status=DRDrillStatus,
    result=DRDrillResult,
    fields=REVISION_FIELDS,
    wants=dr_drills.wants,
    workflow_input=workflow_input,
    undo_input=dr_drills.undo_input,
    undo_wants=dr_drills.undo_wants,
    complete=complete,
    refused=dr_drills.refused,
    forbidden=dr_drills.forbidden,
)
