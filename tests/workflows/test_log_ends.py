"""Where a tenant has no place for whole logs, the end of a failed step's stays in the status."""

from __future__ import annotations

import pytest

from bascule_api.failures import LOG_CUT
from bascule_workers.plans.outcomes import Failed, TimedOut
from bascule_workers.ports.registry import Repository
from tests.support.fake_world import World
from tests.support.runs import Runs, image_build


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Failed("exit code 3", exit_code=3, pod="p", container="step"), id="failed"),
        pytest.param(TimedOut("p", "step"), id="timed out"),
    ],
)
async def test_the_end_of_a_failed_steps_log_is_told_without_secrets_and_colours(
    runs: Runs, world: World, outcome: Failed | TimedOut
) -> None:
    world.steps.logs = {"step": "login with canary-secret\n\x1b[31mport 8080\x1b[0m is silent\n"}
    world.steps.script["test-smoke"] = [outcome]

    failure = (await runs.carried_out(image_build())).result.failure

    assert failure is not None
    assert failure.log == "login with [redacted]\nport 8080 is silent"


@pytest.mark.parametrize(
    "log",
    [
        pytest.param("x" * 30_000 + "\nthe end\n", id="many characters"),
        pytest.param("x\n" * 3000 + "the end\n", id="many lines"),
    ],
)
async def test_a_longer_log_is_cut_and_says_that_the_rest_was_not_kept(runs: Runs, world: World, log: str) -> None:
    world.steps.logs = {"step": log}
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")]

    failure = (await runs.carried_out(image_build())).result.failure

    assert failure is not None
    assert failure.log.startswith(LOG_CUT)
    assert failure.log.endswith("\nthe end")
    assert len(failure.log) <= 16_384


async def test_where_whole_logs_are_kept_the_status_has_their_digest_only(runs: Runs, world: World) -> None:
    world.tenants.repositories["acme"] = Repository("registry.example.com/acme/artifacts")
    world.steps.logs = {"step": "port 8080 is silent\n"}
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3, pod="p", container="step")]

    result = (await runs.carried_out(image_build())).result

    assert result.failure is not None
    assert result.failure.log == ""
    assert [step.log for step in result.steps if step.name == "test-smoke"] != [None]
