"""Keeping the whole plan of a campaign, where its tenant has a place for it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from bascule_api import names
from bascule_workers.errors import WorkerError
from bascule_workers.messages import StepRequest
from bascule_workers.patch_campaigns import Plan
from bascule_workers.plans import failures
from bascule_workers.ports.logs import PLAN, Logs
from bascule_workers.ports.tenants import Tenants

LIMIT_SECONDS = 30.0


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class KeptPlan:
    """`repository@digest` of the plan; or why it could not be kept; or neither, where there is no place for it."""

    artifact: str = ""
    note: str = ""


class PlanKeeper:
    """Keeps plans. A plan that cannot be kept stops no campaign: the status has the first targets of each wave."""

    def __init__(self, tenants: Tenants, logs: Logs, today: Callable[[], date] = _today) -> None:
        self._tenants = tenants
        self._logs = logs
        self._today = today

    async def keep(self, request: StepRequest, plan: Plan) -> KeptPlan:
        """Keep the plan as JSON, for `bascule campaign plan` and whoever audits what was approved."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await self._kept(request, plan)
        except WorkerError as error:
            return KeptPlan(note=failures.shortened(f"the whole plan could not be kept: {error}"))
        except TimeoutError:
            return KeptPlan(note=f"the whole plan could not be kept within {LIMIT_SECONDS:.0f} s")

    async def _kept(self, request: StepRequest, plan: Plan) -> KeptPlan:
        repository = await self._tenants.artifacts(request.tenant.name)
        if repository is None:
            return KeptPlan()
        run = request.run
        annotations = {
            names.IMAGE_RUN_ANNOTATION: names.run_of(run.uid, run.number),
            "dev.bascule.resource": f"{run.kind}/{run.namespace}/{run.name}",
        }
        # Without a time stamp: the same plan is the same artifact.
        packed = await asyncio.to_thread(gzip.compress, json.dumps(plan.to_wire()).encode(), mtime=0)
        # The day comes first: by it old artifacts go.
        tag = f"{self._today():%Y%m%d}-{names.object_name(run.uid, run.number, 'plan')}"
        digest = await self._logs.keep(repository, tag, packed, annotations, PLAN)
        return KeptPlan(f"{repository.name}@{digest}")
