"""Whole logs: kept where the tenant has a place for them, and never in the way of a run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bascule_workers.activities import logs
from bascule_workers.errors import RegistryRefusedError
from bascule_workers.plans.outcomes import Failed
from bascule_workers.ports.registry import Repository
from tests.support.fake_world import World
from tests.support.runs import Runs, image_build

ARTIFACTS = Repository("registry.example.com/acme/artifacts")


@pytest.fixture(autouse=True)
def place(world: World) -> None:
    world.tenants.repositories["acme"] = ARTIFACTS


async def test_the_log_of_every_job_is_kept_without_secrets(runs: Runs, world: World) -> None:
    world.steps.logs = {"bascule-prepare": "fetched\n", "step": "login with canary-secret\n"}
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")]

    story = await runs.carried_out(image_build(tests=("smoke",)))

    digests = {step.name: step.log for step in story.result.steps}
    assert digests["resolve"] is None
    for name in ("build", "test-smoke"):
        repository, text, annotations = world.logs.kept[digests[name] or ""]
        assert repository == ARTIFACTS.name
        assert text == "==> bascule-prepare <==\nfetched\n==> step <==\nlogin with [redacted]\n"
        assert (annotations["dev.bascule.step"], annotations["dev.bascule.complete"]) == (name, "true")


async def test_a_log_over_the_limit_is_cut_and_says_so(
    runs: Runs, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LIMIT_BYTES", 10)
    world.steps.logs = {"step": "0123456789abcdef"}

    await runs.carried_out(image_build(tests=()))

    ((_, text, annotations),) = world.logs.kept.values()
    assert text == "==> step <==\n0123456789\n"
    assert annotations["dev.bascule.complete"] == "false"


async def test_a_log_that_cannot_be_kept_fails_nothing(runs: Runs, world: World) -> None:
    world.steps.logs = {"step": "built\n"}
    world.troubles.before["keep"] = [RegistryRefusedError("no such project")]

    story = await runs.carried_out(image_build(tests=()))

    assert story.closed == "COMPLETED"
    (build,) = [step for step in story.result.steps if step.name == "build"]
    assert (build.log, build.message) == (None, "the whole log could not be kept: no such project")


async def test_old_logs_are_looked_for_once_a_day(runs: Runs, world: World) -> None:
    world.steps.logs = {"step": "built\n"}

    for _ in range(2):
        await runs.carried_out(image_build())

    today = datetime.now(UTC).date()
    assert len(world.logs.days) == 4
    assert {
        abs(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date() - today).days for day in world.logs.days
    } <= {0, 1}
    assert 1 <= len(world.logs.expired) <= 2, "two only where midnight fell between"
    assert all(place == ARTIFACTS.name for place, _ in world.logs.expired)
    assert abs((today - world.logs.expired[0][1]).days - 90) <= 1


async def test_old_logs_that_cannot_be_deleted_are_in_nobodys_way(runs: Runs, world: World) -> None:
    world.steps.logs = {"step": "built\n"}
    world.troubles.before["expire"] = [RegistryRefusedError("no such project")]

    story = await runs.carried_out(image_build(tests=()))

    assert story.closed == "COMPLETED"
    (build,) = [step for step in story.result.steps if step.name == "build"]
    assert build.log is not None
