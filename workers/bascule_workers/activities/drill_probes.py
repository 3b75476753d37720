"""What has to hold of what was restored, asked by Jobs inside the drill's namespace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from temporalio import activity

from bascule_api.conditions import WaitKind
from bascule_api.dr_drill_specs import Probe
from bascule_api.failures import FailureType
from bascule_api.gates import Verdict
from bascule_api.procedures import PinnedProcedure, Use
from bascule_workers.activities.common import WAIT_SECONDS, JobRunner
from bascule_workers.activities.dr_drills import DrillProbes
from bascule_workers.activities.drill_restores import DrillPorts, demand_environment_secret
from bascule_workers.dr_drills import ProbeReport, ProbeRequest
from bascule_workers.errors import JobLostError, StepFailedError, StepTimedOutError
from bascule_workers.in_step import conditions
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans import asking_jobs, drill_jobs, drill_probes, gates
from bascule_workers.plans.drill_probes import Cursor
from bascule_workers.plans.outcomes import Running, Succeeded


def problems(probes: Sequence[Probe]) -> list[str]:
    """What is wrong with probes that no schema can tell, each a sentence that names the field."""
    return [
        f"spec.probes[{number}].http.successCondition {wrong}"
        for number, probe in enumerate(probes)
        if probe.http is not None
        and probe.http.success_condition is not None
        and (wrong := conditions.problem(probe.http.success_condition, conditions.HTTP_NAMES))
    ]


class DrillProbeActivities(DrillProbes):
    """Each may die before or after its effect and be repeated."""

    def __init__(
        self, ports: DrillPorts, wait_seconds: float = WAIT_SECONDS, now: Callable[[], float] = time.time
    ) -> None:
        self._ports = ports
        self._wait_seconds = wait_seconds
        self._now = now
        self._jobs = JobRunner.of(ports)

    @activity.defn(name="dr_drill.probe")
    async def probe(self, request: ProbeRequest) -> Done[ProbeReport] | NotYet:
        """Ask until it passes, or its time is up.

        A Service is asked by one Job until then; one that was lost is followed by another, which counts anew. A
        Procedure is a Job for each attempt. That a probe does not pass is an answer, no error. Raises JobLostError.
        """
        if request.probe.procedure is not None:
            return await self._by_procedure(request)
        job, traits = drill_probes.asking_job(request, self._ports.job_settings)
        look = self._wait_seconds if request.note else min(self._wait_seconds, gates.LOOK_SECONDS)
        try:
            outcome = await self._jobs.run(
                job, FailureType.STEP_FAILED, traits, limit_seconds=look, reads=gates.RESULTS
            )
        except StepTimedOutError as error:
            return Done(value=self._not_passed(f"could not be asked in time: {error}"), log=error.log)
        if isinstance(outcome, Running):
            return self._not_yet(request, outcome.note or await self._progress(request, outcome.pod))
        ended, log = outcome
        text = gates.shortened(ended.message)
        if ended.results.get("verdict") == Verdict.PASS:
            report = self._passed(ended, text)
        else:
            report = ProbeReport(passed=False, at=ended.finished or int(self._now()), message=text)
        return Done(value=report, log=log.digest, message=log.note)

    async def _progress(self, request: ProbeRequest, pod: str) -> str:
        if not pod:
            return ""
        line = await self._ports.steps.log_tail(request.namespace, pod, asking_jobs.CONTAINER, lines=1)
        return gates.progress(line)

    def _not_yet(self, request: ProbeRequest, reason: str, cursor: str = "", again_after: int = 0) -> NotYet:
        return NotYet(
            reason=reason or "asking",
            waits_for=WaitKind.CHECK,
            subject=request.probe.name,
            cursor=cursor,
            again_after=again_after,
        )

    def _passed(self, ended: Succeeded, text: str, data_as_of: int = 0) -> ProbeReport:
        # A Job that is gone by now has no time of its own any more.
        return ProbeReport(passed=True, at=ended.finished or int(self._now()), data_as_of=data_as_of, message=text)

    def _not_passed(self, text: str) -> ProbeReport:
        return ProbeReport(passed=False, at=int(self._now()), message=gates.shortened(text))

    # Procedures

    async def _by_procedure(self, request: ProbeRequest) -> Done[ProbeReport] | NotYet:
        probe, cursor = request.probe, Cursor.of(request.cursor)
        procedure = drill_jobs.checked(request, request.procedure, Use.DR_DRILL_PROBE)
        if probe.procedure is not None:
            await demand_environment_secret(self._ports.objects, request, probe.procedure.environment_secret or "")
        interval = probe.interval.seconds
        deadline = request.since + probe.timeout.seconds
        look_until = self._now() + self._wait_seconds
        while True:
            found, log = await self._attempt(request, procedure, cursor, max(1.0, look_until - self._now()))
            if isinstance(found, NotYet):
                return found
            cursor = cursor.plus(found.message, passed=found.passed)
            if cursor.in_a_row >= probe.success_threshold:
                return Done(value=found, log=log)
            if self._now() + interval > deadline:
                text = f"did not pass within {probe.timeout}, {cursor.attempts} attempts; {cursor.words(probe)}"
                return Done(value=self._not_passed(text), log=log)
            if self._now() + interval >= look_until:
                return self._not_yet(request, cursor.words(probe), cursor.to_text(), again_after=interval)
            await asyncio.sleep(interval)

    async def _attempt(
        self, request: ProbeRequest, procedure: PinnedProcedure, cursor: Cursor, seconds: float
    ) -> tuple[ProbeReport | NotYet, str]:
        """One attempt, with its log's digest; NotYet while its Job goes on. What is lost did not pass: the next attempt
        follows."""
        job, traits = drill_probes.attempt_job(request, procedure, cursor)
        try:
            outcome = await self._jobs.run(
                job, FailureType.STEP_FAILED, traits, limit_seconds=seconds, reads=("dataAsOf",)
            )
        except (StepFailedError, StepTimedOutError, JobLostError) as error:
            return self._not_passed(str(error)), error.log
        if isinstance(outcome, Running):
            words = outcome.note or cursor.words(request.probe)
            return self._not_yet(request, words, cursor.to_text()), ""
        ended, log = outcome
        as_of, problem = drill_jobs.moment(ended.results, "dataAsOf")
        return self._passed(ended, gates.shortened(problem or ended.message or "passed"), as_of), log.digest
