"""What the status of a PatchCampaign says of its targets: what the run told, Ready's words, what was verified."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bascule_api.conditions import Condition, ConditionStatus, ConditionType, Phase, Reason
from bascule_api.failures import FailureType
from bascule_api.patch_campaign_specs import Mode, PatchCampaignSpec
from bascule_api.patch_campaign_status import FailedTarget, PatchCampaignStatus, PlanStatus, TargetsStatus, WaveStatus
from bascule_api.patch_campaigns import PatchCampaignResult
from bascule_operator.decisions.conditions import MESSAGE_LIMIT, Says, conditions
from bascule_operator.decisions.records import in_history, is_another, is_over
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import RunView

NAMED = 5
"""Failed targets that Ready names; the others are in `status.targets.failures`."""


def complete(
    subject: Subject, old: PatchCampaignStatus, new: PatchCampaignStatus, view: RunView, now: datetime
) -> PatchCampaignStatus:
    """The status with what concerns the targets, and what it says of them."""
    told = _known(old, new, view)
    spec = subject.spec if isinstance(subject.spec, PatchCampaignSpec) else None
    if is_over(told):
        merged = conditions(
            told.conditions,
            _verified(told, spec),
            replaces=(ConditionType.VERIFIED,),
            generation=max(0, told.observed_generation),
            now=now,
        )
        told = told.model_copy(update={"conditions": merged})
    return _with_words(told, spec)


# What the run told


def _known(old: PatchCampaignStatus, new: PatchCampaignStatus, view: RunView) -> PatchCampaignStatus:
    if is_another(old, new):
        return new.model_copy(update={"plan": None, "targets": None, "waves": []})
    result, progress, run = view.result, view.progress, new.run
    if isinstance(result, PatchCampaignResult) and old.run is not None and in_history(new, old.run.number):
        update: dict[str, object] = {
            "plan": result.plan or new.plan,
            "targets": result.targets or new.targets,
            "waves": result.waves or new.waves,
        }
        new = new.model_copy(update=update)
    elif progress is not None and run is not None and not is_over(new) and progress.number >= run.progress_number:
        new = new.model_copy(update=_facts(progress.facts))
    if is_over(new) and new.targets is not None and new.targets.in_progress:
        # Whatever ended the run: nothing of it works on a target any more.
        new = new.model_copy(update={"targets": new.targets.model_copy(update={"in_progress": []})})
    return new


_FACTS: Mapping[str, TypeAdapter[Any]] = {
    "plan": TypeAdapter(PlanStatus),
    "targets": TypeAdapter(TargetsStatus),
    "waves": TypeAdapter(list[WaveStatus]),
}


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are there and can be understood; the others stay as they are known."""
    found = {}
    for name, form in _FACTS.items():
        if facts.get(name):
            try:
                found[name] = form.validate_python(facts[name])
            except ValidationError:
                continue
    return found


# What was verified


def _verified(status: PatchCampaignStatus, spec: PatchCampaignSpec | None) -> list[Says]:
    failure, targets = status.failure, status.targets
    if failure is not None and failure.type is FailureType.GATE_FAILED:
        return [Says(ConditionType.VERIFIED, ConditionStatus.FALSE, Reason.VERIFICATION_FAILED, failure.message)]
    if status.phase is not Phase.SUCCEEDED or spec is None or targets is None or not targets.patched:
        return []
    checks = ["were Ready after it"] if spec.targets.nodes else []
    checks += ["passed spec.verify"] if spec.verify else []
    if not checks:
        return []
    gates = f"; gates passed: {', '.join(gate.name for gate in spec.gates)}" if spec.gates else ""
    told = f"the {targets.patched} targets that were patched {' and '.join(checks)}{gates}"
    return [Says(ConditionType.VERIFIED, ConditionStatus.TRUE, Reason.TARGETS_VERIFIED, told)]


# Ready's words


def _with_words(status: PatchCampaignStatus, spec: PatchCampaignSpec | None) -> PatchCampaignStatus:
    if status.targets is None:
        return status
    told = [_said(item, status, status.targets, spec) for item in status.conditions]
    return status.model_copy(update={"conditions": told})


def _said(
    item: Condition, status: PatchCampaignStatus, targets: TargetsStatus, spec: PatchCampaignSpec | None
) -> Condition:
    """A condition that tells of the run tells of its targets as well."""
    if item.type == ConditionType.READY and item.status is ConditionStatus.TRUE:
        planned = spec is not None and spec.mode is Mode.PLAN
        return _telling(item, _planned(status, targets) if planned else _patched(status, targets))
    tells = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    if item.type not in tells or not targets.total:
        return item
    if item.reason == Reason.PROGRESSING:
        return _telling(item, f"{item.message}; {targets.summary}") if targets.summary else item
    ended = is_over(status) and status.phase in (Phase.FAILED, Phase.CANCELLED)
    if ended and item.type != ConditionType.RECONCILING and item.status is not ConditionStatus.UNKNOWN:
        return _telling(item, f"{item.message}; {_counted(targets)}")
    return item


def _telling(item: Condition, message: str) -> Condition:
    short = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
    return item.model_copy(update={"message": short})


def _planned(status: PatchCampaignStatus, targets: TargetsStatus) -> str:
    plan = f" (plan {status.plan.digest})" if status.plan else ""
    return (
        f"planned {targets.total} targets in {_waves(status)}{plan}; nothing was touched: "
        "spec.mode Apply carries it out"
    )


def _patched(status: PatchCampaignStatus, targets: TargetsStatus) -> str:
    return f"{_counted(targets)}, in {_waves(status)}"


def _waves(status: PatchCampaignStatus) -> str:
    return f"{len(status.waves)} wave{'' if len(status.waves) == 1 else 's'}"


def _counted(targets: TargetsStatus) -> str:
    parts = [f"{targets.patched} of {targets.total} targets patched"]
    parts += [f"{targets.skipped} needed nothing"] if targets.skipped else []
    parts += [f"{targets.rolled_back} rolled back"] if targets.rolled_back else []
    parts += [f"{targets.failed} failed ({_named(targets.failures, targets.failed)})"] if targets.failed else []
    return ", ".join(parts)


def _named(failures: list[FailedTarget], failed: int) -> str:
    shown = [f"{target.name}: {target.phase}" for target in failures[:NAMED]]
    more = failed - len(shown)
    return ", ".join([*shown, f"{more} more"] if more > 0 and shown else shown or ["names unknown"])
