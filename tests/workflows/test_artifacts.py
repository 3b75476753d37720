"""What a build makes outside of the registry goes with the run, by the Procedure that the build's one names."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import BuildArtifact, Elsewhere, ImageBuildInput, ImageBuildUndoInput
from bascule_workers.plans.outcomes import Failed, Lost, Outcome
from bascule_workers.workflows import undo
from tests.support import undos
from tests.support.fake_registry import digest_of
from tests.support.fake_world import World
from tests.support.runs import CANDIDATES, RUN_IMAGE, Runs, image_build, procedure
from tests.support.undos import undo_of

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
    assert story.result.reported == []


async def test_what_half_a_build_made_is_told_where_it_cannot_be_taken_back(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [HALF]
    world.steps.script["undo-build"] = [Failed("no right", exit_code=1, pod="p", container="step")] * 99

    story = await runs.carried_out(packed())

    assert story.result.compensation.state == CompensationState.FAILED
    assert story.result.reported == [BuildArtifact(builder="mitchellh.amazonebs", id="eu-west-1:ami-1")]
    assert any(progress.facts.get("reported") for progress in story.progress)


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


# After the run's end


def undoing(build: ImageBuildInput, *made: Elsewhere, **changes: Any) -> ImageBuildUndoInput:
    """The undo of a run, with the Procedure that deletes pinned as the operator pins it."""
    given = {"procedures": {"delete-images": UNDO}} | changes
    return undo_of(build, elsewhere=list(made), **given)


def by_run(world: World) -> list[str]:
    """Under the name of which run each deletion was asked for."""
    jobs = [job for job in world.steps.every.values() if job["metadata"]["labels"]["bascule.dev/step"] == "undo-build"]
    env = [job["spec"]["template"]["spec"]["containers"][0]["env"] for job in jobs]
    return [next(item["value"] for item in items if item["name"] == "BASCULE_RUN") for items in env]


async def test_of_a_run_that_was_terminated_in_its_build_what_it_made_elsewhere_is_looked_for(
    runs: Runs, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo, "LAST_WORDS", timedelta(seconds=0.1))
    build = packed()
    await undos.terminated(runs, world, build, world.troubles.hold("build"))

    undone = await undos.undone(runs, undoing(build, Elsewhere(run=1, procedure="delete-images")))

    assert (undone.state, undone.left) == ("Succeeded", [])
    assert (deletions(world), by_run(world)) == ([[]], [f"{build.run.uid}/1"])
    order = list(world.steps.looks)
    assert order.index("stop") < order.index("undo-build")


async def test_what_finished_runs_made_elsewhere_goes_with_the_resource(runs: Runs, world: World) -> None:
    makes(world)
    build = packed(compensation={"onDelete": "Always"})
    story = await runs.carried_out(build)
    assert story.result.image is not None
    digest, artifacts = str(story.result.image.digest), story.result.image.artifacts
    last = build.model_copy(update={"run": build.run.model_copy(update={"number": 2})})
    made = [
        Elsewhere(run=2, procedure="delete-images"),
        Elsewhere(run=1, procedure="delete-images", artifacts=artifacts),
    ]
    standing = [undos.publication(build, digest, v1=None)]

    undone = await undos.undone(runs, undoing(last, *made, standing=standing, abandoned=False, final=True))

    assert (undone.state, undone.left) == ("Succeeded", [])
    told = dict(zip(by_run(world), deletions(world), strict=True))
    assert told == {f"{build.run.uid}/1": ["mitchellh.amazonebs eu-west-1:ami-1"], f"{build.run.uid}/2": []}


@pytest.mark.parametrize(
    ("made", "changes", "left"),
    [
        pytest.param(
            Elsewhere(run=1, procedure="delete-images"),
            {"procedures": {}, "unpinned": {"delete-images": "there is no Procedure delete-images"}},
            ["what the build made elsewhere: run 1: there is no Procedure delete-images"],
            id="its Procedure is gone",
        ),
        pytest.param(
            Elsewhere(run=1, artifacts=[BuildArtifact(builder="b", id="ami-1")]),
            {},
            ["b ami-1", "what the build made elsewhere: run 1: no Procedure deletes it"],
            id="none was named",
        ),
    ],
)
async def test_what_cannot_be_deleted_is_left_and_another_attempt_deletes_it(
    runs: Runs, world: World, made: Elsewhere, changes: dict[str, Any], left: list[str]
) -> None:
    build = packed()

    failed = await undos.undone(runs, undoing(build, made, abandoned=False, **changes))
    mended = made.model_copy(update={"procedure": "delete-images"})
    again = await undos.undone(runs, undoing(build, mended, abandoned=False, attempt=2))

    assert (failed.state, failed.left) == ("Failed", left)
    assert (again.result.compensation.state.settled, again.left) == (True, [])
    assert len(deletions(world)) == 1


async def test_releases_delete_nothing_that_was_made_elsewhere(runs: Runs, world: World) -> None:
    made = Elsewhere(run=1, procedure="delete-images")

    undone = await undos.undone(runs, undoing(packed(), made, undo=False, abandoned=False, final=True))

    assert undone.left == []
    assert deletions(world) == []
