"""Where a run waits for people: what opens its gate, what does not, and how long it stays open."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.conditions import Phase, WaitKind
from bascule_api.image_builds import ImageBuildResult
from bascule_api.progress import ApprovalMessage
from tests.support.fake_world import World
from tests.support.runs import CANDIDATES, REPOSITORY, Runs, approval_of, image_build


def nothing_is_left(world: World) -> None:
    """No candidate, no copy of a Secret or source."""
    assert world.registry.empty(CANDIDATES)
    assert world.objects.of_run(world.steps_namespace) == []


APPROVAL = {"approval": {"required": True, "timeout": "1h"}}


async def at_the_gate(runs: Runs, **changes: Any) -> tuple[WorkflowHandle[Any, ImageBuildResult], ApprovalMessage]:
    """A run that waits for its approval, and the approval that it waits for."""
    build = image_build(publish={"repository": REPOSITORY, "tags": ["v1"], **APPROVAL}, **changes)
    handle = await runs.start(build)
    told = await runs.until(handle, Phase.WAITING)
    assert told.waiting is not None
    assert (told.waiting.gate, told.waiting.kind) == ("publish", WaitKind.APPROVAL)
    assert told.waiting.until is not None
    return handle, approval_of(build, told.waiting)


async def test_a_gated_build_is_published_once_it_is_approved(runs: Runs, world: World) -> None:
    handle, message = await at_the_gate(runs)
    assert world.registry.empty(REPOSITORY)

    await handle.execute_update(names.UPDATE_APPROVAL, message, id="approval-1")
    story = await runs.story(handle)

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.image is not None
    assert story.result.image.digest == message.subject
    assert story.phases == [Phase.RUNNING, Phase.WAITING, Phase.RUNNING, Phase.SUCCEEDED]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"uid": "of-another"}, id="another resource of the same name"),
        pytest.param({"run": 2}, id="another run"),
        pytest.param({"gate": "other"}, id="another gate"),
        pytest.param({"subject": "sha256:0"}, id="another image"),
    ],
)
async def test_an_approval_of_something_else_opens_nothing(runs: Runs, change: dict[str, object]) -> None:
    handle, message = await at_the_gate(runs)

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(names.UPDATE_APPROVAL, message.model_copy(update=change))

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "Stale"
    assert (await runs.until(handle, Phase.WAITING)).phase == Phase.WAITING


async def test_a_rejected_build_fails_and_takes_back_what_it_did(runs: Runs, world: World) -> None:
    handle, message = await at_the_gate(runs)

    rejection = message.model_copy(update={"decision": Decision.REJECT, "reason": "not on a Friday"})
    await handle.execute_update(names.UPDATE_APPROVAL, rejection)
    story = await runs.story(handle)

    assert story.failure_type == "ApprovalRejected"
    assert story.result.failure is not None
    assert "not on a Friday" in story.result.failure.message
    assert "somebody" not in story.result.failure.message
    assert story.steps["publish"] == "Skipped"
    assert world.registry.empty(REPOSITORY)
    nothing_is_left(world)


async def test_the_longest_reason_that_there_may_be_rejects_like_any_other(runs: Runs, world: World) -> None:
    handle, message = await at_the_gate(runs)

    rejection = message.model_copy(update={"decision": Decision.REJECT, "reason": "no " * 1365 + "!"})
    await handle.execute_update(names.UPDATE_APPROVAL, rejection)
    story = await runs.story(handle)

    assert story.failure_type == "ApprovalRejected"
    assert world.registry.empty(REPOSITORY)
    nothing_is_left(world)


async def test_nobody_approves_in_time_and_the_runs_own_timeout_stands_still(runs: Runs, world: World) -> None:
    handle, _ = await at_the_gate(runs, timeout_seconds=60)

    story = await runs.story(handle)

    assert story.failure_type == "ApprovalTimedOut"
    assert story.result.waited_seconds >= 3600
    nothing_is_left(world)


async def test_while_suspended_a_gates_deadline_stands_still(runs: Runs) -> None:
    handle, message = await at_the_gate(runs)
    await runs.desire(handle, 1, suspended=True)
    await runs.until(handle, Phase.SUSPENDED)
    await runs.env.sleep(100_000)
    await runs.desire(handle, 2, suspended=False)
    await runs.until(handle, Phase.WAITING)

    await handle.execute_update(names.UPDATE_APPROVAL, message)

    assert (await runs.story(handle)).result.phase == Phase.SUCCEEDED


async def test_a_run_at_its_gate_can_be_cancelled(runs: Runs, world: World) -> None:
    handle, _ = await at_the_gate(runs)
    await handle.cancel()

    assert (await runs.story(handle)).closed == "CANCELED"
    nothing_is_left(world)
