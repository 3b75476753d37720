"""One list and watch per kind and namespace, shared by everybody in the process who waits for one of the objects."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.errors import ApiUnavailableError

LINGER_SECONDS = 60.0
"""How long a namespace is watched after the last one has stopped waiting."""
JOB_NAME = "batch.kubernetes.io/job-name"

logger = logging.getLogger(__name__)


class Reflector:
    """Keeps what a path lists, current by a watch. Calls `changed` with each object that is new, changed or gone."""

    def __init__(self, api: ApiServer, path: str, selector: str, changed: Callable[[JsonObject], None]) -> None:
        self._api = api
        self._path = path
        self._selector = {"labelSelector": selector} if selector else {}
        self._changed = changed
        self.items: dict[str, JsonObject] = {}
        self.synced = asyncio.Event()
        """Set once the first list is there."""

    async def run(self) -> None:
        """List and watch for ever."""
        failures = 0
        while True:
            try:
                version = await self._list()
                failures = 0
                await self._follow(version)
            except (ApiUnavailableError, ApiError) as error:
                if not (isinstance(error, ApiError) and error.status == 410):
                    failures += 1
                    logger.warning(
                        "a watch was lost, and is begun anew", extra={"resource": self._path, "error": str(error)}
                    )
                    await asyncio.sleep(min(10.0, 0.5 * 2.0 ** min(failures, 6)))

    async def _list(self) -> str:
        answer = await self._api.get(self._path, **self._selector)
        found = {_key(item): item for item in answer["items"]}
        before, self.items = self.items, found
        for key, item in (before | found).items():
            if found.get(key) != before.get(key):
                self._changed(item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Watch until the version is too old; a watch that merely ends is taken up where it was."""
        while True:
            events = self._api.watch(
                self._path,
                resourceVersion=version,
                allowWatchBookmarks="true",
                timeoutSeconds=60,
                **self._selector,
            )
            async for kind, item in events:
                version = str(item["metadata"]["resourceVersion"])
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self.items.pop(_key(item), None)
                else:
                    self.items[_key(item)] = item
                self._changed(item)


class NamespaceView:
    """The Jobs of runs and their pods in one steps namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"
        self._jobs = Reflector(api, jobs, names.LABEL_RUN, self._job_changed)
        self._pods = Reflector(api, pods, names.LABEL_RUN, self._pod_changed)
        self._tasks: list[asyncio.Task[None]] = []
        self.users = 0

    def start(self) -> None:
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
        return [
            pod
            for pod in self._pods.items.values()
            if _labels(pod).get(JOB_NAME) == job
            and any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])
        ]

    def jobs_of(self, run: str) -> list[JsonObject]:
        return [job for job in self._jobs.items.values() if _labels(job).get(names.LABEL_RUN) == run]

    def pods_of(self, run: str) -> list[JsonObject]:
        return [pod for pod in self._pods.items.values() if _labels(pod).get(names.LABEL_RUN) == run]

    @asynccontextmanager
    async def changes(self, key: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something of the key, a Job's name or a run's label, changes."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def _job_changed(self, job: JsonObject) -> None:
        self._wake(job["metadata"]["name"])
        self._wake(_labels(job).get(names.LABEL_RUN, ""))

    def _pod_changed(self, pod: JsonObject) -> None:
        self._wake(_labels(pod).get(JOB_NAME, ""))
        self._wake(_labels(pod).get(names.LABEL_RUN, ""))

    def _wake(self, key: str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()


class PodWatch:
    """The views of all namespaces; each is watched while somebody waits there, and a little longer."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._views: dict[str, NamespaceView] = {}

    @asynccontextmanager
    async def view(self, namespace: str) -> AsyncIterator[NamespaceView]:
        """The current view of a namespace."""
        view = self._views.get(namespace)
        if view is None:
            view = self._views[namespace] = NamespaceView(self._api, namespace)
            view.start()
        view.users += 1
        try:
            await view.synced()
            yield view
        finally:
            view.users -= 1
            if view.users == 0:
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self._drop, namespace, view)

    async def close(self) -> None:
        """Stop watching, and wait until the connections are given back."""
        tasks = [task for view in self._views.values() for task in view.stop()]
        self._views.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, namespace: str, view: NamespaceView) -> None:
        if view.users == 0 and self._views.get(namespace) is view:
            del self._views[namespace]
            view.stop()


def _key(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["name"])


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}
