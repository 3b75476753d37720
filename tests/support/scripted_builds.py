"""A real workflow `ImageBuild` without effects: it plays what the build's parameter `behaviour` says.

It keeps the contract of the real one: progress as memo `progress` with the search attributes, memo `result` as it
closes with any outcome, the signal `desired`, compensation on cancellation.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase, StepState
from bascule_api.failures import Failure, FailureType
from bascule_api.image_builds import (
    ImageBuildInput,
    ImageBuildResult,
    ImageBuildUndoInput,
    ImageStatus,
    PublishedStatus,
    PublishedTag,
    SourceStatus,
)
from bascule_api.progress import CompensationProgress, Desired, Progress, StepProgress, UndoResult
from bascule_api.runs import CompensationStatus, StepStatus
from bascule_codec import Keyring, data_converter
from tests.support.scripted_campaigns import ScriptedCampaign, ScriptedCampaignUndo

_PHASE = SearchAttributeKey.for_keyword(names.SEARCH_PHASE)
_UPDATED_AT = SearchAttributeKey.for_datetime(names.SEARCH_UPDATED_AT)


def digest(seed: str) -> str:
    return "sha256:" + hashlib.sha256(seed.encode()).hexdigest()


@workflow.defn(name="ImageBuild")
class ScriptedBuild:
    """`behaviour`: succeed, fail, hang, stubborn (its compensation fails), slow (a second per step), mute (no
    progress, no result), crash (its code fails for ever)."""

    mended: ClassVar[bool] = False
    """Whether the code of `crash` is right now."""

    def __init__(self) -> None:
        self.number = 0
        self.suspended = False
        self.sequence = -1
        self.steps: list[StepProgress] = []
        self.behaviour = ""

    @workflow.signal(name=names.SIGNAL_DESIRED)
    def desired(self, message: Desired) -> None:
        if message.sequence > self.sequence:
            self.sequence, self.suspended = message.sequence, message.suspended

    @workflow.run
    async def run(self, message: ImageBuildInput) -> ImageBuildResult:
        self.behaviour = str(message.spec.build.parameters.get("behaviour", "succeed"))
        if self.behaviour == "mute":
            await asyncio.sleep(3600)
        if self.behaviour == "crash" and not self.mended:
            raise ValueError("a bug")
        self.steps = [StepProgress(name=name) for name in ("resolve", "build", *self._tests(message), "publish")]
        self.tell(Phase.RUNNING)
        try:
            for index in range(len(self.steps)):
                await self.step(index)
        except asyncio.CancelledError:
            await self.close(message, Phase.CANCELLED, None)
            raise
        except ApplicationError as error:
            failure = Failure(step=self.failed, type=FailureType.TEST_FAILED, message=error.message)
            return await self.close(message, Phase.FAILED, failure)
        return await self.close(message, Phase.SUCCEEDED, None)

    def _tests(self, message: ImageBuildInput) -> list[str]:
        return [f"test-{test.name}" for test in message.spec.tests]

    async def step(self, index: int) -> None:
        while self.suspended:
            self.tell(Phase.SUSPENDED)
            await workflow.wait_condition(lambda: not self.suspended)
        started = int(workflow.now().timestamp())
        step = self.steps[index]
        self.steps[index] = step.model_copy(update={"state": StepState.RUNNING, "started": started, "attempts": 1})
        self.tell(Phase.RUNNING)
        if self.behaviour == "slow":
            await asyncio.sleep(1)
        if self.behaviour in ("hang", "stubborn") and step.name == "build":
            await asyncio.sleep(3600)
        if self.behaviour == "fail" and step.name.startswith("test-"):
            self.failed = step.name
            self.steps[index] = self.steps[index].model_copy(update={"state": StepState.FAILED})
            raise ApplicationError("exit code 3: expected port 8080 to answer")
        finished = int(workflow.now().timestamp())
        self.steps[index] = self.steps[index].model_copy(update={"state": StepState.SUCCEEDED, "finished": finished})

    def tell(self, phase: Phase, compensation: CompensationProgress | None = None) -> None:
        self.number += 1
        done = sum(1 for step in self.steps if step.state is StepState.SUCCEEDED)
        progress = Progress(
            number=self.number, phase=phase, steps=self.steps, completed=done, total=len(self.steps),
            message=f"{done} of {len(self.steps)} steps done", compensation=compensation, version="0.1.0+test",
        )  # fmt: skip
        workflow.upsert_memo({names.MEMO_PROGRESS: progress.to_wire()})
        workflow.upsert_search_attributes([_PHASE.value_set(phase), _UPDATED_AT.value_set(workflow.now())])

    async def close(self, message: ImageBuildInput, phase: Phase, failure: Failure | None) -> ImageBuildResult:
        compensation = CompensationStatus(state=CompensationState.NOTHING_TO_DO)
        if phase is not Phase.SUCCEEDED:
            self.tell(Phase.COMPENSATING, CompensationProgress(state=CompensationState.RUNNING, total=1))
            await asyncio.shield(asyncio.ensure_future(asyncio.sleep(0.3)))
            compensation = CompensationStatus(state=CompensationState.SUCCEEDED, completed=1, total=1)
            if self.behaviour == "stubborn":
                compensation = CompensationStatus(
                    state=CompensationState.FAILED, total=1, last_error="registry refused", left=["r.test/a@sha256:1"]
                )
        result = self.result(message, phase, failure, compensation)
        workflow.upsert_memo({names.MEMO_RESULT: result.to_wire()})
        self.tell(phase)
        return result

    def result(
        self, message: ImageBuildInput, phase: Phase, failure: Failure | None, compensation: CompensationStatus
    ) -> ImageBuildResult:
        publish, mark = message.spec.publish, digest(f"{message.run.uid}/{message.run.number}")
        previous = str(message.spec.build.parameters.get("previous", "")) or None
        tags = [PublishedTag(name=tag, digest=mark, previous_digest=previous) for tag in publish.tags]
        return ImageBuildResult(
            phase=phase,
            progress_number=self.number + 1,
            steps=[
                StepStatus(
                    name=step.name, state=step.state, attempts=step.attempts,
                    message=failure.message if failure and step.state is StepState.FAILED else "",
                )
                for step in self.steps
            ],
            failure=failure,
            compensation=compensation,
            version="0.1.0+test",
            source=SourceStatus(revision=digest("source")),
            image=ImageStatus(digest=mark, reference=f"{publish.repository}@{mark}", signature=digest("signature"))
            if phase is Phase.SUCCEEDED
            else None,
            published=PublishedStatus(repository=publish.repository, tags=tags) if phase is Phase.SUCCEEDED else None,
        )  # fmt: skip


@workflow.defn(name="ImageBuildUndo")
class ScriptedUndo:
    """Takes back what was never there. The last word of the repository says how: `undo-fails` (its first attempt, and
    the second), `undo-hangs`; anything else succeeds."""

    @workflow.run
    async def run(self, message: ImageBuildUndoInput) -> UndoResult:
        behaviour = message.effects.repository.rpartition("/")[2]
        self.tell(1, CompensationProgress(state=CompensationState.RUNNING, completed=0, total=2))
        await asyncio.sleep(3600 if behaviour == "undo-hangs" else 0.3)
        told = CompensationStatus(state=CompensationState.SUCCEEDED, completed=2, total=2)
        if behaviour == "undo-fails" and message.attempt < 3:
            told = CompensationStatus(
                state=CompensationState.FAILED, completed=1, total=2, last_error="registry refused",
                left=[f"{message.effects.repository}:v1"],
            )  # fmt: skip
        result = UndoResult(progress_number=2, compensation=told, version="0.1.0+test")
        workflow.upsert_memo({names.MEMO_RESULT: result.to_wire()})
        self.tell(2, CompensationProgress.model_validate(told.model_dump()))
        return result

    def tell(self, number: int, compensation: CompensationProgress) -> None:
        progress = Progress(number=number, phase=Phase.COMPENSATING, compensation=compensation, version="0.1.0+test")
        workflow.upsert_memo({names.MEMO_PROGRESS: progress.to_wire()})
        workflow.upsert_search_attributes([_PHASE.value_set(Phase.COMPENSATING), _UPDATED_AT.value_set(workflow.now())])


async def tenant_client(address: str, keyring: Keyring, namespace: str) -> Client:
    return await Client.connect(address, namespace=namespace, data_converter=data_converter(keyring, namespace))


def worker(client: Client, tenant: str) -> Worker:
    return Worker(
        client,
        task_queue=names.task_queue(tenant),
        workflows=[ScriptedBuild, ScriptedUndo, ScriptedCampaign, ScriptedCampaignUndo],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(0),
    )


Json = dict[str, Any]
