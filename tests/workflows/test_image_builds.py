"""The workflow ImageBuild, path by path: real Temporal code, time that skips, fakes for the world."""

from __future__ import annotations

import json

import pytest

from bascule_api.conditions import CompensationState, Phase, StepState, WaitKind
from bascule_api.failures import FailureType
from bascule_api.progress import PROGRESS_LIMIT
from bascule_workers.errors import ApiUnavailableError, RegistryUnavailableError
from bascule_workers.plans.outcomes import Failed, TimedOut
from tests.support.fake_world import World, secret
from tests.support.runs import CANDIDATES, REPOSITORY, Runs, image_build


def nothing_is_left(world: World) -> None:
    """No candidate, no copy of a Secret or source."""
    assert world.registry.empty(CANDIDATES)
    assert world.objects.of_run(world.steps_namespace) == []


async def test_a_build_is_published_by_digest_and_leaves_nothing_else(runs: Runs, world: World) -> None:
    build = image_build(tests=("smoke", "load"))

    story = await runs.carried_out(build)

    assert (story.closed, story.result.phase) == ("COMPLETED", Phase.SUCCEEDED)
    assert set(story.steps.values()) == {"Succeeded"}
    assert story.result.compensation.state == CompensationState.NOTHING_TO_DO
    image, published = story.result.image, story.result.published
    assert image is not None
    assert published is not None
    assert image.reference == f"{REPOSITORY}@{image.digest}"
    assert image.candidate == ""
    assert image.signature is not None
    assert world.registry.pointers[REPOSITORY] == {"v1": image.digest}
    assert [(tag.name, tag.digest, tag.previous_digest) for tag in published.tags] == [("v1", image.digest, None)]
    assert len(world.registry.signatures[REPOSITORY][image.digest]) == 1
    assert len(world.steps.jobs) == 3
    nothing_is_left(world)


async def test_progress_rises_is_small_and_is_told_once_per_activation(runs: Runs) -> None:
    story = await runs.carried_out(image_build(tests=tuple(f"t{number}" for number in range(16))))

    assert [progress.number for progress in story.progress] == list(range(1, len(story.progress) + 1))
    assert all(len(json.dumps(progress.to_wire()).encode()) <= PROGRESS_LIMIT for progress in story.progress)
    assert max(story.upserts_per_task) == 1
    assert story.result.progress_number == story.progress[-1].number
    assert story.phases == [Phase.RUNNING, Phase.SUCCEEDED]


async def test_steps_that_are_over_in_moments_are_told_with_what_follows(runs: Runs) -> None:
    story = await runs.carried_out(image_build())

    # The beginning, the build, the test, what follows on the test, and the end; more only where a step took seconds.
    last = story.progress[-1].steps
    took = max(step.finished or 0 for step in last) - min(step.started or 0 for step in last)
    assert len(story.progress) <= 5 + took // 3
    told = [{step.name: step.state for step in progress.steps} for progress in story.progress]
    assert any(states["build"] == StepState.RUNNING for states in told)
    assert any(states["test-smoke"] == StepState.RUNNING for states in told)


async def test_a_failed_test_ends_the_run_and_the_candidate_is_gone(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")]
    world.steps.logs["step"] = "2026-01-01T00:00:00Z port 8080 is silent\n"

    story = await runs.carried_out(image_build(tests=("smoke", "load")))

    assert (story.closed, story.failure_type) == ("FAILED", "TestFailed")
    assert story.result.failure is not None
    assert story.result.failure.step == "test-smoke"
    assert story.result.failure.message == "exit code 3\nport 8080 is silent"
    assert story.steps == {
        "resolve": "Succeeded",
        "build": "Undone",
        "test-smoke": "Failed",
        "test-load": "Succeeded",
        "sbom": "Skipped",
        "sign": "Skipped",
        "attest": "Skipped",
        "verify": "Skipped",
        "publish": "Skipped",
    }
    assert story.result.compensation.state == CompensationState.SUCCEEDED
    assert story.phases == [Phase.RUNNING, Phase.COMPENSATING, Phase.FAILED]
    assert world.registry.empty(REPOSITORY)
    nothing_is_left(world)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        pytest.param(
            Failed("exit code 10", exit_code=10, pod="p", container="step"), "BuildFailed", id="its exit code"
        ),
        pytest.param(
            Failed("no commit", exit_code=1, container="bascule-prepare", kind=FailureType.SOURCE_NOT_FOUND),
            "SourceNotFound",
            id="its source",
        ),
        pytest.param(Failed("ErrImageNeverPull", pod="p"), "StepFailed", id="an image that cannot be pulled"),
        pytest.param(TimedOut(), "StepTimedOut", id="its time"),
    ],
)
async def test_a_build_fails_by(runs: Runs, world: World, outcome: Failed | TimedOut, kind: str) -> None:
    world.steps.script["build"] = [outcome]

    story = await runs.carried_out(image_build())

    assert story.failure_type == kind
    assert story.result.failure is not None
    assert story.result.failure.step == "build"
    nothing_is_left(world)


