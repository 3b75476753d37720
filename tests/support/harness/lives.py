"""The lives that faults are tried on, from creation to nothing left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.support.harness import oracles
from tests.support.harness.scene import Scene, step_state


@dataclass(frozen=True)
class Life:
    """What is done, what is waited for, and what is then true. Each part may be repeated with other resources."""

    name: str
    play: Callable[[Scene], Awaitable[list[str]]]
    """Lives it. Returns what was wrong on the way."""
    turns: bool = True
    """Whether it begins like others: only the calls after its turn are its own."""


async def _success(scene: Scene) -> list[str]:
    """A build with a test that needs two tries is approved and published; later the resource is deleted."""
    await scene.apply("fail-once", approval=True)
    wrong = await oracles.settled_for_good(scene)
    wrong += [] if scene.deleted else await oracles.after_run(scene)
    await scene.delete()
    await scene.until_gone()
    return wrong + await oracles.after_deletion(scene)


async def _deletion(scene: Scene) -> list[str]:
    """A build that is deleted while a test of it runs takes back what it made."""
    await scene.apply("hold")
    await scene.until(lambda body: step_state(body, "test-try") == "Running", "testing")
    scene.shard.gate.turn()
    await scene.delete()
    await scene.until_gone()
    return await oracles.after_deletion(scene)


async def _undo(scene: Scene) -> list[str]:
    """What was published is taken back when the resource is deleted."""
    await scene.apply("succeed", compensation={"onDelete": "Always"})
    wrong = await oracles.settled_for_good(scene)
    wrong += await oracles.after_run(scene, tests=1)
    scene.shard.gate.turn()
    await scene.delete()
    await scene.until_gone()
    return wrong + await oracles.after_deletion(scene)


async def _terminated(scene: Scene) -> list[str]:
    """A run that somebody ended in Temporal could not compensate: an undo does that at once."""
    await scene.apply("hold")
    await scene.until(lambda body: step_state(body, "test-try") == "Running", "testing")
    scene.shard.gate.turn()
    scene.edited_behaviour = "succeed"
    await scene.terminate()
    wrong = await oracles.settled_for_good(scene)
    wrong += await (oracles.after_run(scene, tests=1) if scene.edits else oracles.after_failure(scene))
    await scene.delete()
    await scene.until_gone()
    return wrong + await oracles.after_deletion(scene)


LIVES = {
    life.name: life
    for life in (
        Life("success", _success, turns=False),
        Life("deletion", _deletion),
        Life("undo", _undo),
        Life("terminated", _terminated),
    )
}
