"""`campaign plan`: which target is patched in which wave. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_cli.terminal import clean, columns


@dataclass(frozen=True)
class PlannedTarget:
    name: str
    zone: str = ""
    address: str = ""


@dataclass(frozen=True)
class PlannedWave:
    """A wave with its targets in their order; `total` counts those that are not named too."""

    name: str
    total: int
    targets: tuple[PlannedTarget, ...]


@dataclass(frozen=True)
class PlanView:
    """A plan as far as it could be read."""

    digest: str
    waves: tuple[PlannedWave, ...]
    skipped: tuple[str, ...] = ()
    note: str = ""

    @property
    def whole(self) -> bool:
        return all(len(wave.targets) == wave.total for wave in self.waves)


def of_artifact(document: Mapping[str, Any]) -> PlanView:
    """The whole plan, as the run kept it. Raises ValueError, KeyError and TypeError for what is no plan."""
    waves = tuple(
        PlannedWave(
            str(wave["name"]),
            len(wave["targets"]),
            tuple(
                PlannedTarget(str(target["name"]), str(target.get("zone") or ""), str(target.get("address") or ""))
                for target in wave["targets"]
            ),
        )
        for wave in document["waves"]
    )
    skipped = tuple(str(name) for name in document.get("skipped") or ())
    return PlanView(str(document.get("digest") or ""), waves, skipped, str(document.get("note") or ""))


def of_status(status: PatchCampaignStatus) -> PlanView:
    """The first targets of each wave, as the status keeps them."""
    waves = tuple(
        PlannedWave(wave.name, wave.total, tuple(PlannedTarget(name) for name in wave.names)) for wave in status.waves
    )
    return PlanView(status.plan.digest if status.plan else "", waves)


def lines(plan: PlanView, width: int | None = None) -> list[Text]:
    """A table for each wave: place, name, zone, and address of a host."""
    made = [Text().append("plan ", "dim").append(clean(plan.digest))] if plan.digest else []
    for wave in plan.waves:
        made += [Text(), Text().append(clean(wave.name), "bold").append(f"  {_targets(wave.total)}", "dim")]
        made += columns([_row(place, target) for place, target in enumerate(wave.targets, 1)], width)
        if rest := wave.total - len(wave.targets):
            made.append(Text(f"  and {rest} more", "dim"))
    if plan.skipped:
        made += [Text(), Text().append("skipped", "bold").append(f"  {_targets(len(plan.skipped))}", "dim")]
        made.append(Text("  patched by the run that this one continues:"))
        made += [Text(f"  {clean(name)}") for name in plan.skipped]
    if plan.note:
        made += [Text(), Text(clean(plan.note), "yellow")]
    return made


def document(plan: PlanView) -> dict[str, Any]:
    """The plan for scripts."""
    return {
        "digest": plan.digest,
        "whole": plan.whole,
        "waves": [
            {
                "name": wave.name,
                "total": wave.total,
                "targets": [
                    {"name": target.name, "zone": target.zone, "address": target.address} for target in wave.targets
                ],
            }
            for wave in plan.waves
        ],
        "skipped": list(plan.skipped),
        "note": plan.note,
    }


def _targets(number: int) -> str:
    return "1 target" if number == 1 else f"{number} targets"


def _row(place: int, target: PlannedTarget) -> list[Text]:
    return [Text(f"  {place}", "dim"), Text(clean(target.name)), Text(clean(target.zone)), Text(clean(target.address))]