@pytest.mark.parametrize(
    "call",
    [
        "secret",
        "config_map",
        "check_push",
        "build",
        "test-smoke",
        "describe",
        "attest-spdx",
        "sign",
        "attest-slsa_provenance",
        "verify",
        "copy",
        "tag",
    ],
)
async def test_cancelled_in_every_step_nothing_is_left_and_no_tag_has_moved(
    runs: Runs, world: World, call: str
) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    held = world.troubles.hold(call)
    handle = await runs.start(image_build())
    await held.began.wait()
    # What compensates makes some of the same calls.
    del world.troubles.holds[call]
    await handle.cancel(reason="deleted")

    story = await runs.story(handle)

    assert (story.closed, story.result.phase) == ("CANCELED", Phase.CANCELLED)
    assert story.result.failure is None
    assert story.result.compensation.state.settled
    assert world.registry.pointers[REPOSITORY] == {"v1": before}
    assert list(world.registry.manifests[REPOSITORY]) == [before]
    assert world.steps.jobs == {}
    nothing_is_left(world)


async def test_a_signer_that_signs_another_digest_ends_the_run_before_any_tag_moves(runs: Runs, world: World) -> None:
    world.signer.lies_about = world.registry.push(CANDIDATES, "other", {}, "other")

    story = await runs.carried_out(image_build())

    assert story.failure_type == "VerificationFailed"
    assert story.steps["publish"] == "Skipped"
    assert world.registry.empty(REPOSITORY)


async def test_a_tenant_without_a_public_key_publishes_nothing(runs: Runs, world: World) -> None:
    world.tenants.keys.clear()

    story = await runs.carried_out(image_build())

    assert story.failure_type == "VerificationFailed"
    assert "spec.signing.publicKey" in (story.result.failure.message if story.result.failure else "")
    assert world.registry.empty(REPOSITORY)


async def test_a_candidate_that_is_not_marked_as_this_runs_is_not_used_and_not_deleted(
    runs: Runs, world: World
) -> None:
    world.steps.annotated = False

    story = await runs.carried_out(image_build())

    assert story.failure_type == "BuildFailed"
    assert story.result.compensation.state == CompensationState.FAILED
    assert [item.partition("@")[0] for item in story.result.compensation.left] == [CANDIDATES]
    assert not world.registry.empty(CANDIDATES)


async def test_a_run_that_takes_too_long_is_ended_and_says_at_what(runs: Runs, world: World) -> None:
    world.troubles.before["check_push"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]

    story = await runs.carried_out(image_build(timeout_seconds=600))

    assert story.failure_type == "RunTimedOut"
    assert story.result.failure is not None
    assert story.result.failure.step == "build"
    assert "the registry is away" in story.result.failure.message
    nothing_is_left(world)


async def test_time_suspended_does_not_count_and_the_run_goes_on_where_it_was(runs: Runs, world: World) -> None:
    handle = await runs.start(image_build(suspended=True, timeout_seconds=60))
    await runs.until(handle, Phase.SUSPENDED)
    assert world.steps.jobs == {}
    await runs.env.sleep(100_000)
    await runs.desire(handle, 1, suspended=False)

    story = await runs.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.waited_seconds >= 100_000
    assert story.phases == [Phase.SUSPENDED, Phase.RUNNING, Phase.SUCCEEDED]


async def test_a_suspended_run_can_be_cancelled(runs: Runs, world: World) -> None:
    handle = await runs.start(image_build(suspended=True))
    await runs.until(handle, Phase.SUSPENDED)
    await handle.cancel()

    story = await runs.story(handle)

    assert story.closed == "CANCELED"
    assert set(story.steps.values()) == {"Skipped"}
    nothing_is_left(world)


