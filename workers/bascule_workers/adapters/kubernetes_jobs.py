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
from bascule_workers.adapters.pod_watch import JOB_NAME, NamespaceView, PodWatch, is_of
from bascule_workers.errors import ApiUnavailableError, StepFailedError
from bascule_workers.plans.outcomes import (
    NO_POD,
    Lost,
    Outcome,
    Running,
    is_ahead,
    is_over,
    outcome_of,
    refusal_of_pods,
    wants_pod,
)
from bascule_workers.plans.trace_context import traced
from bascule_workers.ports.steps import Stopped

_IDENTITY = (names.LABEL_RUN, names.LABEL_STEP, names.LABEL_SPEC_HASH)
NOTE_SETTLES_SECONDS = 5.0
"""How long something must be in the way before it is told: most of it passes."""
LOOK_AGAIN_SECONDS = 10.0
"""Some outcomes depend on time alone: an image that cannot be pulled for too long."""

EVENTS_AT_A_LOOK = 20

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
                return await _Wait(self._api, view, job["metadata"], uid, known_note).result(limit_seconds)

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
        known = int(listed["metadata"]["resourceVersion"])
        for name in doomed:
            await self._api.delete(f"{path}/{name}", propagation="Foreground")
        if not doomed:
            return Stopped(0, [])
        async with self._watch.view(namespace) as view, view.changes.of(run) as changed:
            # A view that is behind this list may not have shown yet what has to go.
            while remaining := (_remaining(view, run, doomed) if view.jobs_version > known else sorted(doomed)):
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

    def __init__(
        self, api: ApiServer, view: NamespaceView, metadata: Mapping[str, Any], uid: str, known_note: str
    ) -> None:
        self._api = api
        self._view = view
        self._namespace, self._name = str(metadata["namespace"]), str(metadata["name"])
        self._uid = uid
        self._known_note = known_note
        self._note_since: tuple[str, float] = ("", 0.0)
        self._seen = False
        self._refusal = known_note if known_note.startswith(NO_POD) else ""
        self._asked: float | None = None

    async def result(self, limit_seconds: float) -> Outcome:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_seconds
        async with self._view.changes.of(self._name) as changed:
            while True:
                changed.clear()
                outcome = await self._look(loop.time())
                if not isinstance(outcome, Running) or self._worth_telling(outcome.note, loop.time()):
                    return outcome
                if loop.time() >= deadline:
                    return outcome
                try:
                    async with asyncio.timeout(min(deadline - loop.time(), self._patience(outcome.note))):
                        await changed.wait()
                except TimeoutError:
                    pass

    async def _look(self, now: float) -> Outcome:
        job: JsonObject | None = self._view.job(self._name)
        if job is None or job["metadata"]["uid"] != self._uid:
            # The watch may not have shown it yet; once seen, its absence means that it was deleted.
            return Lost("the Job was deleted") if self._seen else Running()
        self._seen = True
        pods = self._view.pods(self._name, self._uid)
        if is_ahead(job, pods):
            # What it reported, or how it failed, is with its pod: asked for once, before that counts as nothing.
            pods = await self._fresh_pods()
        outcome = outcome_of(job, pods, datetime.now(UTC))
        if isinstance(outcome, Running) and not outcome.note and wants_pod(job, pods, datetime.now(UTC)):
            return Running(await self._why_no_pod(now))
        return outcome

    async def _fresh_pods(self) -> list[JsonObject]:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        try:
            listed = await self._api.get(path, labelSelector=f"{JOB_NAME}={self._name}")
        except ApiError as error:
            raise ApiUnavailableError(f"the API server does not list the pods: {error.message}") from error
        return [pod for pod in listed["items"] or [] if is_of(pod, self._name, self._uid)]

    async def _why_no_pod(self, now: float) -> str:
        """What the Job controller's events say: one small list now and then, and only until it is known."""
        if not self._refusal and (self._asked is None or now - self._asked >= LOOK_AGAIN_SECONDS):
            self._asked = now
            self._refusal = refusal_of_pods(await self._warnings())
        # A refusal in other words, such as a quota's with other figures, is no news.
        return self._refusal

    async def _warnings(self) -> list[JsonObject]:
        job = {"involvedObject.kind": "Job", "involvedObject.name": self._name, "involvedObject.uid": self._uid}
        selector = ",".join(f"{name}={value}" for name, value in (job | {"type": "Warning"}).items())
        path = f"/api/v1/namespaces/{self._namespace}/events"
        try:
            listed = await self._api.get(path, fieldSelector=selector, limit=EVENTS_AT_A_LOOK)
        except (ApiError, ApiUnavailableError) as error:
            # What is in the way is told if it can be; the Job itself is waited for all the same.
            extra = {"resource": f"Job/{self._namespace}/{self._name}", "error": str(error)}
            logger.info("no events of the Job", extra=extra)
            return []
        return list(listed["items"])

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
