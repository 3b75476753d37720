"""Steps as Kubernetes Jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_telemetry import traces
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.adapters.pod_watch import NamespaceView, PodWatch
from bascule_workers.errors import ApiUnavailableError, StepFailedError
from bascule_workers.plans.outcomes import Lost, Outcome, Running, is_over, outcome_of
from bascule_workers.plans.trace_context import traced
from bascule_workers.ports.steps import Stopped

_IDENTITY = (names.LABEL_RUN, names.LABEL_STEP, names.LABEL_SPEC_HASH)
NOTE_SETTLES_SECONDS = 5.0
"""How long something must be in the way before it is told: most of it passes."""
LOOK_AGAIN_SECONDS = 10.0
"""Some outcomes depend on time alone: an image that cannot be pulled for too long."""

logger = logging.getLogger(__name__)


class KubernetesJobs:
    """The port `Steps`."""

    def __init__(self, api: ApiServer, watch: PodWatch) -> None:
        self._api = api
        self._watch = watch

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        with traces.span("Job", lambda: {"k8s.namespace.name": namespace, "k8s.job.name": name}):
            uid = await self._ensure(namespace, traced(job, traces.traceparent()))
            async with self._watch.view(namespace) as view:
                return await _Wait(view, name, uid, known_note).result(limit_seconds)

    async def _ensure(self, namespace: str, job: Mapping[str, Any]) -> str:
        """Create the Job, or adopt the one that is there if it is this very step. Returns its uid."""
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        try:
            return str((await self._api.create(path, job))["metadata"]["uid"])
        except ApiError as error:
            if error.status != 409:
                raise StepFailedError(f"the API server refuses the Job: {error.message}") from error
        existing = await self._api.find(f"{path}/{job['metadata']['name']}")
        if existing is None:
            raise ApiUnavailableError("the Job went away while it was looked at")
        if _identity(existing) != _identity(job):
            raise StepFailedError(
                f"there is another Job {namespace}/{job['metadata']['name']}, which is not this step's"
            )
        return str(existing["metadata"]["uid"])

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
        return await self._log(namespace, pod, container, tailLines=lines, limitBytes=262_144)

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        return await self._log(namespace, pod, container, limitBytes=limit_bytes)

    async def _log(self, namespace: str, pod: str, container: str, **parameters: int) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            return await self._api.text(path, container=container, **parameters)
        except (ApiError, ApiUnavailableError) as error:
            extra = {"resource": f"Pod/{namespace}/{pod}", "error": str(error)}
            logger.info("no log of the container %s", container, extra=extra)
            return ""

    async def stop(
        self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float, target: str = ""
    ) -> Stopped:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_seconds
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        # A fresh list, not the watch: a Job that was made a moment ago must not be missed.
        selector = f"{names.LABEL_RUN}={run}" + (f",{names.LABEL_TARGET}={target}" if target else "")
        listed = await self._api.get(path, labelSelector=selector)
        doomed = {job["metadata"]["name"] for job in listed["items"] if finished_too or not is_over(job)}
        for name in doomed:
            await self._api.delete(f"{path}/{name}", propagation="Foreground")
        if not doomed:
            return Stopped(0, [])
        async with self._watch.view(namespace) as view, view.changes(run) as changed:
            while remaining := _remaining(view, run, doomed):
                changed.clear()
                try:
                    async with asyncio.timeout(min(deadline - loop.time(), LOOK_AGAIN_SECONDS)):
                        await changed.wait()
                except TimeoutError:
                    if loop.time() >= deadline:
                        return Stopped(len(doomed), remaining)
            return Stopped(len(doomed), [])


class _Wait:
    """Waiting for one Job."""

    def __init__(self, view: NamespaceView, name: str, uid: str, known_note: str) -> None:
        self._view = view
        self._name = name
        self._uid = uid
        self._known_note = known_note
        self._note_since: tuple[str, float] = ("", 0.0)
        self._seen = False

    async def result(self, limit_seconds: float) -> Outcome:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_seconds
        async with self._view.changes(self._name) as changed:
            while True:
                changed.clear()
                outcome = self._look()
                if not isinstance(outcome, Running) or self._worth_telling(outcome.note, loop.time()):
                    return outcome
                if loop.time() >= deadline:
                    return outcome
                try:
                    async with asyncio.timeout(min(deadline - loop.time(), self._patience(outcome.note))):
                        await changed.wait()
                except TimeoutError:
                    pass

    def _look(self) -> Outcome:
        job: JsonObject | None = self._view.job(self._name)
        if job is None or job["metadata"]["uid"] != self._uid:
            # The watch may not have shown it yet; once seen, its absence means that it was deleted.
            return Lost("the Job was deleted") if self._seen else Running()
        self._seen = True
        return outcome_of(job, self._view.pods(self._name, self._uid), datetime.now(UTC))

    def _worth_telling(self, note: str, now: float) -> bool:
        """Whether something new has been in the way for a while."""
        if note != self._note_since[0]:
            self._note_since = (note, now)
        return bool(note) and note != self._known_note and now - self._note_since[1] >= NOTE_SETTLES_SECONDS

    def _patience(self, note: str) -> float:
        return NOTE_SETTLES_SECONDS if note and note != self._known_note else LOOK_AGAIN_SECONDS


def _identity(job: Mapping[str, Any]) -> tuple[str | None, ...]:
    labels = job["metadata"].get("labels") or {}
    return tuple(labels.get(name) for name in _IDENTITY)


def _remaining(view: NamespaceView, run: str, doomed: set[str]) -> list[str]:
    """The doomed Jobs, and pods of the run that still do something."""
    jobs = [job["metadata"]["name"] for job in view.jobs_of(run) if job["metadata"]["name"] in doomed]
    owned = doomed.__contains__
    pods = [
        pod["metadata"]["name"]
        for pod in view.pods_of(run)
        if owned((pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", ""))
    ]
    return sorted({*jobs, *pods})
