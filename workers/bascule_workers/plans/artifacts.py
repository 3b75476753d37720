"""What a build reports that it made outside of the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from bascule_api.image_builds import BuildArtifact

RESULT = "artifacts"
"""The result of a build's Procedure that tells: a JSON list of objects with `builder`, `id`, and `elsewhere: true` for
those outside of the registry."""
PARAMETER = "artifacts"
"""The parameter of the Procedure that deletes them: a list of `<builder> <id>`."""
MOST = 16


def reported(results: Mapping[str, str]) -> list[BuildArtifact] | None:
    """What a build says that it made elsewhere, each once; None where it does not say, as when its end is unknown.

    The container that says so ran what a tenant wrote: what is no artifact by its looks is passed over.
    """
    if RESULT not in results:
        return None
    try:
        items = json.loads(results[RESULT])
    except ValueError:
        return None
    if not isinstance(items, list):
        return None
    found = [_artifact(item) for item in items if isinstance(item, dict) and item.get("elsewhere") is True]
    return list({(item.builder, item.id): item for item in found if item is not None}.values())[:MOST]


def _artifact(item: Mapping[str, Any]) -> BuildArtifact | None:
    try:
        found = BuildArtifact.model_validate(item)
    except ValidationError:
        return None
    # White space would make two words of one, and control characters have no place in a status.
    return found if all(word.isprintable() and " " not in word for word in (found.builder, found.id)) else None


def words(artifacts: Sequence[BuildArtifact]) -> list[str]:
    """As the parameter takes them, and as people read them."""
    return [f"{artifact.builder} {artifact.id}" for artifact in artifacts]
