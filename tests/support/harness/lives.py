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


async def _success(scene: Scene) -> list[str]:
    """A build with a test that needs two tries is published; later the resource is deleted."""
    await scene.apply("fail-once")
    await scene.until_settled()
    wrong = await oracles.after_run(scene)
    await scene.delete()
    await scene.until_gone()
    return wrong + await oracles.after_deletion(scene)


async def _deletion(scene: Scene) -> list[str]:
    """A build that is deleted while a test of it runs takes back what it made."""
    await scene.apply("hold")
    await scene.until(lambda body: step_state(body, "test-try") == "Running", "testing")
    await scene.delete()
    await scene.until_gone()
    return await oracles.after_deletion(scene)


LIVES = {
    life.name: life
    for life in (
        Life("success", _success),
        Life("deletion", _deletion),
    )
}
