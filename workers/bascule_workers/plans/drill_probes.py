"""Pure planning of a drill's probes: the Jobs that ask, and how far a probe by a Procedure has come."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from bascule_api.base import Duration, Parameters
from bascule_api.dr_drill_specs import Probe
from bascule_api.parameters import Parameter
from bascule_api.procedures import Container, PinnedProcedure, ProcedureSpec, Resources, Retry, Template, Use
from bascule_workers.dr_drills import ProbeRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import ProcedureRequest
from bascule_workers.plans import drill_jobs, gates, measurements
from bascule_workers.plans.jobs import JobSettings, JobTraits

LOST_LIMIT = 20
"""How many Jobs of a probe may be lost."""


def asking_job(request: ProbeRequest, settings: JobSettings) -> tuple[ProcedureRequest, JobTraits]:
    """The Job that asks a Service until the probe passes, or its time is up."""
    asks = {"namespace": request.namespace, "probe": request.probe.to_wire()}
    # An image or a node may be slow to come: the probe's own time begins when it can ask.
    seconds = request.probe.timeout.seconds + measurements.START_SECONDS
    job = _job(request, _asker(settings), {"asks": json.dumps(asks, sort_keys=True)}, seconds)
    return job, JobTraits(words=("probe",), depends_on={"probe": request.probe.name})


def attempt_job(
    request: ProbeRequest, procedure: PinnedProcedure, cursor: Cursor
) -> tuple[ProcedureRequest, JobTraits]:
    """The Job of one attempt of a probe by a Procedure."""
    probe = request.probe
    if probe.procedure is None:
        raise StepFailedError(f"the probe {probe.name} is no Procedure's")
    seconds = min(procedure.spec.timeout.seconds, probe.timeout.seconds + measurements.START_SECONDS)
    job = _job(request, procedure, probe.procedure.parameters, seconds)
    secret = probe.procedure.environment_secret or ""
    return job, drill_jobs.probe_traits(request, probe.name, cursor.attempts + 1, secret, request.recovery_point)


def _job(request: ProbeRequest, procedure: PinnedProcedure, parameters: Parameters, seconds: int) -> ProcedureRequest:
    return ProcedureRequest(
        run=request.run,
        tenant=request.tenant,
        step=request.step,
        note=request.note,
        job_attempt=request.job_attempt,
        namespace=request.namespace,
        procedure=procedure,
        parameters=parameters,
        timeout_seconds=seconds,
        keep_seconds=drill_jobs.KEEP_SECONDS,
    )


def _asker(settings: JobSettings) -> PinnedProcedure:
    """The platform's own Procedure: `bascule_workers.in_step.probe` in the tools image."""
    container = Container(
        name=gates.CONTAINER,
        image=settings.tools_image,
        command=["python", "-m", "bascule_workers.in_step.probe"],
        resources=Resources(requests={"cpu": "10m", "memory": "64Mi"}, limits={"memory": "1Gi"}),
    )
    spec = ProcedureSpec(
        uses=[Use.DR_DRILL_PROBE],
        parameters=[Parameter(name="asks", required=True)],
        retry=Retry(attempts=LOST_LIMIT),
        timeout=Duration("1h"),
        template=Template(container=container),
    )
    # Not a hash of the above: Jobs of before an upgrade are still this run's.
    return PinnedProcedure(name="bascule-probe", generation=1, hash="bascule-probe-1", spec=spec)


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
