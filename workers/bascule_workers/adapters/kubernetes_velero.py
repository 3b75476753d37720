"""Velero by its custom resources, in the namespace that the platform says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bascule_api import names
from bascule_api.failures import FailureType
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.adapters.reflector import PAGE
from bascule_workers.errors import ApiUnavailableError, StepFailedError
from bascule_workers.plans.velero import (
    API_VERSION,
    LABEL_SCHEDULE,
    Backup,
    RestoreStanding,
    backup_of,
    newest,
    schedule_label,
    standing_of,
)

_WATCH_SECONDS = 60


class KubernetesVelero:
    """The port `Velero`."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        """`namespace`: Velero's; empty where the platform has none."""
        self._api = api
        self._namespace = namespace

    async def backup(self, name: str) -> Backup | None:
        body = await self._api.find(self._path("backups", name))
        return backup_of(body) if body else None

    async def newest_backup(self, schedule: str) -> Backup | None:
        found: Backup | None = None
        page: dict[str, str] = {}
        while True:
            try:
                answer = await self._list("backups", f"{LABEL_SCHEDULE}={schedule_label(schedule)}", page)
            except ApiError as error:
                if error.status == 404:
                    return None
                raise ApiUnavailableError(f"the API server does not list the Backups: {error}") from error
            backups = [backup_of(item) for item in answer["items"] or []]
            found = newest([*backups, found] if found else backups)
            if not (following := answer["metadata"].get("continue")):
                return found
            page = {"continue": following}

    async def ensure(self, restore: Mapping[str, Any]) -> RestoreStanding:
        name, run = restore["metadata"]["name"], restore["metadata"]["labels"][names.LABEL_RUN]
        try:
            return standing_of(await self._api.create(self._path("restores"), restore))
        except ApiError as error:
            if error.status == 404:
                raise _failed(f"there is no Velero in the namespace {self._namespace}") from error
            if error.status != 409:
                raise _failed(f"the API server refuses the Restore: {error.message}") from error
        body = await self._api.find(self._path("restores", name))
        if body is None:
            raise ApiUnavailableError("the Restore went away while it was looked at")
        standing = standing_of(body)
        if standing.run != run:
            raise _failed(f"the Restore {self._namespace}/{name} is not this run's")
        return standing

    async def standing(self, name: str, wait_seconds: float = 0) -> RestoreStanding | None:
        body = await self._api.find(self._path("restores", name))
        if body is None or standing_of(body).over or not wait_seconds:
            return standing_of(body) if body else None
        try:
            async with asyncio.timeout(wait_seconds):
                while body is not None and not standing_of(body).over:
                    body = await self._changed(name, body)
        except TimeoutError:
            pass
        return standing_of(body) if body else None

    async def delete(self, run: str) -> list[str]:
        if not self._namespace:
            return []
        try:
            answer = await self._list("restores", f"{names.LABEL_RUN}={run}", {})
        except ApiError as error:
            if error.status == 404:
                return []
            raise ApiUnavailableError(f"the API server does not list the Restores: {error}") from error
        left = []
        for item in answer["items"] or []:
            metadata = item["metadata"]
            if not metadata.get("deletionTimestamp"):
                await self._delete(str(metadata["name"]), str(metadata["uid"]))
            left.append(f"Restore {self._namespace}/{metadata['name']}")
        return left

    async def _changed(self, name: str, body: JsonObject) -> JsonObject | None:
        """The Restore after its next change; as it was when the watch ended before; None when it was deleted."""
        parameters = {
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": body["metadata"]["resourceVersion"],
            "timeoutSeconds": _WATCH_SECONDS,
        }
        try:
            async for kind, item in self._api.watch(self._path("restores"), **parameters):
                return None if kind == "DELETED" else item
        except ApiError as error:
            if error.status != 410:
                raise ApiUnavailableError(f"the API server does not watch the Restore: {error}") from error
            # Too long ago for a watch: read it anew.
            return await self._api.find(self._path("restores", name))
        return body

    async def _delete(self, name: str, uid: str) -> None:
        try:
            await self._api.delete(self._path("restores", name), uid=uid)
        except ApiError as error:
            if error.status != 409:
                raise ApiUnavailableError(f"the API server refuses to delete the Restore: {error.message}") from error

    async def _list(self, plural: str, labels: str, page: Mapping[str, str]) -> JsonObject:
        return await self._api.get(self._path(plural), labelSelector=labels, limit=PAGE, **page)

    def _path(self, plural: str, name: str = "") -> str:
        if not self._namespace:
            raise _failed("this platform has no Velero: the chart's value drills.veleroNamespace is empty")
        path = f"/apis/{API_VERSION}/namespaces/{self._namespace}/{plural}"
        return f"{path}/{quote(name, safe='')}" if name else path


def _failed(message: str) -> StepFailedError:
    return StepFailedError(message, FailureType.RESTORE_FAILED)
