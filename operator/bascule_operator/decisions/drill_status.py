"""What the status of a DRDrill says of its drills: the figures, their history, and what the conditions make of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bascule_api import names
from bascule_api.conditions import ConditionStatus, ConditionType, Reason
from bascule_api.dr_drill_specs import DRDrillSpec, Objectives
from bascule_api.dr_drill_status import (
    HISTORY_LIMIT,
    DRDrillStatus,
    DrillFigures,
    DrillStatus,
    DrillVerdict,
    PastDrill,
    VerdictReason,
)
from bascule_api.dr_drills import DRDrillResult
from bascule_operator.decisions.conditions import RUN_LIFE, Says, conditions, find, ready, stalled
from bascule_operator.decisions.records import in_history, is_another, is_over
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import RunView

_UNKNOWN = "what the drill measured is not on record any more: another drill measures anew"


def complete(subject: Subject, old: DRDrillStatus, new: DRDrillStatus, view: RunView, now: datetime) -> DRDrillStatus:
    """The status with what concerns the drill, and what it says of it."""
    told = _begun(subject, old, _known(old, new, view))
    return _with_conditions(subject, old, told, now) if is_over(told) else told


# What the run told


def _known(old: DRDrillStatus, new: DRDrillStatus, view: RunView) -> DRDrillStatus:
    run, progress = new.run, view.progress
    if old.run is not None and old.run.outcome is None and in_history(new, old.run.number):
        return _ended(new, old.run.number, _measured(old, view))
    if progress is None or run is None or is_over(new) or is_another(old, new):
        return new
    if progress.number < run.progress_number:
        return new
    drill = _fact(progress.facts)
    return new.model_copy(update={"drill": drill}) if drill else new


def _measured(old: DRDrillStatus, view: RunView) -> DrillStatus:
    """What is known of a drill that is over: by its result; else what it told last."""
    if isinstance(view.result, DRDrillResult) and view.result.drill is not None:
        return view.result.drill
    return (_fact(view.progress.facts) if view.progress else None) or old.drill or DrillStatus()


def _fact(facts: Mapping[str, Any]) -> DrillStatus | None:
    """None where it is not there, or cannot be understood."""
    try:
        return DrillStatus.model_validate(facts["drill"]) if facts.get("drill") else None
    except ValidationError:
        return None


def _ended(new: DRDrillStatus, number: int, drill: DrillStatus) -> DRDrillStatus:
    """The status with the drill of a run that is over, and with that drill in the history."""
    past = next(item for item in new.history if item.number == number)
    if drill.verdict is None:
        why = f"the run ended before it could be measured: {past.summary or past.phase}"
        unmeasured = {"verdict": DrillVerdict.INCONCLUSIVE, "reason": VerdictReason.NOT_MEASURED, "message": why[:256]}
        drill = drill.model_copy(update=unmeasured)
    figures = {name: getattr(drill, name) for name in DrillFigures.model_fields}
    added = PastDrill(number=number, finished_at=past.finished_at, **figures)
    others = [known for known in new.drills if known.number != number]
    return new.model_copy(update={"drill": drill, "drills": [added, *others][:HISTORY_LIMIT]})


def _begun(subject: Subject, old: DRDrillStatus, new: DRDrillStatus) -> DRDrillStatus:
    """With the intent of a run its namespace is known, so that whatever becomes of the run, people can look it up."""
    run = new.run
    if run is None:
        return new
    another = old.run is None or is_another(old, new)
    if not another and (new.drill is not None or is_over(new)):
        return new
    return new.model_copy(update={"drill": DrillStatus(namespace=names.drill_namespace(subject.meta.uid, run.number))})


# What the conditions make of it


def _with_conditions(subject: Subject, old: DRDrillStatus, told: DRDrillStatus, now: datetime) -> DRDrillStatus:
    figures = _figures(told)
    words = _words(subject, told, figures)
    says = [_objectives(figures, words)]
    replaces: tuple[ConditionType, ...] = (ConditionType.OBJECTIVES_MET,)
    before = told.conditions
    found = find(told.conditions, ConditionType.READY)
    if found is not None and found.status is ConditionStatus.TRUE:
        # Since when it is not Ready is known from before: what all kinds say of a run that succeeded is not true here.
        before = [item for item in old.conditions if item.type in RUN_LIFE]
        before += [item for item in told.conditions if item.type not in RUN_LIFE]
        says, replaces = [*_life(figures, words), *says], (*RUN_LIFE, *replaces)
    generation = max(0, told.observed_generation)
    merged = conditions(before, says, replaces=replaces, generation=generation, now=now)
    return told.model_copy(update={"conditions": merged})


def _figures(status: DRDrillStatus) -> DrillFigures:
    number = status.run.number if status.run else 0
    drill = status.drill if status.drill is not None and status.drill.verdict is not None else None
    past = next((known for known in status.drills if known.number == number), None)
    unknown = DrillFigures(
        verdict=DrillVerdict.INCONCLUSIVE, reason=VerdictReason.NOT_MEASURED, message=_UNKNOWN
    )  # fmt: skip
    return drill or past or unknown


_SAYS = {
    DrillVerdict.MET: (ConditionStatus.TRUE, Reason.OBJECTIVES_MET),
    DrillVerdict.MISSED: (ConditionStatus.FALSE, Reason.OBJECTIVES_MISSED),
    DrillVerdict.INCONCLUSIVE: (ConditionStatus.UNKNOWN, Reason.INCONCLUSIVE),
}


def _objectives(figures: DrillFigures, words: str) -> Says:
    status, reason = _SAYS[figures.verdict or DrillVerdict.INCONCLUSIVE]
    return Says(ConditionType.OBJECTIVES_MET, status, reason, words)


def _life(figures: DrillFigures, words: str) -> list[Says]:
    """Ready only where the objectives are met: a run that succeeded has measured, and that is all."""
    if figures.verdict is DrillVerdict.MET:
        return ready(Reason.SUCCEEDED, words)
    return stalled(_SAYS[figures.verdict or DrillVerdict.INCONCLUSIVE][1], words)


_BEGINNINGS = {
    DrillVerdict.MET: "met its objectives",
    DrillVerdict.MISSED: "missed its objectives",
    DrillVerdict.INCONCLUSIVE: "was inconclusive",
}


def _words(subject: Subject, status: DRDrillStatus, figures: DrillFigures) -> str:
    run = status.run
    verdict = figures.verdict or DrillVerdict.INCONCLUSIVE
    text = f"drill {run.number if run else 0} {_BEGINNINGS[verdict]}"
    if verdict is not DrillVerdict.MET:
        text += f" ({figures.reason or VerdictReason.NOT_MEASURED})"
        text += f": {figures.message}" if figures.message else ""
    measured = _measured_words(figures, _objectives_of(subject, status))
    return f"{text}{': ' if verdict is DrillVerdict.MET else '; '}{measured}" if measured else text


def _objectives_of(subject: Subject, status: DRDrillStatus) -> Objectives:
    """Those of the drill; none where the spec is another by now."""
    spec, run = subject.spec, status.run
    same = run is not None and run.revision == subject.revision
    return spec.objectives if same and isinstance(spec, DRDrillSpec) else Objectives()


def _measured_words(figures: DrillFigures, objectives: Objectives) -> str:
    told = (("RTO", figures.rto, objectives.rto), ("RPO", figures.rpo, objectives.rpo))
    return ", ".join(
        f"{name} {value}" + (f" (objective {wanted})" if wanted else "") for name, value, wanted in told if value
    )