async def test_the_highest_sequence_says_whether_to_be_suspended(runs: Runs) -> None:
    handle = await runs.start(image_build(suspended=True))
    await runs.until(handle, Phase.SUSPENDED)
    await runs.desire(handle, 7, suspended=True)
    await runs.desire(handle, 6, suspended=False)
    await runs.env.sleep(10)
    assert (await runs.until(handle, Phase.SUSPENDED)).phase == Phase.SUSPENDED

    await runs.desire(handle, 8, suspended=False)

    assert (await runs.story(handle)).result.phase == Phase.SUCCEEDED


@pytest.mark.parametrize(
    "call", ["secret", "check_push", "manifest", "describe", "attest-spdx", "sign", "verify", "copy", "tag"]
)
async def test_what_is_away_for_a_while_is_tried_again(runs: Runs, world: World, call: str) -> None:
    world.troubles.before[call] = [RegistryUnavailableError("the registry is away") for _ in range(5)]

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert any("attempt 3: the registry is away" in message for message in story.messages)
    assert max(step.attempts for step in story.result.steps) == 6


@pytest.mark.parametrize(
    "call",
    [
        "secret",
        "create",
        "build",
        "test-smoke",
        "attest-spdx",
        "sign",
        "attest-slsa_provenance",
        "verify",
        "copy",
        "tag",
    ],
)
async def test_a_step_that_dies_after_its_effect_repeats_nothing(runs: Runs, world: World, call: str) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    world.troubles.after[call] = [ApiUnavailableError("died right after")]

    story = await runs.carried_out(image_build())

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.image is not None
    assert story.result.published is not None
    digest = story.result.image.digest
    assert [(tag.digest, tag.previous_digest) for tag in story.result.published.tags] == [(digest, before)]
    assert len(world.registry.signatures[REPOSITORY][digest]) == 1
    assert len(world.registry.attestations[REPOSITORY][digest]) == 2
    assert len(world.steps.jobs) == 2
    nothing_is_left(world)


async def test_who_publishes_waits_for_the_other_publisher(runs: Runs, world: World) -> None:
    world.leases.taken = 3

    story = await runs.carried_out(image_build())

    waits = [progress.waiting for progress in story.progress if progress.waiting is not None]
    assert {(wait.gate, wait.kind) for wait in waits} == {("publish", WaitKind.LEASE)}
    assert Phase.WAITING in story.phases
    assert story.result.phase == Phase.SUCCEEDED


async def test_a_step_that_policy_denies_is_final_and_carried_out_by_nobody(runs: Runs, world: World) -> None:
    world.policy.denied.add("image_build.publish")

    story = await runs.carried_out(image_build())

    assert story.failure_type == "PolicyDenied"
    assert world.registry.empty(REPOSITORY)
    nothing_is_left(world)


async def test_every_step_is_recorded_when_it_starts_and_ends(runs: Runs, world: World) -> None:
    await runs.carried_out(image_build())

    recorded = {(o.request.step, str(o.moment)) for o in world.audit.occurrences}
    for step in ("resolve", "build", "test-smoke", "sbom", "sign", "attest", "verify", "publish"):
        assert {(step, "started"), (step, "succeeded")} <= recorded
    assert len({(o.key, o.moment) for o in world.audit.occurrences}) == len(world.audit.occurrences)


async def test_a_git_source_is_pinned_and_its_login_is_not_in_the_history(runs: Runs, world: World) -> None:
    world.objects.add(secret("git", "git", {"username": "me", "password": "hunter2!"}, host="git.example.com"))
    source = {"git": {"url": "https://git.example.com/web.git", "revision": "main", "secretRef": {"name": "git"}}}
    build = image_build()
    build = build.model_copy(
        update={"spec": build.spec.model_copy(update={"source": type(build.spec.source).model_validate(source)})}
    )
    handle = await runs.start(build)

    story = await runs.story(handle)

    assert story.result.source is not None
    assert story.result.source.revision == "c" * 40
    async for event in handle.fetch_history_events():
        for payload in event.activity_task_scheduled_event_attributes.input.payloads:
            [plain] = await runs.env.client.data_converter.decode([payload])
            assert "hunter2!" not in json.dumps(plain)
            assert "canary-secret" not in json.dumps(plain)
