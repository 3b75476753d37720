"""Jobs of the platform's own that ask something until they have an answer, such as a gate's measurements. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bascule_api.base import Duration
from bascule_api.parameters import Parameter
from bascule_api.procedures import (
    Container,
    PinnedProcedure,
    ProcedureSpec,
    Resources,
    ResultDeclaration,
    Retry,
    Template,
    Use,
)
from bascule_workers.messages import ProcedureRequest, StepRequest
from bascule_workers.plans.jobs import JobSettings

CONTAINER = "step"
"""Whose log tells how it stands."""
RESULTS = ("verdict",)
"""What such a Job reports, besides a message."""
LOST_LIMIT = 20
"""How many Jobs of one question may be lost: campaigns drain nodes, theirs among them."""


def asking_job(
    request: StepRequest,
    asker: PinnedProcedure,
    asks: Mapping[str, Any],
    seconds: int,
    keep_seconds: int,
    namespace: str = "",
) -> ProcedureRequest:
    """The Job of `asker` that asks `asks` for `seconds` at most; by default in the tenant's steps namespace."""
    return ProcedureRequest(
        run=request.run,
        tenant=request.tenant,
        step=request.step,
        compensating=request.compensating,
        note=request.note,
        job_attempt=request.job_attempt,
        namespace=namespace,
        procedure=asker,
        parameters={"asks": json.dumps(asks, sort_keys=True)},
        timeout_seconds=seconds,
        keep_seconds=keep_seconds,
    )


def asker(program: str, use: Use, settings: JobSettings, timeout: Duration) -> PinnedProcedure:
    """The platform's own Procedure: `bascule_workers.in_step.<program>` in the tools image."""
    container = Container(
        name=CONTAINER,
        image=settings.tools_image,
        command=["python", "-m", f"bascule_workers.in_step.{program}"],
        resources=Resources(requests={"cpu": "10m", "memory": "64Mi"}, limits={"memory": "1Gi"}),
    )
    spec = ProcedureSpec(
        uses=[use],
        parameters=[Parameter(name="asks", required=True)],
        results=[ResultDeclaration(name=name) for name in RESULTS],
        retry=Retry(attempts=LOST_LIMIT),
        timeout=timeout,
        template=Template(container=container),
    )
    # Not a hash of the above: Jobs of before an upgrade are still this run's.
    return PinnedProcedure(name=f"bascule-{program}", generation=1, hash=f"bascule-{program}-1", spec=spec)
