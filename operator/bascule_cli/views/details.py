"""What is particular to a kind, as labelled facts. Pure: a kind without an entry simply has none."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from bascule_api.image_builds import ImageBuildStatus
from bascule_api.patch_campaigns import PatchCampaignStatus
from bascule_cli.resources import Item

Facts = list[tuple[str, str]]


def facts(item: Item) -> Facts:
    """Labels and values, with what is not known left out."""
    of_kind = _KINDS.get(item.kind.kind)
    try:
        found = of_kind(item) if of_kind else []
    except ValidationError:
        return []
    return [(label, value) for label, value in found if value]


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
    plan, targets = status.plan, status.targets
    failures = targets.failures if targets else []
    more = targets.failed - len(failures[:_NAMED]) if targets else 0
    failed = [f"{found.name} ({found.phase})" for found in failures[:_NAMED]] + ([f"{more} more"] if more > 0 else [])
    return [
        ("plan", plan.digest if plan else ""),
        ("plan at", plan.artifact if plan else ""),
        ("targets", targets.summary if targets else ""),
        ("waves", ", ".join(f"{wave.name} {wave.patched}/{wave.total} {wave.state}" for wave in status.waves)),
        ("failed", ", ".join(failed)),
    ]


_NAMED = 5
_KINDS: dict[str, Callable[[Item], Facts]] = {"ImageBuild": _image_build, "PatchCampaign": _patch_campaign}
