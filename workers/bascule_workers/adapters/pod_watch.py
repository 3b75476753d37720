"""One list and watch per kind and namespace, shared by everybody in the process who waits for one of the objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bascule_api import names
from bascule_workers.adapters.api_server import ApiServer, JsonObject
from bascule_workers.adapters.changes import Changes
from bascule_workers.adapters.reflector import Reflector, whole
from bascule_workers.adapters.shared_views import SharedViews

LINGER_SECONDS = 60.0
"""How long a namespace is watched after the last one has stopped waiting."""
JOB_NAME = "batch.kubernetes.io/job-name"


class NamespaceView:
    """The Jobs of runs and their pods in one steps namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.changes = Changes()
        """By a Job's name, and by a run's label."""
        jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"
        self._jobs = Reflector(api, jobs, self._job_changed, read=whole, labels=names.LABEL_RUN)
        self._pods = Reflector(api, pods, self._pod_changed, read=whole, labels=names.LABEL_RUN)
        self._tasks = [asyncio.create_task(reflector.run()) for reflector in (self._jobs, self._pods)]

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop watching. Returns the tasks that are ending."""
        for task in self._tasks:
            task.cancel()
        return self._tasks

    async def synced(self) -> None:
        await asyncio.gather(self._jobs.synced.wait(), self._pods.synced.wait())

    def job(self, name: str) -> JsonObject | None:
        return self._jobs.items.get(name)

    def pods(self, job: str, uid: str) -> list[JsonObject]:
        """The pods of one Job, and not of an earlier one of the same name."""
        return [pod for pod in self._pods.items.values() if is_of(pod, job, uid)]

    @property
    def jobs_version(self) -> int:
        """Everything about Jobs up to this version is known here."""
        return self._jobs.version

    def jobs_of(self, run: str) -> list[JsonObject]:
        return [job for job in self._jobs.items.values() if _labels(job).get(names.LABEL_RUN) == run]

    def pods_of(self, run: str) -> list[JsonObject]:
        return [pod for pod in self._pods.items.values() if _labels(pod).get(names.LABEL_RUN) == run]

    def _job_changed(self, job: JsonObject) -> None:
        self.changes.wake(job["metadata"]["name"])
        self.changes.wake(_labels(job).get(names.LABEL_RUN, ""))

    def _pod_changed(self, pod: JsonObject) -> None:
        self.changes.wake(_labels(pod).get(JOB_NAME, ""))
        self.changes.wake(_labels(pod).get(names.LABEL_RUN, ""))


class PodWatch:
    """The views of all namespaces."""

    def __init__(self, api: ApiServer) -> None:
        self._views = SharedViews(lambda namespace: NamespaceView(api, namespace), LINGER_SECONDS)

    @asynccontextmanager
    async def view(self, namespace: str) -> AsyncIterator[NamespaceView]:
        """The current view of a namespace, once everything there is listed."""
        async with self._views.view(namespace) as view:
            await view.synced()
            yield view

    async def close(self) -> None:
        """Stop watching, and wait until the connections are given back."""
        await self._views.close()


def is_of(pod: Mapping[str, Any], job: str, uid: str) -> bool:
    """Whether it is a pod of this Job, and not of an earlier one of the same name."""
    owners = pod["metadata"].get("ownerReferences") or []
    return _labels(pod).get(JOB_NAME) == job and any(owner.get("uid") == uid for owner in owners)


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}
