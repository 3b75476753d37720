"""Keeping the whole log of a step, where its tenant has a place for it."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bascule_api import names
from bascule_workers.errors import WorkerError
from bascule_workers.messages import ProcedureRequest
from bascule_workers.plans import failures, jobs
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants

LIMIT_BYTES = 10 << 20
"""Of all containers' logs together; what comes after is not kept."""
LIMIT_SECONDS = 60.0
SWEEP_SECONDS = 20.0
SWEEP_MOST = 200
"""Of a tenant's old logs that go in a day, for each worker: the registry has other things to do."""
_ANNOTATIONS = "dev.bascule."

Secrets = Callable[[], Awaitable[Sequence[str]]]
"""Values that must not be in a log."""

logger = logging.getLogger(__name__)


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Kept:
    """The log's digest; or why it could not be kept; or neither, where the tenant has no place for it."""

    digest: str = ""
    note: str = ""

    @property
    def nowhere(self) -> bool:
        return not self.digest and not self.note


class LogKeeper:
    """Keeps logs. A log that cannot be kept never changes how a step ends."""

    def __init__(self, steps: Steps, tenants: Tenants, logs: Logs, today: Callable[[], date] = _today) -> None:
        self._steps = steps
        self._tenants = tenants
        self._logs = logs
        self._today = today
        self._swept: dict[str, date] = {}

    async def keep(self, request: ProcedureRequest, job: str, pod: str, secrets: Secrets) -> Kept:
        """Keep what the containers of a Job's pod said, without the values of the run's Secret, which are asked for
        only where there is a log."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                kept = await self._kept(request, job, pod, secrets)
        except WorkerError as error:
            return Kept(note=failures.shortened(f"the whole log could not be kept: {error}"))
        except TimeoutError:
            return Kept(note=f"the whole log could not be kept within {LIMIT_SECONDS:.0f} s")
        if kept.digest:
            await self._sweep(request.tenant.name)
        return kept

    async def _sweep(self, tenant: str) -> None:
        """Delete the tenant's old logs, once a day; who cannot today, can tomorrow."""
        today = self._today()
        if self._swept.get(tenant) == today:
            return
        self._swept[tenant] = today
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                repository = await self._tenants.artifacts(tenant)
                if repository is not None:
                    age = timedelta(seconds=await self._tenants.keeps_artifacts_for(tenant))
                    await self._logs.expire(repository, today - age, SWEEP_MOST)
        except (WorkerError, TimeoutError) as error:
            logger.warning("old logs of %s were not deleted: %s", tenant, error)

    async def _kept(self, request: ProcedureRequest, job: str, pod: str, secrets: Secrets) -> Kept:
        repository = await self._tenants.artifacts(request.tenant.name)
        if repository is None or not pod:
            return Kept()
        text, whole = await self._text(request, pod)
        if not text:
            return Kept(note="the whole log could not be kept: it is gone")
        packed = await asyncio.to_thread(_packed, text, await secrets())
        annotations = {
            names.IMAGE_RUN_ANNOTATION: names.run_of(request.run.uid, request.run.number),
            f"{_ANNOTATIONS}resource": f"{request.run.kind}/{request.run.namespace}/{request.run.name}",
            f"{_ANNOTATIONS}step": request.step,
            f"{_ANNOTATIONS}job": job,
            f"{_ANNOTATIONS}complete": str(whole).lower(),
        }
        tag = f"{self._today():%Y%m%d}-{job}"
        return Kept(await self._logs.keep(repository, tag, packed, annotations))

    async def _text(self, request: ProcedureRequest, pod: str) -> tuple[str, bool]:
        """The logs of all containers one after the other, and whether that is all of them."""
        template = request.procedure.spec.template
        containers = [
            jobs.PREPARE,
            *(container.name for container in template.init_containers),
            template.container.name,
        ]
        parts: list[str] = []
        left = LIMIT_BYTES
        for container in containers:
            log = await self._steps.log(request.job_namespace, pod, container, limit_bytes=left + 1)
            size = len(log.encode())
            if size > left:
                log = log.encode()[:left].decode(errors="ignore")
            if log:
                parts.append(f"==> {container} <==\n{log}" + ("" if log.endswith("\n") else "\n"))
            if size > left:
                return "".join(parts), False
            left -= size
        return "".join(parts), True


def _packed(text: str, secrets: Sequence[str]) -> bytes:
    # Without a time stamp: the same log is the same artifact.
    return gzip.compress(failures.redacted(text, secrets).encode(), mtime=0)
