"""What ImageBuilds published, as others that share its tags need to know it: read from the raw status, and small.

A tenant may have a thousand ImageBuilds that move the same tag, each of which looks at all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any

from bascule_api.conditions import Phase

LATEST = 256
"""Of so many others is looked at what they published: of those that finished last."""


@dataclass(frozen=True, slots=True)
class MovedTag:
    """A tag, where it points now, and where it pointed before; None: it is new."""

    name: str
    digest: str
    previous_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What another ImageBuild of the same tenant published."""

    name: str
    """`namespace/name` of the ImageBuild."""
    finished_at: datetime
    repository: str
    tags: tuple[MovedTag, ...]


def published_of(name: str, status: Mapping[str, Any]) -> Published | None:
    """What a status says was published; None if nothing was, or if it was written past the schema."""
    published = status.get("published")
    if not published:
        return None
    try:
        finished = next((past["finishedAt"] for past in status["history"] if past["phase"] == Phase.SUCCEEDED), None)
        if finished is None:
            return None
        finished_at = datetime.fromisoformat(finished)
        tags = tuple(MovedTag(tag["name"], tag["digest"], tag.get("previousDigest")) for tag in published["tags"])
        if finished_at.tzinfo is None:
            return None
        return Published(name, finished_at, published.get("repository", ""), tags)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def latest(others: Iterable[Published]) -> list[Published]:
    """Those that finished last, and no more than are looked at."""
    return nlargest(LATEST, others, key=lambda other: other.finished_at)
