"""What a build makes outside of the registry goes with the run, by the Procedure that the build's one names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import BuildArtifact, ImageBuildInput
from bascule_workers.plans.outcomes import Failed, Lost, Outcome
from tests.support.fake_registry import digest_of
from tests.support.fake_world import World
from tests.support.runs import CANDIDATES, RUN_IMAGE, Runs, image_build, procedure

UNDO = procedure(
    "delete-images",
    "ImageBuild/undo",
    parameters=[{"name": "artifacts", "type": "array"}],
    retry={"attempts": 5, "nonRetryableExitCodes": [20]},
)
AMI = {"builder": "mitchellh.amazonebs", "id": "eu-west-1:ami-1", "elsewhere": True}
FILE = {"builder": "packer.file", "id": "File"}
MADE = {"artifacts": json.dumps([AMI, FILE])}
HALF = Failed("no manifest was pushed", exit_code=40, pod="p", container="step", results=MADE)


def packed(undo: str | None = "delete-images", **changes: Any) -> ImageBuildInput:
    spec = {"undo": undo} if undo else {}
    builds = procedure("packer", "ImageBuild/build", **spec)
    pinned = {item.name: item.to_wire() for item in (builds, UNDO, RUN_IMAGE)}
    return image_build(procedures=pinned, build={"procedure": "packer"}, **changes)


def makes(world: World, results: dict[str, str] | None = None) -> None:
    """The build pushes, and reports as well what it made elsewhere."""
    world.steps.reports = MADE if results is None else results


def deletions(world: World) -> list[list[str]]:
    """What each deletion was told to delete."""
    told = []
    for job in world.steps.every.values():
        if job["metadata"]["labels"]["bascule.dev/step"] == "undo-build":
            env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
            told.append(env["PARAM_ARTIFACTS"].splitlines())
    return told


async def test_a_build_that_succeeds_keeps_what_it_made_and_tells_of_it(runs: Runs, world: World) -> None:
    makes(world)

    story = await runs.carried_out(packed())

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.image is not None
    assert story.result.image.artifacts == [BuildArtifact(builder="mitchellh.amazonebs", id="eu-west-1:ami-1")]
    assert deletions(world) == []


async def test_what_a_run_made_elsewhere_goes_when_a_later_step_fails(runs: Runs, world: World) -> None:
    makes(world)
    world.steps.script["test-smoke"] = [Failed("no", exit_code=1)]

    story = await runs.carried_out(packed())

    assert story.failure_type == "TestFailed"
    assert deletions(world) == [["mitchellh.amazonebs eu-west-1:ami-1"]]
    assert story.result.compensation.state == CompensationState.SUCCEEDED
    assert story.result.image is not None
    assert story.result.image.artifacts == []
    assert world.registry.empty(CANDIDATES)


async def test_half_a_build_that_made_something_takes_it_back(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [HALF]

    story = await runs.carried_out(packed())

    assert story.failure_type == "BuildFailed"
    assert deletions(world) == [["mitchellh.amazonebs eu-west-1:ami-1"]]
    assert story.result.compensation.state == CompensationState.SUCCEEDED


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([Failed("it said nothing", exit_code=137, pod="p", container="step")], id="killed"),
        pytest.param([Lost("its node died")] * 9, id="lost again and again"),
    ],
)
async def test_a_build_that_could_not_tell_what_it_made_has_it_looked_for(
    runs: Runs, world: World, outcomes: list[Outcome]
) -> None:
    world.steps.script["build"] = outcomes
    world.steps.pushes = False

    story = await runs.carried_out(packed())

    assert story.result.phase == Phase.FAILED
    assert deletions(world) == [[]]


async def test_cancelled_in_mid_build_what_it_made_is_looked_for_once_it_is_stopped(runs: Runs, world: World) -> None:
    held = world.troubles.hold("build")
    handle = await runs.start(packed())
    await held.began.wait()
    del world.troubles.holds["build"]
    await handle.cancel()

    story = await runs.story(handle)

    assert story.result.phase == Phase.CANCELLED
    assert deletions(world) == [[]]
    order = list(world.steps.looks)
    assert order.index("stop") < order.index("undo-build")


@pytest.mark.parametrize(
    "results",
    [
        pytest.param({"artifacts": json.dumps([FILE])}, id="files only"),
        pytest.param({"artifacts": "[]"}, id="nothing"),
    ],
)
async def test_where_nothing_lies_elsewhere_nothing_is_deleted(
    runs: Runs, world: World, results: dict[str, str]
) -> None:
    makes(world, results)
    world.steps.script["test-smoke"] = [Failed("no", exit_code=1)]

    story = await runs.carried_out(packed())

    assert story.result.compensation.state == CompensationState.SUCCEEDED
    assert deletions(world) == []


async def test_a_deletion_that_fails_is_tried_again_with_another_job(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [HALF]
    away = Failed("the artifact API does not answer", exit_code=30, pod="p", container="step")
    world.steps.script["undo-build"] = [away, Lost("its node was drained")]

    story = await runs.carried_out(packed())

    assert len(deletions(world)) == 3
    assert story.result.compensation.state == CompensationState.SUCCEEDED


async def test_a_deletion_that_is_refused_to_the_end_is_left_and_told(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [HALF]
    refused = Failed("the artifact API refused", exit_code=20, pod="p", container="step")
    world.steps.script["undo-build"] = [refused] * 1000

    story = await runs.carried_out(packed(compensation={"timeout": "10m"}))

    compensation = story.result.compensation
    assert compensation.state == CompensationState.FAILED
    assert any("the artifact API refused" in item for item in compensation.left)
    assert world.objects.of_run(world.steps_namespace) == []


async def test_without_a_procedure_that_deletes_them_they_are_listed_as_left(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [HALF]

    story = await runs.carried_out(packed(undo=None))

    assert story.result.compensation.state == CompensationState.FAILED
    assert story.result.compensation.left == ["mitchellh.amazonebs eu-west-1:ami-1"]


async def test_a_build_found_pushed_after_it_was_lost_has_its_artifacts_looked_for(runs: Runs, world: World) -> None:
    build = packed()
    world.registry.push(CANDIDATES, f"r-{build.run.uid}-1", {"dev.bascule.run": f"{build.run.uid}/1"}, digest_of("x"))
    world.steps.script["build"] = [Lost("its node died")]
    world.steps.script["test-smoke"] = [Failed("no", exit_code=1)]

    await runs.carried_out(build)

    assert deletions(world) == [[]]
