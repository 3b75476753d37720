"""The workflow ImageBuildUndo: whatever a run was doing when it was ended, nothing of it is left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import ImageBuildInput
from bascule_workers.errors import ApiUnavailableError, RegistryUnavailableError
from bascule_workers.plans.outcomes import Failed
from bascule_workers.workflows import undo
from tests.support import undos
from tests.support.fake_world import World
from tests.support.runs import CANDIDATES, REPOSITORY, Runs, image_build
from tests.support.undos import terminated, undo_of

CALLS = [
    "secret",
    "create",
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
    "delete",
    "delete_object",
]
"""What a run asks of the world, in order; the last two are its own releases after the publication."""


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test server does not skip time any more once a run was terminated in an activity."""
    monkeypatch.setattr(undo, "LAST_WORDS", timedelta(seconds=0.1))


def nothing_is_left(world: World, before: str = "") -> None:
    assert world.registry.empty(CANDIDATES)
    assert world.objects.of_run(world.steps_namespace) == []
    assert world.steps.jobs == {}
    assert world.registry.pointers[REPOSITORY] == ({"v1": before} if before else {})
    assert list(world.registry.manifests[REPOSITORY]) == ([before] if before else [])


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("call", CALLS)
async def test_of_a_run_that_was_terminated_in_any_call_nothing_is_left(
    runs: Runs, world: World, call: str, after: bool
) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    build = image_build()
    held = world.troubles.hold_after(call) if after else world.troubles.hold(call)
    await terminated(runs, world, build, held)

    undone = await undos.undone(runs, undo_of(build))

    assert (undone.closed, undone.left) == ("COMPLETED", [])
    assert undone.result.compensation.state.settled
    assert undone.phases == {Phase.COMPENSATING}
    nothing_is_left(world, before)


@pytest.mark.parametrize("deletes_tags", [True, False], ids=["a registry that deletes tags", "one that does not"])
async def test_a_first_publication_is_gone(runs: Runs, world: World, deletes_tags: bool) -> None:
    world.registry.deletes_tags = deletes_tags
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("tag"))

    undone = await undos.undone(runs, undo_of(build))

    assert undone.state == "Succeeded"
    nothing_is_left(world)


async def finished(runs: Runs, number: int = 1, uid: str = "", **changes: object) -> tuple[ImageBuildInput, str]:
    """A build that was published, and its digest."""
    build = image_build(uid, **changes)
    build = build.model_copy(update={"run": build.run.model_copy(update={"number": number})})
    story = await runs.carried_out(build)
    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.image is not None
    return build, str(story.result.image.digest)


async def test_a_finished_run_is_taken_back_and_what_it_released_itself_is_not_counted(
    runs: Runs, world: World
) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    build, digest = await finished(runs)
    standing = [undos.publication(build, digest, v1=before)]

    undone = await undos.undone(runs, undo_of(build, abandoned=False, final=True, standing=standing))

    assert undone.state == "Succeeded"
    assert (undone.result.compensation.completed, undone.result.compensation.total) == (4, 4)
    nothing_is_left(world, before)


async def test_the_publications_of_all_runs_go_back_to_before_the_first(runs: Runs, world: World) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    first, overtaken = await finished(runs)
    second, standing = await finished(runs, 2, first.run.uid)
    third = image_build(first.run.uid)
    third = third.model_copy(update={"run": third.run.model_copy(update={"number": 3})})
    await terminated(runs, world, third, world.troubles.hold_after("tag"))
    publications = [
        undos.publication(second, standing, v1=before),
        undos.publication(first, overtaken),
    ]

    undone = await undos.undone(runs, undo_of(third, final=True, standing=publications))

    assert undone.state == "Succeeded"
    # Finished Jobs of earlier runs go by themselves, after an hour.
    world.steps.jobs = {n: job for n, job in world.steps.jobs.items() if "r3-" in n}
    nothing_is_left(world, before)


async def test_only_the_run_itself_is_taken_back_while_its_resource_lives_on(runs: Runs, world: World) -> None:
    first, digest = await finished(runs)
    second = image_build(first.run.uid)
    second = second.model_copy(update={"run": second.run.model_copy(update={"number": 2})})
    await terminated(runs, world, second, world.troubles.hold_after("tag"))

    undone = await undos.undone(runs, undo_of(second))

    assert undone.state == "Succeeded"
    assert world.registry.pointers[REPOSITORY] == {"v1": digest}
    assert list(world.registry.manifests[REPOSITORY]) == [digest]


async def test_a_tag_that_somebody_moved_since_stays_and_is_no_failure(runs: Runs, world: World) -> None:
    build, digest = await finished(runs)
    later = world.registry.push(REPOSITORY, "v1", {}, "later")
    standing = [undos.publication(build, digest, v1=None)]

    undone = await undos.undone(runs, undo_of(build, standing=standing))

    assert (undone.state, undone.left) == ("Succeeded", [])
    assert world.registry.pointers[REPOSITORY] == {"v1": later}
    assert list(world.registry.manifests[REPOSITORY]) == [later]


async def test_a_publication_that_others_point_at_stays_and_says_so(runs: Runs, world: World) -> None:
    build, digest = await finished(runs)
    world.registry.pointers[REPOSITORY]["somebody-elses"] = digest
    standing = [undos.publication(build, digest, v1=None)]

    undone = await undos.undone(runs, undo_of(build, standing=standing))

    assert (undone.state, undone.left) == ("Failed", [f"{REPOSITORY}:v1"])
    assert world.registry.pointers[REPOSITORY] == {"v1": digest, "somebody-elses": digest}


