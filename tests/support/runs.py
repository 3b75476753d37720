"""Runs of ImageBuilds against a test server: built fluently, and read back from their histories."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.conditions import Phase
from bascule_api.image_builds import ImageBuildInput, ImageBuildResult
from bascule_api.procedures import PinnedProcedure, Procedure
from bascule_api.progress import ApprovalMessage, Desired, Progress, WaitingProgress
from bascule_api.tenants import Tenant

REPOSITORY = "registry.example.com/acme/web"
CANDIDATES = f"{REPOSITORY}-candidates"
TENANT = Tenant.parse({"metadata": {"name": "acme"}, "spec": {"namespaces": ["acme-dev"]}})


def approval_of(build: ImageBuildInput, waiting: WaitingProgress) -> ApprovalMessage:
    """The approval that the first run of a build waits for."""
    return ApprovalMessage(
        uid=build.run.uid,
        run=1,
        gate=waiting.gate,
        subject=waiting.subject,
        decision=Decision.APPROVE,
        approver="somebody",
    )


def procedure(name: str, use: str, **spec: Any) -> PinnedProcedure:
    body = {
        "metadata": {"name": name, "generation": 1},
        "spec": {"uses": [use], "template": {"container": {"image": "tools"}}} | spec,
    }
    return PinnedProcedure.of(Procedure.parse(body))


BUILDAH = procedure("buildah", "ImageBuild/build", securityProfile="Build")
RUN_IMAGE = procedure("run-image", "ImageBuild/test", template={"container": {"imageFrom": "Candidate"}})


def image_build(uid: str = "", tests: tuple[str, ...] = ("smoke",), **changes: Any) -> ImageBuildInput:
    """The input of a run; `changes` are top-level fields of input or spec."""
    spec: dict[str, Any] = {
        "source": {"configMap": {"name": "src"}},
        "tests": [{"name": name} for name in tests],
        "sign": {"keySecretRef": {"name": "signing-key"}},
        "publish": {"repository": REPOSITORY, "tags": ["v1"]},
    }
    given: dict[str, Any] = {
        "run": {
            "kind": "ImageBuild",
            "namespace": "acme-dev",
            "name": "web",
            "uid": uid or str(uuid4()),
            "number": 1,
            "revision": "1-0000000000",
            "tenant": "acme",
        },
        "tenant": {"name": "acme", "steps_namespace": "bascule-steps-acme", "service_account": "bascule-step"},
        "timeout_seconds": 7200,
        "procedures": {"buildah": BUILDAH.to_wire(), "run-image": RUN_IMAGE.to_wire()},
    }
    for name, value in changes.items():
        if name in ImageBuildInput.model_fields:
            given[name] = value
        else:
            spec[name] = {**spec[name], **value} if isinstance(spec.get(name), dict) else value
    return ImageBuildInput.model_validate(given | {"spec": spec})


@dataclass(frozen=True)
class Story:
    """How a run went."""

    result: ImageBuildResult
    progress: list[Progress]
    closed: str
    """COMPLETED, FAILED or CANCELED."""
    failure_type: str
    upserts_per_task: list[int]

    @property
    def steps(self) -> dict[str, str]:
        return {step.name: str(step.state) for step in self.result.steps}

    @property
    def phases(self) -> list[Phase]:
        """The phases in order, without repetitions."""
        seen = [progress.phase for progress in self.progress]
        return [phase for index, phase in enumerate(seen) if index == 0 or seen[index - 1] != phase]

    @property
    def messages(self) -> list[str]:
        return [progress.message for progress in self.progress]


@dataclass(frozen=True)
class Told:
    """What a workflow's history says: every memo that it upserted, and how it closed."""

    memos: list[Mapping[str, Any]]
    closed: str
    upserts_per_task: list[int]


class Runs:
    """Starts runs and waits for them."""

    def __init__(self, env: WorkflowEnvironment) -> None:
        self.env = env

    async def start(self, build: ImageBuildInput) -> WorkflowHandle[Any, ImageBuildResult]:
        return await self.env.client.start_workflow(
            "ImageBuild",
            build,
            id=names.workflow_id("ImageBuild", build.run.uid, build.run.number),
            task_queue=names.task_queue("acme"),
            result_type=ImageBuildResult,
        )

    async def carried_out(self, build: ImageBuildInput) -> Story:
        return await self.story(await self.start(build))

    async def story(self, handle: WorkflowHandle[Any, ImageBuildResult]) -> Story:
        failure_type = ""
        try:
            async with asyncio.timeout(60):
                await handle.result()
        except WorkflowFailureError as error:
            failure_type = getattr(error.cause, "type", "") or ""
        return await self._read(handle, failure_type)

    async def _read(self, handle: WorkflowHandle[Any, Any], failure_type: str) -> Story:
        told = await self.told(handle)
        memos = told.memos
        progress = [Progress.model_validate(memo[names.MEMO_PROGRESS]) for memo in memos if names.MEMO_PROGRESS in memo]
        results = [memo[names.MEMO_RESULT] for memo in memos if names.MEMO_RESULT in memo]
        assert len(results) == 1, "the result is told once"
        result = ImageBuildResult.model_validate(results[0])
        return Story(result, progress, told.closed, failure_type, told.upserts_per_task)

    async def told(self, handle: WorkflowHandle[Any, Any]) -> Told:
        """What a workflow's history says."""
        memos: list[Mapping[str, Any]] = []
        upserts: list[int] = []
        closed = ""
        async for event in handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                upserts.append(0)
            if event.HasField("workflow_properties_modified_event_attributes"):
                fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
                memo = {}
                for name, payload in fields.items():
                    [memo[name]] = await self.env.client.data_converter.decode([payload])
                memos.append(memo)
                upserts[-1] += names.MEMO_PROGRESS in memo
            closed = EventType.Name(event.event_type).rpartition("_")[2]
        return Told(memos, closed, upserts)

    async def until(self, handle: WorkflowHandle[Any, Any], phase: Phase) -> Progress:
        """Wait until the run has told a phase. Server time passes meanwhile."""
        async with asyncio.timeout(30):
            while True:
                told: Progress | None = None
                async for event in handle.fetch_history_events():
                    fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
                    if payload := fields.get(names.MEMO_PROGRESS):
                        [told] = await self.env.client.data_converter.decode([payload], [Progress])
                if told is not None and told.phase == phase:
                    return told
                await asyncio.sleep(0.05)

    async def desire(self, handle: WorkflowHandle[Any, Any], sequence: int, *, suspended: bool) -> None:
        await handle.signal(names.SIGNAL_DESIRED, Desired(sequence=sequence, suspended=suspended))
