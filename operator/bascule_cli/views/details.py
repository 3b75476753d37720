"""What is particular to a resource or its kind, as labelled facts. Pure: a kind without an entry simply has none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pydantic import ValidationError

from bascule_api.dr_drill_status import DRDrillStatus, DrillPhase, DrillStatus, Timeline
from bascule_api.image_builds import ImageBuildStatus
from bascule_api.patch_campaign_status import PatchCampaignStatus, TargetsStatus
from bascule_cli.resources import Item
from bascule_cli.views.wording import moment, span, stamp

Facts = list[tuple[str, str]]
_TARGETS = 3
"""How many targets of each sort are named here; `campaign show` has more."""


def facts(item: Item, now: datetime) -> Facts:
    """Labels and values, with what is not known left out."""
    of_kind = _KINDS.get(item.kind.kind)
    try:
        found = of_kind(item) if of_kind else []
    except ValidationError:
        found = []
    return [(label, value) for label, value in [*found, *_schedule(item, now)] if value]


def _schedule(item: Item, now: datetime) -> Facts:
    schedule = item.status.schedule
    if schedule is None:
        return []
    why = f" ({schedule.missed_reason})" if schedule.missed_reason else ""
    last_missed = f", the last {moment(schedule.missed_at, now)}{why}" if schedule.missed_at else ""
    return [
        ("schedule", schedule.timetable),
        ("next", moment(schedule.next, now)),
        ("last due", moment(schedule.last, now)),
        ("missed", f"{schedule.missed}{last_missed}" if schedule.missed else ""),
    ]


def _image_build(item: Item) -> Facts:
    status = ImageBuildStatus.model_validate(item.body.get("status") or {})
    image, published = status.image, status.published
    return [
        ("source", status.source.revision if status.source else ""),
        ("image", image.reference if image else ""),
        ("candidate", image.candidate if image and not image.reference else ""),
        ("tags", ", ".join(tag.name for tag in published.tags) if published else ""),
    ]


def _patch_campaign(item: Item) -> Facts:
    status = PatchCampaignStatus.model_validate(item.body.get("status") or {})
    targets = status.targets or TargetsStatus()
    held_up = [target for target in targets.in_progress if target.message][:_TARGETS]
    return [
        ("plan", status.plan.digest if status.plan else ""),
        ("plan at", status.plan.artifact if status.plan else ""),
        ("targets", targets.summary),
        ("waves", ", ".join(f"{wave.name} {wave.patched}/{wave.total} {wave.state}" for wave in status.waves)),
        *((target.name, f"{target.phase}: {target.message}") for target in held_up),
        *((failed.name, f"failed, {failed.phase}: {failed.message}") for failed in targets.failures[:_TARGETS]),
    ]


def _dr_drill(item: Item) -> Facts:
    status = DRDrillStatus.model_validate(item.body.get("status") or {})
    drill = status.drill or DrillStatus()
    probes = ", ".join(f"{probe.name} {'passed' if probe.passed_at else 'did not pass'}" for probe in drill.probes)
    wanted = item.spec.get("objectives") or {}
    objectives = ", ".join(f"{name.upper()} {wanted[name]}" for name in ("rto", "rpo") if name in wanted)
    return [
        ("verdict", drill.words if drill.verdict else ""),
        ("why", drill.message),
        ("objectives", objectives),
        ("restored", drill.backup),
        ("recovery point", stamp(drill.recovery_point)),
        ("data as of", stamp(drill.data_as_of)),
        ("timeline", _timeline(drill.timeline)),
        ("probes", probes),
        ("namespace", drill.namespace),
        ("left", ", ".join(drill.left)),
        ("report", "@".join(part for part in (drill.report_repository, drill.report or "") if part)),
    ]


def _timeline(timeline: Timeline) -> str:
    parts = []
    for name, told in timeline.to_wire().items():
        phase = DrillPhase.model_validate(told)
        if phase.started_at is not None:
            parts.append(f"{name} {span(phase.finished_at - phase.started_at) if phase.finished_at else 'goes on'}")
    return ", ".join(parts)


_KINDS: dict[str, Callable[[Item], Facts]] = {
    "ImageBuild": _image_build,
    "PatchCampaign": _patch_campaign,
    "DRDrill": _dr_drill,
}
