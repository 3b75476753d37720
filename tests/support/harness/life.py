"""What a life is, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.support.harness.scene import Json, Scene, status_of


@dataclass(frozen=True)
class Life:
    """What is done, what is waited for, and what is then true. Each part may be repeated with other resources."""

    name: str
    play: Callable[[Any], Awaitable[list[str]]]
    """Lives it, with a scene of its kind. Returns what was wrong on the way."""
    stages: tuple[str, ...]
    scene: type[Scene] = Scene


async def gone(scene: Scene, stage: str) -> None:
    """Delete it, and wait until it is gone. One that somebody deleted before is on its way there already."""
    if not scene.deleted:
        scene.shard.gate.enter(stage)
        await scene.delete()
    await scene.until_gone()


def current(body: Json) -> bool:
    """The status speaks of an unfinished run of the spec as it is."""
    status = status_of(body)
    revision = status.get("observedGeneration") == body["metadata"]["generation"]
    return revision and status.get("phase") in ("Running", "Waiting")


def waits(body: Json) -> bool:
    """For an approval."""
    return current(body) and (status_of(body).get("waitingFor") or {}).get("kind") == "Approval"
