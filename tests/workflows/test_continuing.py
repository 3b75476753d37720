"""A run that continues as new stays one run: what it knows, counts and owes goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.image_builds import ImageBuildInput, ImageBuildResult
from bascule_api.progress import Progress, RunInput
from bascule_codec import Keyring, data_converter
from bascule_workers import supervisor
from bascule_workers.ports.audit import Moment
from tests.support.fake_world import World
from tests.support.laps import FORGETFUL, LAPS, PAUSING, Laps
from tests.support.runs import REPOSITORY, Runs, approval_of, image_build
from tests.support.temporal import serving_runs, skipping_time, worker_of

T = TypeVar("T")
Handle = WorkflowHandle[Any, ImageBuildResult]
GATED = {"publish": {"repository": REPOSITORY, "tags": ["v1"], "approval": {"required": True, "timeout": "30d"}}}


@pytest.fixture
async def runs(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    """As ever, with a workflow that continues as new in the place of the build's."""
    monkeypatch.setattr(supervisor, "WORKFLOWS", [Laps])
    async with serving_runs(world, data_converter(Keyring.generate(), "default")) as started:
        yield started


async def executions(runs: Runs, handle: Handle) -> list[list[HistoryEvent]]:
    """The histories of a run, the first execution's first."""
    found: list[list[HistoryEvent]] = []
    run_id = handle.first_execution_run_id or ""
    while run_id:
        one = runs.env.client.get_workflow_handle(handle.id, run_id=run_id)
        found.append([event async for event in one.fetch_history_events()])
        run_id = found[-1][-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def told(runs: Runs, handle: Handle) -> list[Progress]:
    """Every progress that the run told, in all its executions."""
    converter, found = runs.env.client.data_converter, []
    for events in await executions(runs, handle):
        for event in events:
            fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            if names.MEMO_PROGRESS in fields:
                found += await converter.decode([fields[names.MEMO_PROGRESS]], [Progress])
    return found


async def eventually(look: Callable[[], Awaitable[T | None]]) -> T:
    """What is seen as soon as there is something to see."""
    async with asyncio.timeout(60):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.05)


async def until_lap(runs: Runs, handle: Handle, lap: int, phase: Phase = Phase.WAITING) -> Progress:
    """Wait until the run says that it is in a lap, in this phase, whichever execution that is."""

    async def look() -> Progress | None:
        last = next(reversed(await told(runs, handle)), None)
        return last if last is not None and last.phase == phase and last.steps[lap].attempts else None

    return await eventually(look)


async def until_cancelled(runs: Runs, handle: Handle) -> None:
    async def look() -> bool | None:
        last = (await executions(runs, handle))[-1][-1]
        return last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED or None

    await eventually(look)


def named(name: str) -> ImageBuildInput:
    build = image_build()
    return build.model_copy(update={"run": build.run.model_copy(update={"name": name})})


async def approve(handle: Handle, build: ImageBuildInput, told: Progress) -> None:
    assert told.waiting is not None
    await handle.execute_update(names.UPDATE_APPROVAL, approval_of(build, told.waiting))


async def test_the_last_execution_tells_the_result_of_all(runs: Runs) -> None:
    handle = await runs.start(image_build())
    result = await handle.result()

    assert len(await executions(runs, handle)) == LAPS
    assert [(step.state, step.attempts) for step in result.steps] == [("Succeeded", 1)] * LAPS
    assert all(step.started_at and step.finished_at for step in result.steps)


