"""What is particular to a kind, as labelled facts. Pure: a kind without an entry simply has none."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from bascule_api.image_builds import ImageBuildStatus
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


_KINDS: dict[str, Callable[[Item], Facts]] = {"ImageBuild": _image_build}
