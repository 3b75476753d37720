"""Secrets, ConfigMaps and Tenants as the API server serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bascule_api import names
from bascule_api.base import Duration
from bascule_workers.adapters.api_server import ApiError, ApiServer
from bascule_workers.errors import ApiUnavailableError, SecretMissingError, SecretNotUsableError, StepFailedError
from bascule_workers.messages import SecretUse
from bascule_workers.plans import credentials
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.secrets import Labelled

_KINDS: tuple[Literal["Secret", "ConfigMap"], ...] = ("Secret", "ConfigMap")
_PLURALS = {"Secret": "secrets", "ConfigMap": "configmaps"}


class KubernetesObjects:
    """The port `Objects`."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return await self._api.find(_path("Secret", namespace, name))

    async def config_map(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return await self._api.find(_path("ConfigMap", namespace, name))

    async def labelled(self, namespace: str, label: str, value: str) -> list[Labelled]:
        return [
            Labelled(kind, found["name"], found.get("labels") or {}, found.get("annotations") or {})
            for kind in _KINDS
            for found in await self._api.metadata(_path(kind, namespace), labelSelector=f"{label}={value}")
        ]

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
    """The port `Tenants`. Secrets that a Tenant names lie in our own namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def public_key(self, tenant: str) -> str | None:
        return (await self._part(tenant, "signing")).get("publicKey") or None

    async def keeps_artifacts_for(self, tenant: str) -> int:
        return Duration((await self._part(tenant, "artifacts")).get("keepFor") or "90d").seconds

    async def build_cache(self, tenant: str) -> str | None:
        cache = await self._part(tenant, "buildCache")
        # The name is part of it whatever the Tenant says: two tenants never share layers.
        return f"{cache['repository']}/{tenant}" if cache.get("repository") else None

    async def artifacts(self, tenant: str) -> Repository | None:
        artifacts = await self._part(tenant, "artifacts")
        if not (name := artifacts.get("repository")):
            return None
        if not (secret := (artifacts.get("secretRef") or {}).get("name")):
            return Repository(name)
        return Repository(name, await self._login(secret, name.partition("/")[0]))

    async def _part(self, tenant: str, part: str) -> Mapping[str, Any]:
        body = await self._api.find(f"/apis/{names.API_VERSION}/tenants/{tenant}")
        return (body or {}).get("spec", {}).get(part) or {}

    async def _login(self, name: str, host: str) -> credentials.Login | None:
        where = f"the Secret {self._namespace}/{name} of the Tenant's spec.artifacts.secretRef"
        try:
            secret = await self._api.find(_path("Secret", self._namespace, name))
        except ApiUnavailableError as error:
            remedy = "is it listed in the chart's value worker.artifactSecrets?"
            raise SecretNotUsableError(f"{where} cannot be read: {remedy} ({error})") from None
        if secret is None:
            raise SecretMissingError(f"{where} does not exist")
        use = SecretUse(field="spec.artifacts.secretRef", name=name, use="registry", hosts=[host])
        values = credentials.checked(use, self._namespace, secret)
        return credentials.login_for(values[credentials.REGISTRY_KEY], host)


def _path(kind: str, namespace: str, name: str = "") -> str:
    path = f"/api/v1/namespaces/{namespace}/{_PLURALS[kind]}"
    return f"{path}/{name}" if name else path
