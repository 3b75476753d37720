"""Connections to Temporal: one per server and credentials, however many tenants share it."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import ServiceClient

from bascule_api.tenants import PLATFORM_ACCESS, TemporalAccess, TemporalSpec
from bascule_codec.credentials import Credentials, ReadSecret, read_access, read_folder
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.errors import ApiUnavailableError, SecretMissingError, SecretNotUsableError

REFRESH_SECONDS = 60.0
"""How often credentials are read again: tokens and certificates are renewed while a worker runs."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlatformTemporal:
    """The Temporal of tenants that name no other, and what it demands."""

    address: str
    credentials_dir: Path | None = None
    server_name: str = ""
    tls: bool = False


@dataclass
class _Connection:
    service: ServiceClient
    credentials: Credentials


class TemporalConnections:
    """Makes connections, and keeps their tokens fresh."""

    def __init__(
        self, platform: PlatformTemporal, secrets: ReadSecret, *, identity: str = "", runtime: Runtime | None = None
    ) -> None:
        self._platform = platform
        self._secrets = secrets
        self._identity = identity
        self._runtime = runtime
        self._connections: dict[tuple[str, TemporalAccess], _Connection] = {}
        # One for each: a server that lets a tenant wait must not let the others wait with it.
        self._connecting: defaultdict[tuple[str, TemporalAccess], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def connect(self, temporal: TemporalSpec) -> ServiceClient:
        """The connection for a tenant. Raises CredentialsError, WorkerError, and RuntimeError when none can be made."""
        key = self._key(temporal)
        async with self._connecting[key]:
            if key not in self._connections:
                credentials = await self._credentials(temporal.access)
                client = await Client.connect(
                    key[0],
                    tls=credentials.tls,
                    api_key=credentials.api_key or None,
                    identity=self._identity,
                    runtime=self._runtime,
                )
                self._connections[key] = _Connection(client.service_client, credentials)
            return self._connections[key].service

    def forget(self, temporal: TemporalSpec) -> None:
        """Have the next `connect` make another connection."""
        self._connections.pop(self._key(temporal), None)

    async def until_outdated(self, temporal: TemporalSpec) -> None:
        """Keep the connection's token fresh. Returns when another connection is needed."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            made = self._connections.get(self._key(temporal))
            if made is None or not await self._refreshed(made, temporal.access):
                self.forget(temporal)
                return

    async def _refreshed(self, made: _Connection, access: TemporalAccess) -> bool:
        """Whether the connection still serves."""
        try:
            credentials = await self._credentials(access)
        except Exception as error:  # noqa: BLE001 - whatever it is, what we have may serve for long yet
            logger.warning("credentials for Temporal cannot be read again: %s", error)
            return True
        if not credentials.same_connection(made.credentials):
            return False
        if credentials.api_key != made.credentials.api_key:
            made.service.update_api_key(credentials.api_key)
        made.credentials = credentials
        return True

    async def _credentials(self, access: TemporalAccess) -> Credentials:
        if access != PLATFORM_ACCESS:
            return await read_access(access, self._secrets)
        platform = self._platform
        return read_folder(platform.credentials_dir, server_name=platform.server_name, encrypted=platform.tls)

    def _key(self, temporal: TemporalSpec) -> tuple[str, TemporalAccess]:
        return temporal.address or self._platform.address, temporal.access


async def no_secrets(name: str, named_by: str) -> Mapping[str, bytes]:
    """For who serves only tenants without credentials of their own."""
    raise SecretMissingError(f"the Secret {name} of the Tenant's {named_by} cannot be read here")


class OwnSecrets:
    """Secrets of our own namespace that Tenants name, as the API server serves them."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def __call__(self, name: str, named_by: str) -> Mapping[str, bytes]:
        """Raises SecretNotUsableError, SecretMissingError."""
        where = f"the Secret {self._namespace}/{name} of the Tenant's {named_by}"
        try:
            secret = await self._api.find(f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        except ApiUnavailableError as error:
            remedy = "is it listed in the chart's value temporal.tenantSecrets?"
            raise SecretNotUsableError(f"{where} cannot be read: {remedy} ({error})") from None
        if secret is None:
            raise SecretMissingError(f"{where} does not exist")
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
