"""Rendering a drill's report, and keeping it where its tenant has a place for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime

from temporalio import activity

from bascule_api import names
from bascule_workers.dr_drills import Reported, ReportRequest
from bascule_workers.errors import WorkerError
from bascule_workers.messages import Done
from bascule_workers.plans import drill_reports, failures
from bascule_workers.ports.logs import DRILL_REPORT, Logs
from bascule_workers.ports.tenants import Tenants

LIMIT_SECONDS = 30.0
NOWHERE = "the Tenant has no spec.artifacts where a report could be kept"


def _today() -> date:
    return datetime.now(UTC).date()


class DrillReportActivities:
    """A report that cannot be kept changes no verdict: the figures are in the status, and the step says why."""

    def __init__(self, tenants: Tenants, logs: Logs, today: Callable[[], date] = _today) -> None:
        self._tenants = tenants
        self._logs = logs
        self._today = today

    @activity.defn(name="dr_drill.report")
    async def report(self, request: ReportRequest) -> Done[Reported]:
        """Render the report and keep it as an OCI artifact. Raises RegistryUnavailableError, to be tried again."""
        repository = await self._tenants.artifacts(request.tenant.name)
        if repository is None:
            return _without(NOWHERE)
        run = request.run
        page = await asyncio.to_thread(drill_reports.page, request)
        annotations = {
            names.IMAGE_RUN_ANNOTATION: names.run_of(run.uid, run.number),
            "dev.bascule.resource": f"{run.kind}/{run.namespace}/{run.name}",
            "org.opencontainers.image.title": f"{run.name}-{run.number}.html",
        }
        # By the day at its beginning other artifacts go; reports are evidence, and stay until the registry's owner
        # says otherwise.
        tag = f"{self._today():%Y%m%d}-{names.object_name(run.uid, run.number, 'report')}"
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                digest = await self._logs.keep(repository, tag, page.encode(), annotations, DRILL_REPORT)
        except WorkerError as error:
            if error.retryable:
                raise
            return _without(f"the report could not be kept: {error}")
        return Done(value=Reported(digest=digest, repository=repository.name))


def _without(note: str) -> Done[Reported]:
    note = failures.shortened(note)
    return Done(value=Reported(note=note), message=note)