async def test_where_nobody_knows_what_a_tag_was_before_it_stays_and_says_so(runs: Runs, world: World) -> None:
    build, digest = await finished(runs)
    world.leases.records.clear()

    undone = await undos.undone(runs, undo_of(build))

    assert (undone.state, undone.left) == ("Failed", [f"{REPOSITORY}:v1"])
    assert world.registry.pointers[REPOSITORY] == {"v1": digest}


async def test_a_foreign_image_under_our_tags_is_never_deleted(runs: Runs, world: World) -> None:
    build = image_build()
    foreign = {names.IMAGE_RUN_ANNOTATION: names.run_of(build.run.uid, 7)}
    candidate = world.registry.push(CANDIDATES, f"r-{build.run.uid}-1", foreign)
    published = world.registry.push(REPOSITORY, "v1", foreign)
    standing = [undos.publication(build, published, v1=None)]

    undone = await undos.undone(runs, undo_of(build, standing=standing))

    assert (undone.state, undone.left) == ("Failed", [f"{CANDIDATES}@{candidate}"])
    assert world.registry.pointers[CANDIDATES] == {f"r-{build.run.uid}-1": candidate}
    assert world.registry.pointers[REPOSITORY] == {"v1": published}


async def test_what_the_run_took_back_itself_is_nothing_to_do(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    build = image_build()
    await runs.carried_out(build)
    world.steps.jobs.clear()

    undone = await undos.undone(runs, undo_of(build, abandoned=False))

    assert undone.state == "NothingToDo"
    assert undone.result.compensation.attempt == 1
    nothing_is_left(world)


async def test_releases_only_leaves_what_was_published(runs: Runs, world: World) -> None:
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("tag"))

    undone = await undos.undone(runs, undo_of(build, undo=False))

    assert undone.state == "Succeeded"
    assert world.registry.empty(CANDIDATES)
    assert world.objects.of_run(world.steps_namespace) == []
    assert world.steps.jobs == {}
    assert list(world.registry.pointers[REPOSITORY]) == ["v1"]


@pytest.mark.parametrize("call", ["stop", "labelled", "delete_object", "manifest", "tag", "tags", "delete"])
async def test_an_undo_that_dies_at_a_call_twice_goes_on(runs: Runs, world: World, call: str) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("tag"))
    world.troubles.before[call] = [ApiUnavailableError("died before")]
    world.troubles.after[call] = [ApiUnavailableError("died right after")]

    undone = await undos.undone(runs, undo_of(build))

    assert undone.state == "Succeeded"
    assert any(progress.compensation and progress.compensation.last_error for progress in undone.progress)
    nothing_is_left(world, before)


async def test_past_the_deadline_it_says_what_is_left_and_the_next_attempt_takes_that_back(
    runs: Runs, world: World
) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("copy"))
    copied = next(digest for digest in world.registry.manifests[REPOSITORY] if digest != before)
    world.troubles.before["tags"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]

    first = await undos.undone(runs, undo_of(build, timeout_seconds=3))

    assert first.state == "Failed"
    assert "the registry is away" in first.result.compensation.last_error
    assert first.result.compensation.deadline is not None
    # Without the candidate nobody would know any more which digest was copied.
    assert [item.partition(":")[0] for item in first.left] == ["restore the tags", "delete the candidate"]
    assert not world.registry.empty(CANDIDATES)
    assert copied in world.registry.manifests[REPOSITORY]

    del world.troubles.before["tags"]
    second = await undos.undone(runs, undo_of(build, attempt=2))

    assert (second.state, second.result.compensation.attempt) == ("Succeeded", 2)
    nothing_is_left(world, before)


async def test_two_undos_at_the_same_time_do_no_more_than_one(runs: Runs, world: World) -> None:
    before = world.registry.push(REPOSITORY, "v1", {}, "before")
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("tag"))

    both = [await undos.start(runs, undo_of(build, attempt=attempt)) for attempt in (1, 2)]
    outcomes = [await undos.outcome(runs, handle) for handle in both]

    assert all(undone.result.compensation.state.settled for undone in outcomes)
    assert CompensationState.SUCCEEDED in {undone.result.compensation.state for undone in outcomes}
    nothing_is_left(world, before)


async def test_a_cancelled_undo_goes_on_to_its_end(runs: Runs, world: World) -> None:
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("tag"))
    held = world.troubles.hold("stop")
    handle = await undos.start(runs, undo_of(build))
    await held.began.wait()
    await handle.cancel()
    held.let_go.set()

    undone = await undos.outcome(runs, handle)

    assert (undone.closed, undone.state) == ("COMPLETED", "Succeeded")
    nothing_is_left(world)


async def test_a_publisher_that_is_still_at_work_when_the_undo_ends_publishes_nothing(runs: Runs, world: World) -> None:
    """Its worker has lost Temporal, and does not hear that the run is no more."""
    build = image_build()
    await terminated(runs, world, build, world.troubles.hold_after("copy"))
    candidate = world.registry.pointers[CANDIDATES][f"r-{build.run.uid}-1"]
    await undos.undone(runs, undo_of(build))

    late = undos.publish_request(build, candidate)
    world.registry.push(CANDIDATES, f"r-{build.run.uid}-1", {names.IMAGE_RUN_ANNOTATION: f"{build.run.uid}/1"})
    report = await undos.published_late(world, late)

    assert "taken back" in report
    assert world.registry.empty(REPOSITORY)
