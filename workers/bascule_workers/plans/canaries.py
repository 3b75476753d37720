"""The Jobs that prove a drill's isolation, and what they prove together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bascule_api import names
from bascule_api.base import Duration
from bascule_api.parameters import Parameter, ParameterType
from bascule_api.procedures import Container, PinnedProcedure, ProcedureSpec, Resources, Retry, Template, Use
from bascule_workers.dr_drills import IsolationReport, IsolationRequest
from bascule_workers.messages import ProcedureRequest
from bascule_workers.plans import asking_jobs
from bascule_workers.plans.failures import shortened
from bascule_workers.plans.jobs import JobSettings, JobTraits

SECONDS = 600
"""How long a canary's Job may take: nearly all of it is waiting for a node and an image."""
KEEP_SECONDS = 3600
LOST_LIMIT = 5


@dataclass(frozen=True)
class Seen:
    """What one canary reported."""

    reached: bool
    text: str
    at: int = 0
    """When its Job was complete, in epoch seconds."""


def seen(results: Mapping[str, str], message: str, at: int) -> Seen | None:
    """What a canary's Job said; None where it said nothing, as when its pod is gone."""
    reached = results.get("reached")
    return Seen(reached == "true", message, at) if reached in ("true", "false") else None


def verdict(may: Seen, must_not: Seen) -> IsolationReport:
    """Whether isolation is enforced: the one got through, and the other did not."""
    if must_not.reached:
        text = f"a pod that may reach nothing outside of the drill's namespace reached the API server: {must_not.text}"
    elif not may.reached:
        text = f"nothing is proven: the pod that may reach out did not either; {may.text}"
    else:
        text = f"the API server is out of reach, and within it for the restore: {must_not.text}"
    return IsolationReport(
        enforced=may.reached and not must_not.reached, message=shortened(text), at=max(may.at, must_not.at)
    )


def job(request: IsolationRequest, settings: JobSettings, *, may: bool) -> tuple[ProcedureRequest, JobTraits]:
    """The canary that may get out, or the one that must not."""
    asked = ProcedureRequest(
        run=request.run,
        tenant=request.tenant,
        step=request.step,
        note=request.note,
        job_attempt=request.job_attempt,
        namespace=request.namespace,
        procedure=_canary(settings),
        parameters={"may": may},
        timeout_seconds=SECONDS,
        keep_seconds=KEEP_SECONDS,
    )
    word = "may" if may else "must-not"
    labels = {names.LABEL_EGRESS: names.EGRESS_RESTORE} if may else {}
    return asked, JobTraits(words=("canary", word), depends_on={"canary": word}, labels=labels)


def _canary(settings: JobSettings) -> PinnedProcedure:
    """The platform's own Procedure: `bascule_workers.in_step.canary` in the tools image."""
    container = Container(
        name=asking_jobs.CONTAINER,
        image=settings.tools_image,
        command=["python", "-m", "bascule_workers.in_step.canary"],
        resources=Resources(requests={"cpu": "10m", "memory": "64Mi"}, limits={"memory": "256Mi"}),
    )
    spec = ProcedureSpec(
        uses=[Use.DR_DRILL_PROBE],
        parameters=[Parameter(name="may", type=ParameterType.BOOLEAN, required=True)],
        retry=Retry(attempts=LOST_LIMIT),
        timeout=Duration(f"{SECONDS}s"),
        template=Template(container=container),
    )
    # Not a hash of the above: Jobs of before an upgrade are still this run's.
    return PinnedProcedure(name="bascule-canary", generation=1, hash="bascule-canary-1", spec=spec)
