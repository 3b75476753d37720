"""A real run of a kind that continues as new: the common part of every workflow, with the plainest of bodies.

It takes the place of the workflow `ImageBuild`. Each lap is a step in an execution of its own, with a counterweight,
and waits for an approval where the spec demands one.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.base import ApiModel
    from bascule_api.conditions import Phase
    from bascule_api.image_builds import ImageBuildInput, ImageBuildResult
    from bascule_api.progress import RunResult
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.messages import PrepareRequest, StopJobsRequest
    from bascule_workers.plans import image_builds as plans
    from bascule_workers.workflows.run import Run

LAPS = 3
FORGETFUL = "forgetful"
"""Name of a build whose run forgets to register its counterweights again."""
PAUSING = "pausing"
"""Name of a build whose run, suspended, pauses before it continues as new too."""


class LapState(ApiModel):
    """What goes on into the next execution."""

    done: int


@workflow.defn(name="ImageBuild")
class Laps(Run):
    """Three laps, each in an execution of its own."""

    kind = "ImageBuild"

    @workflow.init
    def __init__(self, build: ImageBuildInput) -> None:
        super().__init__(build, [step_of(lap) for lap in range(LAPS)])
        self.build = build
        self.done = 0

    @workflow.run
    async def run(self, build: ImageBuildInput) -> ImageBuildResult:
        """Returns what all runs have in common."""
        return ImageBuildResult.model_validate(await self.live())

    async def body(self) -> None:
        step = step_of(self.done)
        self._register(self.done)
        await self.step(step, RunActivities.prepare, PrepareRequest(**self._common(step), secrets=[]))
        await self.approved(step, step, self.build.spec.publish.approval)
        if self.build.run.name == PAUSING and self._desired.suspended:
            await self.parked(lambda: not self._desired.suspended)
        self.done += 1
        self.facts["source"] = {"revision": f"laps:{self.done}"}
        if self.done < LAPS:
            await self.continue_as_new(LapState(done=self.done))

    def resume(self, state: dict[str, Any]) -> None:
        self.done = LapState.model_validate(state).done
        if self.build.run.name != FORGETFUL:
            for lap in range(self.done):
                self._register(lap)

    def _register(self, lap: int) -> None:
        step = step_of(lap)
        self.saga.undo(step, RunActivities.stop_jobs, StopJobsRequest(**self._common(step)), step=step)

    def _common(self, step: str) -> dict[str, Any]:
        return plans.common(self.build, step)

    def before_settling(self, outcome: Phase) -> None:
        pass

    def undone(self, name: str) -> None:
        pass

    def result(self, common: dict[str, Any]) -> RunResult:
        return ImageBuildResult(**common)


def step_of(lap: int) -> str:
    return f"lap-{lap}"