async def test_the_numbers_of_its_progress_go_on_rising(runs: Runs) -> None:
    handle = await runs.start(image_build())
    result = await handle.result()

    numbers = [progress.number for progress in await told(runs, handle)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert result.progress_number == numbers[-1]


async def test_the_memo_goes_with_it_encrypted(runs: Runs, world: World) -> None:
    build = image_build(**GATED)
    handle = await runs.start(build)
    await approve(handle, build, await until_lap(runs, handle, 0))
    await until_lap(runs, handle, 1)

    first, second = await executions(runs, handle)
    fields = second[0].workflow_execution_started_event_attributes.memo.fields
    last = [event for event in first if event.HasField("workflow_properties_modified_event_attributes")][-1]
    before = last.workflow_properties_modified_event_attributes.upserted_memo.fields[names.MEMO_PROGRESS]
    converter = runs.env.client.data_converter
    assert await converter.decode([fields[names.MEMO_PROGRESS]]) == await converter.decode([before])
    assert b"lap-0" not in fields[names.MEMO_PROGRESS].data


async def test_what_was_done_before_is_taken_back_with_the_rest(runs: Runs, world: World) -> None:
    build = image_build(**GATED)
    handle = await runs.start(build)
    await approve(handle, build, await until_lap(runs, handle, 0))
    await approve(handle, build, await until_lap(runs, handle, 1))
    await until_lap(runs, handle, 2)
    await handle.cancel()
    await until_cancelled(runs, handle)

    undone = [
        occurrence.request.step
        for occurrence in world.audit.occurrences
        if occurrence.request.compensating and occurrence.moment == Moment.SUCCEEDED
    ]
    assert undone == ["lap-2", "lap-1", "lap-0"]
    assert [step.state for step in (await told(runs, handle))[-1].steps] == ["Undone"] * 3


async def test_its_timeout_counts_from_the_first_execution_net_of_waiting(runs: Runs) -> None:
    build = image_build(timeout_seconds=100, **GATED)
    handle = await runs.start(build)
    for lap in range(LAPS):
        waiting = await until_lap(runs, handle, lap)
        await runs.env.sleep(timedelta(days=1))
        await approve(handle, build, waiting)

    result = await handle.result()
    assert result.phase == Phase.SUCCEEDED
    assert result.waited_seconds >= timedelta(days=LAPS).total_seconds()


async def test_time_that_earlier_executions_took_is_not_given_back(runs: Runs, world: World) -> None:
    build = image_build(timeout_seconds=100, **GATED)
    handle = await runs.start(build)
    waiting = await until_lap(runs, handle, 0)
    # The step of the second lap waits out trouble for longer than is left, and less than a whole timeout.
    world.troubles.before["secret"] = [OSError("away") for _ in range(1000)]
    await approve(handle, build, waiting)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert getattr(failed.value.cause, "type", "") == "RunTimedOut"

    started = [events[0].event_time.ToDatetime() for events in await executions(runs, handle)]
    ended = (await executions(runs, handle))[-1][-1].event_time.ToDatetime()
    assert len(started) == 2
    assert ended - started[0] >= timedelta(seconds=100)
    message = await _input(runs, handle)
    assert message.handover is not None
    assert message.handover.started <= started[1].timestamp()


async def _input(runs: Runs, handle: Handle) -> RunInput:
    """The input of the last execution."""
    payloads = (await executions(runs, handle))[-1][0].workflow_execution_started_event_attributes.input.payloads
    [message] = await runs.env.client.data_converter.decode(list(payloads), [RunInput])
    assert isinstance(message, RunInput)
    return message


async def test_it_stays_as_suspended_as_it_was_told_last(runs: Runs) -> None:
    build = image_build(**GATED)
    handle = await runs.start(build)
    waiting = await until_lap(runs, handle, 0)
    await runs.desire(handle, 5, suspended=True)
    await until_lap(runs, handle, 0, Phase.SUSPENDED)
    await approve(handle, build, waiting)

    async def second() -> bool | None:
        return len(await executions(runs, handle)) == 2 or None

    await eventually(second)
    # What was said before the last word changes nothing, in whichever execution it arrives.
    await runs.desire(handle, 4, suspended=False)

    async def paused() -> bool | None:
        return (await told(runs, handle))[-1].phase == Phase.SUSPENDED or None

    await eventually(paused)
    assert (await told(runs, handle))[-1].steps[1].attempts == 0

    await runs.desire(handle, 6, suspended=False)
    assert (await until_lap(runs, handle, 1)).phase == Phase.WAITING


async def test_a_cancellation_that_meets_the_continuing_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are in one workflow task, since nobody serves while they come."""
    monkeypatch.setattr(supervisor, "WORKFLOWS", [Laps])
    # Unlike the real one, the test server never takes back what waits in the queue of a worker that is gone.
    monkeypatch.setattr(supervisor, "Worker", partial(Worker, max_cached_workflows=0))
    build = named(PAUSING)
    async with skipping_time(data_converter(Keyring.generate(), "default")) as runs:
        held = world.troubles.hold("secret")
        async with worker_of(runs, world):
            handle = await runs.start(build)
            async with asyncio.timeout(60):
                await held.began.wait()
            await runs.desire(handle, 1, suspended=True)
            held.let_go.set()
            await until_lap(runs, handle, 0, Phase.SUSPENDED)
        await runs.desire(handle, 2, suspended=False)
        await handle.cancel()
        async with worker_of(runs, world):
            await until_cancelled(runs, handle)
        assert len(await executions(runs, handle)) == 1
    assert [item.request.step for item in world.audit.occurrences if item.request.compensating][-1:] == ["lap-0"]


async def test_a_kind_that_forgets_a_counterweight_does_not_go_on(runs: Runs) -> None:
    handle = await runs.start(named(FORGETFUL))

    async def look() -> HistoryEvent | None:
        events = (await executions(runs, handle))[-1]
        return next((event for event in events if event.HasField("workflow_task_failed_event_attributes")), None)

    failure = (await eventually(look)).workflow_task_failed_event_attributes.failure
    error = await runs.env.client.data_converter.decode_failure(failure)
    assert "forgot its counterweights: lap-0" in str(error)
