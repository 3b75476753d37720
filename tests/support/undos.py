"""Undo workflows against a test server: what they are asked, and how they went."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.image_builds import ImageBuildEffects, ImageBuildInput, ImageBuildUndoInput, Publication, PublishedTag
from bascule_api.progress import Progress, UndoResult
from bascule_workers.activities.publications import PublicationActivities
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import Candidate, PublishRequest
from bascule_workers.plans import image_builds as plans
from bascule_workers.ports.audit import Moment
from tests.support.fake_registry import Hold
from tests.support.fake_world import World
from tests.support.runs import Runs


def undo_of(build: ImageBuildInput, **changes: Any) -> ImageBuildUndoInput:
    """The input of an undo of a run, as the operator makes it; `changes` are fields of it or of its effects."""
    publish = build.spec.publish
    effects: dict[str, Any] = {
        "repository": publish.repository,
        "candidates": publish.candidates,
        "tags": publish.tags,
        "secret": publish.secret_ref.name if publish.secret_ref else "",
    }
    given: dict[str, Any] = {"run": build.run, "tenant": build.tenant, "attempt": 1, "timeout_seconds": 1800}
    for name, value in changes.items():
        (effects if name in ImageBuildEffects.model_fields else given)[name] = value
    return ImageBuildUndoInput(**given, effects=ImageBuildEffects(**effects))


def publication(build: ImageBuildInput, digest: str, secret: str = "", **before: str | None) -> Publication:
    """A publication that stands; `before` is where each tag was."""
    tags = [PublishedTag(name=name, digest=digest, previous_digest=previous) for name, previous in before.items()]
    return Publication(
        run=build.run.number, repository=build.spec.publish.repository, digest=digest, tags=tags, secret=secret
    )


@dataclass(frozen=True)
class Undone:
    """How an undo went."""

    result: UndoResult
    progress: list[Progress]
    closed: str

    @property
    def state(self) -> str:
        return str(self.result.compensation.state)

    @property
    def left(self) -> list[str]:
        return self.result.compensation.left

    @property
    def phases(self) -> set[Phase]:
        return {progress.phase for progress in self.progress}


async def terminated(runs: Runs, world: World, build: ImageBuildInput, held: Hold) -> None:
    """A run that somebody ends while it makes a call; its activity hears of it and ends too."""
    handle = await runs.start(build)
    await held.began.wait()
    world.troubles.release_holds()
    await handle.terminate(reason="by hand")
    async with asyncio.timeout(30):
        await world.audit.happened(Moment.CANCELLED)


async def start(runs: Runs, undo: ImageBuildUndoInput) -> WorkflowHandle[Any, UndoResult]:
    return await runs.env.client.start_workflow(
        names.undo_workflow("ImageBuild"),
        undo,
        id=names.undo_workflow_id("ImageBuild", undo.run.uid, undo.run.number, undo.attempt),
        task_queue=names.task_queue("acme"),
        memo={names.MEMO_RUN: undo.run.to_wire()},
        result_type=UndoResult,
    )


async def undone(runs: Runs, undo: ImageBuildUndoInput) -> Undone:
    return await outcome(runs, await start(runs, undo))


async def outcome(runs: Runs, handle: WorkflowHandle[Any, UndoResult]) -> Undone:
    """How the undo went: its result is the same as return value and as memo."""
    async with asyncio.timeout(60):
        returned = await handle.result()
    told = await runs.told(handle)
    [result] = [memo[names.MEMO_RESULT] for memo in told.memos if names.MEMO_RESULT in memo]
    assert UndoResult.model_validate(result) == returned
    progress = [
        Progress.model_validate(memo[names.MEMO_PROGRESS]) for memo in told.memos if names.MEMO_PROGRESS in memo
    ]
    assert returned.progress_number == progress[-1].number
    return Undone(returned, progress, told.closed)


def publish_request(build: ImageBuildInput, digest: str) -> PublishRequest:
    """What the run asked of a publisher that is late."""
    publish = build.spec.publish
    image = Candidate(repository=publish.candidates, digest=digest, media_type="", size=1)
    return PublishRequest(
        **plans.common(build, "publish"), image=image, repository=publish.repository, tags=publish.tags
    )


async def published_late(world: World, request: PublishRequest) -> str:
    """Publish although the run is no more. Returns why that was refused."""
    with pytest.raises(StepFailedError) as refused:
        await PublicationActivities(world.ports()).publish(request)
    return str(refused.value)
