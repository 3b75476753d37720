"""With whose login what a run left is taken back, and who deletes the copies that were kept for it."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_api.image_builds import ImageBuildInput
from bascule_workers.errors import RegistryUnavailableError
from bascule_workers.plans import credentials
from bascule_workers.plans.outcomes import Failed
from tests.support import undos
from tests.support.fake_world import World, secret
from tests.support.runs import CANDIDATES, REPOSITORY, Runs, image_build
from tests.support.undos import undo_of

HOST = "registry.example.com"
LOGIN = '{"auths": {"registry.example.com": {"username": "me", "password": "hunter22"}}}'
PUSH = ("Secret", "acme-dev", "push")


@pytest.fixture(autouse=True)
def _login(world: World) -> None:
    world.objects.add(secret("push", "registry", {".dockerconfigjson": LOGIN}, host=HOST))


def private(uid: str = "", number: int = 1, on_delete: str = "Always") -> ImageBuildInput:
    """A build that publishes with a login."""
    publish = {"repository": REPOSITORY, "tags": ["v1"], "secretRef": {"name": "push"}}
    build = image_build(uid, publish=publish, compensation={"onDelete": on_delete})
    return build.model_copy(update={"run": build.run.model_copy(update={"number": number})})


def kept(world: World) -> list[str]:
    """What is in the steps namespace."""
    return sorted(name for _, _, name in world.objects.of_run(world.steps_namespace))


async def published(runs: Runs, build: ImageBuildInput) -> tuple[str, bool]:
    """The digest, and whether the run says that it kept its login."""
    story = await runs.carried_out(build)
    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.image is not None
    return str(story.result.image.digest), story.result.kept


async def test_what_deletion_may_undo_keeps_its_login_and_nothing_else(runs: Runs, world: World) -> None:
    build = private()

    _, said = await published(runs, build)

    assert said
    assert kept(world) == [credentials.kept_name(build.run)]
    [copy] = [world.objects.content[key] for key in world.objects.of_run(world.steps_namespace)]
    assert list(copy["data"]) == [credentials.REGISTRY_KEY]
    assert copy["metadata"]["labels"][names.LABEL_KEPT_FOR] == build.run.uid
    login = credentials.decoded_secret(copy).login(HOST)
    assert login is not None
    assert login.username == "me"


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(private(on_delete="WhenUnfinished"), id="effects stay when the resource goes"),
        pytest.param(image_build(compensation={"onDelete": "Always"}), id="there is no login"),
    ],
)
async def test_nothing_is_kept_where(runs: Runs, world: World, build: ImageBuildInput) -> None:
    _, said = await published(runs, build)

    assert not said
    assert kept(world) == []


async def test_the_kept_login_undoes_what_the_tenants_deleted_secret_cannot(runs: Runs, world: World) -> None:
    build = private()
    digest, _ = await published(runs, build)
    del world.objects.content[PUSH]
    standing = [undos.publication(build, digest, "push", v1=None)]

    undone = await undos.undone(runs, undo_of(build, abandoned=False, final=True, standing=standing))

    assert undone.state == "Succeeded"
    assert world.registry.empty(REPOSITORY)
    assert kept(world) == []


async def test_a_login_that_is_not_meant_for_it_any_more_is_not_used(runs: Runs, world: World) -> None:
    build = private()
    await published(runs, build)
    used: dict[str, Any] = dict(world.objects.content[PUSH])
    world.objects.content[PUSH] = used | {"metadata": used["metadata"] | {"labels": {}}}
    for key in world.objects.of_run(world.steps_namespace):
        del world.objects.content[key]

    undone = await undos.undone(runs, undo_of(build, abandoned=False, timeout_seconds=60))

    assert undone.state == "Failed"
    assert "kubectl label -n acme-dev secret push bascule.dev/use=registry" in undone.result.compensation.last_error
    assert not world.registry.empty(REPOSITORY)


async def test_without_any_login_it_says_which_secret_and_goes_on_once_that_is_there(runs: Runs, world: World) -> None:
    build = private()
    await published(runs, build)
    made = world.objects.content.pop(PUSH)
    for key in world.objects.of_run(world.steps_namespace):
        del world.objects.content[key]

    failed = await undos.undone(runs, undo_of(build, abandoned=False, timeout_seconds=60))
    world.objects.content[PUSH] = made
    again = await undos.undone(runs, undo_of(build, abandoned=False, attempt=2))

    assert failed.state == "Failed"
    assert "the Secret acme-dev/push, which does not exist" in failed.result.compensation.last_error
    assert "mend the Secret, and this is tried again" in failed.result.compensation.last_error
    assert again.state == "Succeeded"
    assert world.registry.empty(REPOSITORY)


async def test_a_later_run_replaces_what_an_earlier_one_kept(runs: Runs, world: World) -> None:
    first = private()
    await published(runs, first)
    second = private(first.run.uid, 2)
    await published(runs, second)

    assert kept(world) == [credentials.kept_name(second.run)]


async def test_a_later_run_deletes_what_was_kept_when_effects_are_to_stay_from_now_on(runs: Runs, world: World) -> None:
    first = private()
    await published(runs, first)
    await published(runs, private(first.run.uid, 2, on_delete="WhenUnfinished"))

    assert kept(world) == []


async def test_a_later_run_that_fails_leaves_what_stands_undoable(runs: Runs, world: World) -> None:
    first = private()
    await published(runs, first)
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    await runs.carried_out(private(first.run.uid, 2))

    assert kept(world) == [credentials.kept_name(first.run)]


async def test_releases_of_a_resource_that_goes_delete_what_was_kept_and_undo_nothing(runs: Runs, world: World) -> None:
    build = private()
    digest, _ = await published(runs, build)

    undone = await undos.undone(runs, undo_of(build, undo=False, abandoned=False, final=True))

    assert undone.state == "Succeeded"
    assert world.registry.pointers[REPOSITORY] == {"v1": digest}
    assert kept(world) == []


async def test_a_compensation_that_failed_keeps_the_login_for_the_next_attempt(runs: Runs, world: World) -> None:
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    world.troubles.before["delete"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]
    build = private(on_delete="WhenUnfinished")
    story = await runs.carried_out(build)
    del world.objects.content[PUSH]
    assert story.result.compensation.state == CompensationState.FAILED
    assert kept(world) == [credentials.kept_name(build.run)]

    still = await undos.undone(runs, undo_of(build, abandoned=False, attempt=2, timeout_seconds=60))
    assert still.state == "Failed"
    assert kept(world) == [credentials.kept_name(build.run)]

    del world.troubles.before["delete"]
    undone = await undos.undone(runs, undo_of(build, abandoned=False, attempt=3))
    assert undone.state == "Succeeded"
    assert world.registry.empty(CANDIDATES)
    assert kept(world) == []


async def test_after_letting_go_of_a_compensation_that_failed_no_login_stays(runs: Runs, world: World) -> None:
    """What the operator starts then; the registry is as far away as before."""
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    world.troubles.before["delete"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]
    build = private(on_delete="WhenUnfinished")
    await runs.carried_out(build)
    assert kept(world) == [credentials.kept_name(build.run)]

    released = await undos.undone(runs, undo_of(build, undo=False, abandoned=False, final=True, timeout_seconds=60))

    assert released.state == "Failed"
    assert kept(world) == []


async def test_a_deleted_resource_whose_effects_stay_only_releases(runs: Runs, world: World) -> None:
    held = world.troubles.hold_after("tag")
    build = private(on_delete="Never")
    handle = await runs.start(build)
    await held.began.wait()
    world.troubles.release_holds()
    await handle.cancel(reason=names.CANCEL_DELETED_RELEASES_ONLY)

    story = await runs.story(handle)

    assert (story.closed, story.result.compensation.state.settled) == ("CANCELED", True)
    assert list(world.registry.pointers[REPOSITORY]) == ["v1"], "what was published stays"
    assert world.registry.empty(CANDIDATES)
    assert world.steps.jobs == {}
    assert kept(world) == []
