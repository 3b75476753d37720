"""Layers of earlier builds: where a build finds them, and that it does without."""

from __future__ import annotations

from bascule_api.conditions import Phase
from tests.support.fake_world import World
from tests.support.runs import Runs, image_build

CACHE = "registry.example.com/cache/acme"


def told(world: World) -> list[str | None]:
    """Which cache each Job was told of, by the order of the Jobs."""
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in world.steps.every.values()]
    return [next((e["value"] for e in c["env"] if e["name"] == "BASCULE_CACHE"), None) for c in containers]


async def test_a_build_is_told_where_its_tenants_layers_are_and_tests_are_not(runs: Runs, world: World) -> None:
    world.tenants.caches = {"acme": CACHE, "other": "registry.example.com/cache/other"}

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert told(world) == [CACHE, None]


async def test_without_a_repository_there_is_no_cache(runs: Runs, world: World) -> None:
    await runs.carried_out(image_build())

    assert told(world) == [None, None]


async def test_a_cache_that_refuses_is_done_without_and_that_is_said(runs: Runs, world: World) -> None:
    world.tenants.caches = {"acme": CACHE}
    world.registry.refusing.add(CACHE)

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert told(world) == [None, None]
    [message] = [step.message for step in story.result.steps if step.name == "build"]
    assert message.startswith(f"built without the cache {CACHE}")
