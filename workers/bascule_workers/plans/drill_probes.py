"""Pure planning of a drill's probes: the Jobs that ask, and how far a probe by a Procedure has come."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from bascule_api.base import Duration
from bascule_api.dr_drill_specs import Probe
from bascule_api.procedures import PinnedProcedure, Use
from bascule_workers.dr_drills import ProbeRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import ProcedureRequest
from bascule_workers.plans import asking_jobs, drill_jobs, gates, measurements
from bascule_workers.plans.jobs import JobSettings, JobTraits


def asking_job(request: ProbeRequest, settings: JobSettings) -> tuple[ProcedureRequest, JobTraits]:
    """The Job that asks a Service until the probe passes, or its time is up."""
    asks = {"namespace": request.namespace, "probe": request.probe.to_wire()}
    # An image or a node may be slow to come: the probe's own time begins when it can ask.
    seconds = request.probe.timeout.seconds + measurements.START_SECONDS
    asker = asking_jobs.asker("probe", Use.DR_DRILL_PROBE, settings, Duration("1h"))
    job = asking_jobs.asking_job(request, asker, asks, seconds, drill_jobs.KEEP_SECONDS, request.namespace)
    return job, JobTraits(words=("probe",), depends_on={"probe": request.probe.name})


def attempt_job(
    request: ProbeRequest, procedure: PinnedProcedure, cursor: Cursor
) -> tuple[ProcedureRequest, JobTraits]:
    """The Job of one attempt of a probe by a Procedure."""
    probe = request.probe
    if probe.procedure is None:
        raise StepFailedError(f"the probe {probe.name} is no Procedure's")
    seconds = min(procedure.spec.timeout.seconds, probe.timeout.seconds + measurements.START_SECONDS)
    job = ProcedureRequest(
        run=request.run,
        tenant=request.tenant,
        step=request.step,
        note=request.note,
        job_attempt=request.job_attempt,
        namespace=request.namespace,
        procedure=procedure,
        parameters=probe.procedure.parameters,
        timeout_seconds=seconds,
        keep_seconds=drill_jobs.KEEP_SECONDS,
    )
    secret = probe.procedure.environment_secret or ""
    return job, drill_jobs.probe_traits(request, probe.name, cursor.attempts + 1, secret, request.recovery_point)


@dataclass(frozen=True)
class Cursor:
    """How far a probe by a Procedure has come: what is kept from call to call."""

    attempts: int = 0
    in_a_row: int = 0
    """Passed, of the last ones."""
    last: str = ""

    def plus(self, text: str, *, passed: bool) -> Cursor:
        return replace(
            self, attempts=self.attempts + 1, in_a_row=self.in_a_row + 1 if passed else 0, last=gates.shortened(text)
        )

    def words(self, probe: Probe) -> str:
        """`1 of 3 passed in a row, last 42`."""
        if not self.attempts:
            return "asking"
        return f"{self.in_a_row} of {probe.success_threshold} passed in a row, last {self.last}"

    def to_text(self) -> str:
        return json.dumps({"attempts": self.attempts, "inARow": self.in_a_row, "last": self.last})

    @classmethod
    def of(cls, text: str) -> Cursor:
        if not text:
            return cls()
        values = json.loads(text)
        return cls(int(values["attempts"]), int(values["inARow"]), str(values["last"]))
