"""The lives that faults are tried on, from creation to nothing left.

A life goes through stages, and several lives begin with the same ones. Each stage ends where everything has come to
rest: what it was to come to is checked there, and nothing of it is on the way when the next one begins.
"""

from __future__ import annotations

from tests.support.harness import oracles
from tests.support.harness.fleet_lives import FLEET_LIVES, FLEET_TERMINATING
from tests.support.harness.life import Life, current, gone, waits
from tests.support.harness.scene import Json, Scene, step_state

_TESTING, _WAITING, _PUBLISHED = "testing", "waiting", "published"
_REMOVED, _UNPUBLISHED, _CANCELLED, _LOST, _FORGOTTEN = "removed", "unpublished", "cancelled", "lost", "forgotten"

TERMINATING = (_REMOVED, _UNPUBLISHED, _CANCELLED, _FORGOTTEN, *FLEET_TERMINATING)
"""Stages in which the resource is on its way out."""


async def _success(scene: Scene) -> list[str]:
    """A build with a test that needs two tries is approved and published; later the resource is deleted."""
    return await _published(scene) + await _gone(scene, _REMOVED)


async def _undo(scene: Scene) -> list[str]:
    """What was published is taken back when the resource is deleted."""
    return await _published(scene, compensation={"onDelete": "Always"}) + await _gone(scene, _UNPUBLISHED)


async def _deletion(scene: Scene) -> list[str]:
    """A build that is deleted while a test of it runs takes back what it made."""
    return await _testing(scene) + await _gone(scene, _CANCELLED)


async def _terminated(scene: Scene) -> list[str]:
    """A run that somebody ended in Temporal could not compensate: an undo does that at once."""
    wrong = await _testing(scene)
    if not scene.deleted:
        scene.shard.gate.enter(_LOST)
        edits = scene.edits
        scene.edited_behaviour, scene.approving = "succeed", True
        await scene.terminate()
        wrong += await oracles.settled_for_good(scene)
        again = scene.edits > edits
        wrong += await (oracles.after_run(scene, tests=1) if again else oracles.after_failure(scene))
    return wrong + await _gone(scene, _FORGOTTEN)


async def _testing(scene: Scene, **changes: Json) -> list[str]:
    """From nothing to a build whose test runs."""
    scene.approving = False
    scene.shard.gate.enter(_TESTING)
    await scene.apply("held-then-fail-once", approval=True, **changes)
    return await oracles.steady(
        scene, lambda body: current(body) and step_state(body, "test-try") == "Running", "testing"
    )


async def _published(scene: Scene, **changes: Json) -> list[str]:
    """From nothing to an image that was tested twice, waited for an approval, and is published."""
    wrong = await _testing(scene, **changes)
    if not scene.deleted:
        scene.shard.gate.enter(_WAITING)
        scene.release()
        wrong += await oracles.steady(scene, waits, "waiting for an approval")
    if not scene.deleted:
        scene.shard.gate.enter(_PUBLISHED)
        scene.approving = True
        wrong += await oracles.settled_for_good(scene)
        wrong += [] if scene.deleted else await oracles.after_run(scene)
    return wrong


async def _gone(scene: Scene, stage: str) -> list[str]:
    """Deleted, until nothing is left."""
    await gone(scene, stage)
    return await oracles.after_deletion_of_a_build(scene)


LIVES = {
    life.name: life
    for life in (
        Life("success", _success, (_TESTING, _WAITING, _PUBLISHED, _REMOVED)),
        Life("undo", _undo, (_TESTING, _WAITING, _PUBLISHED, _UNPUBLISHED)),
        Life("deletion", _deletion, (_TESTING, _CANCELLED)),
        Life("terminated", _terminated, (_TESTING, _LOST, _FORGOTTEN)),
        *FLEET_LIVES,
    )
}

DELETED_IN = tuple(
    stage for name in ("success", "campaign") for stage in LIVES[name].stages if stage not in TERMINATING
)
"""Stages in which somebody may delete the resource at any call."""


def of_kind(kind: str) -> list[Life]:
    """All lives of a kind."""
    return [life for life in LIVES.values() if life.scene.kind == kind]
