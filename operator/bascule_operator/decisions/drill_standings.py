"""How a DRDrill stands, for those who watch over many: the last verdict, or that it is overdue. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from bascule_api.conditions import Phase
from bascule_api.dr_drill_status import DRDrillStatus, DrillVerdict
from bascule_api.schedules import Schedule


class Standing(StrEnum):
    """How a DRDrill stands."""

    MET = "Met"
    """The last drill met its objectives."""
    MISSED = "Missed"
    """The last drill did not."""
    INCONCLUSIVE = "Inconclusive"
    """The last drill could not tell."""
    OVERDUE = "Overdue"
    """Its schedule was due, and no drill began since; whatever the last one said."""
    NEW = "New"
    """There was no drill yet."""


_OF_VERDICT = {
    DrillVerdict.MET: Standing.MET,
    DrillVerdict.MISSED: Standing.MISSED,
    DrillVerdict.INCONCLUSIVE: Standing.INCONCLUSIVE,
}


def standing(body: dict[str, Any], now: datetime) -> Standing | None:
    """How the DRDrill stands that this API object is; None where that cannot be read."""
    spec = body.get("spec") or {}
    try:
        status = DRDrillStatus.model_validate(body.get("status") or {})
        schedule = Schedule.model_validate(spec["schedule"]) if spec.get("schedule") else None
    except ValidationError:
        return None
    if schedule is not None and not spec.get("suspend") and _is_overdue(status, schedule, now):
        return Standing.OVERDUE
    verdict = status.drills[0].verdict if status.drills else None
    return _OF_VERDICT[verdict] if verdict else Standing.NEW


def _is_overdue(status: DRDrillStatus, schedule: Schedule, now: datetime) -> bool:
    run, known = status.run, status.schedule
    if known is None or (run is not None and run.outcome is None and status.phase is not Phase.PENDING):
        return False
    late = known.next is not None and known.next + timedelta(seconds=schedule.starting_deadline.seconds) < now
    # What was missed since one drill went on for too long is no sign that none is held.
    over = run.finished_at if run else None
    return late or (known.missed_at is not None and (over is None or over < known.missed_at))
