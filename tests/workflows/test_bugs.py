"""What ends a run and what does not: input that nobody understands does, bugs of ours wait for mended code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.progress import Progress
from bascule_workers.plans import failures
from bascule_workers.plans import image_builds as plans
from tests.support import undos
from tests.support.fake_world import World
from tests.support.runs import REPOSITORY, Runs, image_build

Handle = WorkflowHandle[Any, Any]


def invalid(*_: Any, **__: Any) -> Any:
    return Progress.model_validate({"phase": "Nonsense"})


def failing(*_: Any, **__: Any) -> Any:
    raise ApplicationError("looks like the run's own failure", type="BuildFailed")


def late(*_: Any, **__: Any) -> Any:
    raise TimeoutError("nobody waited for this one")


def once(bug: Callable[..., Any], mended: Callable[..., Any]) -> Callable[..., Any]:
    """Code that is wrong the first time."""
    left = [bug]

    def called(*args: Any, **kwargs: Any) -> Any:
        return (left.pop() if left else mended)(*args, **kwargs)

    return called


async def first_failed_task(handle: Handle) -> Failure:
    """How the first workflow task of a run failed."""
    async with asyncio.timeout(60):
        while True:
            async for event in handle.fetch_history_events():
                if event.HasField("workflow_task_failed_event_attributes"):
                    return event.workflow_task_failed_event_attributes.failure
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workflow", ["ImageBuild", "ImageBuildUndo"])
async def test_input_that_does_not_decode_ends_the_workflow_at_once(runs: Runs, workflow: str) -> None:
    handle = await runs.env.client.start_workflow(
        workflow, {"run": "nonsense"}, id="broken", task_queue=names.task_queue("acme")
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "UndecodableInputError"
    assert "validation error" in failed.value.cause.message


@pytest.mark.parametrize(
    ("where", "bug"),
    [
        pytest.param("build_request", invalid, id="in its body: a value that is not valid"),
        pytest.param("build_request", failing, id="in its body: a failure"),
        pytest.param("build_request", late, id="in its body: a timeout"),
        pytest.param("releases", invalid, id="when it settles: a value that is not valid"),
        pytest.param("releases", failing, id="when it settles: a failure"),
    ],
)
async def test_a_bug_ends_nothing_and_mended_code_goes_on(
    runs: Runs, world: World, monkeypatch: pytest.MonkeyPatch, where: str, bug: Any
) -> None:
    # Mended at once: a task that fails twice is more than the test server bears.
    monkeypatch.setattr(plans, where, once(bug, getattr(plans, where)))
    handle = await runs.start(image_build())
    story = await runs.story(handle)
    assert story.result.phase == Phase.SUCCEEDED
    assert not world.registry.empty(REPOSITORY)
    await first_failed_task(handle)


@pytest.mark.parametrize("bug", [invalid, failing, late])
async def test_a_bug_in_what_tells_the_progress_is_noticed_and_mended_code_tells_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, bug: Any
) -> None:
    monkeypatch.setattr(failures, "shortened", once(bug, failures.shortened))
    handle = await runs.start(image_build())
    story = await runs.story(handle)
    assert story.result.phase == Phase.SUCCEEDED
    assert Phase.RUNNING in {progress.phase for progress in story.progress}
    await first_failed_task(handle)


async def test_a_bug_does_not_end_an_undo_either(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "undo_candidate", once(failing, plans.undo_candidate))
    handle = await undos.start(runs, undos.undo_of(image_build()))
    assert (await undos.outcome(runs, handle)).state == "NothingToDo"
    await first_failed_task(handle)
