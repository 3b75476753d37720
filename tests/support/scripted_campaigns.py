"""A real workflow `PatchCampaign` without effects: it plays what the patch's parameter `behaviour` says.

Like the scripted build it keeps the contract of the real one: progress, facts, result, cancellation, approvals.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.conditions import CompensationState, Phase, StepState, WaitKind
from bascule_api.failures import Failure, FailureType
from bascule_api.patch_campaigns import PatchCampaignInput, PatchCampaignResult, PatchCampaignUndoInput
from bascule_api.progress import (
    ApprovalMessage,
    CompensationProgress,
    Desired,
    Progress,
    StepProgress,
    UndoResult,
    WaitingProgress,
)
from bascule_api.runs import CompensationStatus, StepStatus

_PHASE = SearchAttributeKey.for_keyword(names.SEARCH_PHASE)
_UPDATED_AT = SearchAttributeKey.for_datetime(names.SEARCH_UPDATED_AT)
TARGETS = 4
"""Of every scripted campaign."""


def plan_of(message: PatchCampaignInput) -> str:
    return "sha256:" + hashlib.sha256(f"{message.run.uid}/{message.run.number}".encode()).hexdigest()


@workflow.defn(name="PatchCampaign")
class ScriptedCampaign:
    """`behaviour`: succeed, fail (its second wave), hang (in its second wave), mute (no progress, no result). A wave
    with an approval waits for it. Of its four targets one is the canary's."""

    def __init__(self) -> None:
        self.number = 0
        self.suspended = False
        self.sequence = -1
        self.patched = 0
        self.failed = 0
        self.skipped = 0
        self.plan = ""
        self.states: dict[str, str] = {}
        self.steps: list[StepProgress] = []
        self.waiting: WaitingProgress | None = None
        self.decided: ApprovalMessage | None = None

    @workflow.signal(name=names.SIGNAL_DESIRED)
    def desired(self, message: Desired) -> None:
        if message.sequence > self.sequence:
            self.sequence, self.suspended = message.sequence, message.suspended

    @workflow.update(name=names.UPDATE_APPROVAL)
    def approval(self, message: ApprovalMessage) -> None:
        self.decided = message

    @approval.validator
    def fits(self, message: ApprovalMessage) -> None:
        if self.waiting is None or (message.gate, message.subject) != (self.waiting.gate, self.waiting.subject):
            raise ApplicationError("that is not what the run waits for", type="Stale")

    @workflow.run
    async def run(self, message: PatchCampaignInput) -> PatchCampaignResult:
        behaviour = str(message.spec.patch.parameters.get("behaviour", "succeed"))
        if behaviour == "mute":
            await asyncio.sleep(3600)
        waves = [wave.name for wave in message.spec.waves]
        self.plan = plan_of(message)
        self.skipped = len(message.continues)
        self.states = dict.fromkeys(waves, "Pending")
        self.steps = [StepProgress(name=name) for name in ("plan", *(f"wave-{name}" for name in waves))]
        try:
            for index in range(len(self.steps)):
                await self.step(message, index, behaviour)
        except asyncio.CancelledError:
            await self.close(Phase.CANCELLED, None)
            raise
        except ApplicationError as error:
            kind = FailureType(error.type or "TooManyFailures")
            return await self.close(Phase.FAILED, Failure(step=self.doing, type=kind, message=error.message))
        return await self.close(Phase.SUCCEEDED, None)

    async def step(self, message: PatchCampaignInput, index: int, behaviour: str) -> None:
        while self.suspended:
            self.tell(Phase.SUSPENDED)
            await workflow.wait_condition(lambda: not self.suspended)
        self.doing = self.steps[index].name
        self.mark(index, StepState.RUNNING)
        if index:
            await self.wave(message, index - 1, behaviour)
        self.mark(index, StepState.SUCCEEDED)

    async def wave(self, message: PatchCampaignInput, index: int, behaviour: str) -> None:
        wave = message.spec.waves[index]
        if wave.approval.required:
            await self.approved(wave.name)
        self.states[wave.name] = "Running"
        self.tell(Phase.RUNNING)
        if index and behaviour == "hang":
            await asyncio.sleep(3600)
        if index and behaviour == "fail":
            self.failed, self.states[wave.name] = 1, "Failed"
            raise ApplicationError("1 target failed, and 0 may", type="TooManyFailures")
        self.patched += 1 if index == 0 else TARGETS - 1 - self.skipped
        self.states[wave.name] = "Succeeded"

    async def approved(self, gate: str) -> None:
        since = int(workflow.now().timestamp())
        self.waiting = WaitingProgress(gate=gate, kind=WaitKind.APPROVAL, subject=self.plan, since=since)
        self.states[gate] = "Waiting"
        self.tell(Phase.WAITING)
        await workflow.wait_condition(lambda: self.decided is not None)
        told, self.decided, self.waiting = self.decided, None, None
        if told is not None and told.decision is Decision.REJECT:
            raise ApplicationError(told.reason, type="ApprovalRejected")

    def mark(self, index: int, state: StepState) -> None:
        self.steps[index] = self.steps[index].model_copy(
            update={"state": state, "attempts": 1, "started": int(workflow.now().timestamp())}
        )
        self.tell(Phase.RUNNING)

    def facts(self) -> dict[str, Any]:
        failures = [{"name": "node-3", "phase": "Patching", "message": "exit code 3"}] if self.failed else []
        counts = {"total": TARGETS, "patched": self.patched, "failed": self.failed, "skipped": self.skipped}
        shown = {"summary": f"{self.patched}/{TARGETS}", "failures": failures}
        return {
            "plan": {"digest": self.plan},
            "targets": counts | shown,
            "waves": [{"name": name, "state": state, "total": 2} for name, state in self.states.items()],
        }

    def tell(self, phase: Phase, compensation: CompensationProgress | None = None) -> None:
        self.number += 1
        done = sum(1 for step in self.steps if step.state is StepState.SUCCEEDED)
        progress = Progress(
            number=self.number, phase=phase, steps=self.steps, completed=done, total=len(self.steps),
            waiting=self.waiting, compensation=compensation, version="0.1.0+test", facts=self.facts(),
        )  # fmt: skip
        workflow.upsert_memo({names.MEMO_PROGRESS: progress.to_wire()})
        workflow.upsert_search_attributes([_PHASE.value_set(phase), _UPDATED_AT.value_set(workflow.now())])

    async def close(self, phase: Phase, failure: Failure | None) -> PatchCampaignResult:
        self.waiting = None
        result = PatchCampaignResult.model_validate(
            {
                "phase": phase, "progressNumber": self.number + 1, "failure": failure,
                "compensation": CompensationStatus(state=CompensationState.NOTHING_TO_DO), "version": "0.1.0+test",
                "steps": [StepStatus(name=step.name, state=step.state, attempts=step.attempts) for step in self.steps],
            } | self.facts()
        )  # fmt: skip
        workflow.upsert_memo({names.MEMO_RESULT: result.to_wire()})
        self.tell(phase)
        return result


@workflow.defn(name="PatchCampaignUndo")
class ScriptedCampaignUndo:
    """Takes back what was never there."""

    @workflow.run
    async def run(self, message: PatchCampaignUndoInput) -> UndoResult:
        told = CompensationStatus(state=CompensationState.SUCCEEDED, completed=1, total=1)
        result = UndoResult(progress_number=1, compensation=told, version="0.1.0+test")
        workflow.upsert_memo({names.MEMO_RESULT: result.to_wire()})
        return result
