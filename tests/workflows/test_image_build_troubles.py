"""Builds in trouble: what is lost, refused or in the way, and compensation that fails."""

from __future__ import annotations

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_workers.errors import RegistryUnavailableError
from bascule_workers.plans.outcomes import Failed, Lost, Running, Succeeded
from tests.support.fake_world import World, secret
from tests.support.runs import CANDIDATES, REPOSITORY, RUN_IMAGE, Runs, image_build, procedure
from tests.workflows.test_image_builds import nothing_is_left


async def test_a_registry_that_stays_away_fails_the_run_in_the_end(runs: Runs, world: World) -> None:
    world.troubles.before["sign"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]

    story = await runs.carried_out(image_build())

    assert story.failure_type == "RegistryUnavailable"
    assert story.result.failure is not None
    assert story.result.failure.retryable
    nothing_is_left(world)


async def test_a_lost_job_is_repeated_as_another_and_one_candidate_results(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [Lost("its node was drained")]

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert len([job for job in world.steps.jobs if "build" in job]) == 2
    assert [step.attempts for step in story.result.steps if step.name == "build"] == [2]
    nothing_is_left(world)


async def test_a_build_that_was_lost_after_its_push_is_not_repeated(runs: Runs, world: World) -> None:
    build = image_build()
    pushed = world.registry.push(
        CANDIDATES,
        f"r-{build.run.uid}-1",
        {names.IMAGE_RUN_ANNOTATION: names.run_of(build.run.uid, 1)},
        "pushed before the node died",
    )
    world.steps.script["build"] = [Lost("its node died")]

    story = await runs.carried_out(build)

    assert story.result.image is not None
    assert story.result.image.digest == pushed
    assert len([job for job in world.steps.jobs if "build" in job]) == 1


async def test_of_a_build_whose_pod_is_gone_the_registry_tells_what_it_made(runs: Runs, world: World) -> None:
    declared = {"results": [{"name": "digest"}], "retry": {"attempts": 1}, "securityProfile": "Build"}
    buildah = procedure("buildah", "ImageBuild/build", **declared)
    build = image_build(procedures={"buildah": buildah.to_wire(), "run-image": RUN_IMAGE.to_wire()})
    mark = {names.IMAGE_RUN_ANNOTATION: names.run_of(build.run.uid, 1)}
    pushed = world.registry.push(CANDIDATES, f"r-{build.run.uid}-1", mark, "pushed before its pod went")
    world.steps.script["build"] = [Succeeded()]

    story = await runs.carried_out(build)

    assert story.result.image is not None
    assert story.result.image.digest == pushed
    assert len([job for job in world.steps.jobs if "build" in job]) == 1


async def test_a_job_that_is_lost_again_and_again_fails_in_the_end(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Lost("its node was drained")] * 9

    story = await runs.carried_out(image_build())

    assert story.failure_type == "StepFailed"
    assert "lost its pod 3 times" in (story.result.failure.message if story.result.failure else "")


async def test_an_exit_code_that_may_be_repeated_is_and_others_are_not(runs: Runs, world: World) -> None:
    buildah = procedure("buildah", "ImageBuild/build", retry={"attempts": 3, "nonRetryableExitCodes": [10]})
    run_image = procedure("run-image", "ImageBuild/test")
    world.steps.script["build"] = [Failed("away", exit_code=30, pod="p", container="step")]
    procedures = {"buildah": buildah.to_wire(), "run-image": run_image.to_wire()}

    story = await runs.carried_out(image_build(procedures=procedures))

    assert story.result.phase == Phase.SUCCEEDED
    assert len([job for job in world.steps.jobs if "build" in job]) == 2


async def test_what_is_in_a_jobs_way_is_shown(runs: Runs, world: World) -> None:
    world.steps.script["build"] = [Running("ImagePullBackOff of tools: not found")]

    story = await runs.carried_out(image_build())

    assert "build: ImagePullBackOff of tools: not found" in story.messages
    assert [step.attempts for step in story.result.steps if step.name == "build"] == [1]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        pytest.param(
            None, "SecretMissing", "spec.sign.keySecretRef names the Secret acme-dev/signing-key", id="missing"
        ),
        pytest.param(
            secret("signing-key", "", {"cosign.key": "k", "cosign.password": "p"}),
            "SecretNotUsable",
            "kubectl label -n acme-dev secret signing-key bascule.dev/use=signing",
            id="unlabelled",
        ),
        pytest.param(
            secret("signing-key", "signing", {"cosign.key": "k"}), "SecretNotUsable", "cosign.password", id="incomplete"
        ),
    ],
)
async def test_a_secret_that_cannot_be_used_is(
    runs: Runs, world: World, change: dict[str, object] | None, kind: str, said: str
) -> None:
    del world.objects.content["Secret", "acme-dev", "signing-key"]
    if change is not None:
        world.objects.add(change)

    story = await runs.carried_out(image_build())

    assert story.failure_type == kind
    assert said in (story.result.failure.message if story.result.failure else "")
    assert story.result.compensation.state == CompensationState.NOTHING_TO_DO


async def test_a_registry_that_refuses_is_found_before_anything_is_built(runs: Runs, world: World) -> None:
    world.registry.refusing.add(REPOSITORY)

    story = await runs.carried_out(image_build())

    assert story.failure_type == "RegistryRefused"
    assert world.steps.jobs == {}


async def test_compensation_that_fails_to_its_deadline_lists_what_is_left(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Failed("no", exit_code=1)]
    world.troubles.before["delete"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]

    story = await runs.carried_out(image_build(compensation={"timeout": "10m"}))

    compensation = story.result.compensation
    assert (story.closed, compensation.state) == ("FAILED", CompensationState.FAILED)
    assert "the registry is away" in compensation.last_error
    assert compensation.left
    assert story.steps["build"] == "Succeeded"
    deadline = next(p.compensation.deadline for p in story.progress if p.compensation is not None)
    assert deadline is not None
    assert world.objects.of_run(world.steps_namespace) == [], "the credentials go, whatever else stays"


async def test_a_success_with_leftovers_says_what_is_left(runs: Runs, world: World) -> None:
    world.registry.deletes = False

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.compensation.state == CompensationState.FAILED
    assert len(story.result.compensation.left) == 1


async def test_a_cancellation_during_compensation_changes_nothing(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Failed("no", exit_code=1)]
    held = world.troubles.hold("stop")
    handle = await runs.start(image_build())
    await held.began.wait()
    await handle.cancel()
    held.let_go.set()

    story = await runs.story(handle)

    assert (story.closed, story.failure_type) == ("FAILED", "TestFailed")
    nothing_is_left(world)
