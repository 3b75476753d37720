"""Secrets, ConfigMaps and Tenants as the API server serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer
from bascule_workers.errors import StepFailedError

_PLURALS = {"Secret": "secrets", "ConfigMap": "configmaps"}


class KubernetesObjects:
    """The port `Objects`."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return await self._api.find(_path("Secret", namespace, name))

    async def config_map(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return await self._api.find(_path("ConfigMap", namespace, name))

    async def create(self, objects: Sequence[Mapping[str, Any]]) -> None:
        for item in objects:
            try:
                await self._api.create(_path(item["kind"], item["metadata"]["namespace"]), item)
            except ApiError as error:
                if error.status != 409:
                    what = f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}"
                    # The server's own words may quote the object: they stay out.
                    raise StepFailedError(f"the API server refuses the {what} ({error.status})") from None

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        await self._api.delete(_path(kind, namespace, name))


class KubernetesTenants:
    """The port `Tenants`."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def public_key(self, tenant: str) -> str | None:
        body = await self._api.find(f"/apis/{names.API_VERSION}/tenants/{tenant}")
        signing = (body or {}).get("spec", {}).get("signing") or {}
        return signing.get("publicKey") or None


def _path(kind: str, namespace: str, name: str = "") -> str:
    path = f"/api/v1/namespaces/{namespace}/{_PLURALS[kind]}"
    return f"{path}/{name}" if name else path
