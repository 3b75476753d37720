"""Where credentials for Temporal are: mounted for the platform's own, in Secrets of our namespace for a Tenant's."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from bascule_api.tenants import PLATFORM_ACCESS, TemporalAccess
from bascule_codec.credentials import Credentials, CredentialsError, read_access, read_folder
from bascule_operator.connections.kube import Kube
from bascule_operator.errors import (
    ApiRefusedError,
    GoneError,
    OperatorError,
    TemporalCredentialsError,
    TemporalUnavailableError,
)


@dataclass(frozen=True)
class PlatformAccess:
    """How the platform's own Temporal is reached."""

    folder: Path | None = None
    server_name: str = ""
    tls: bool = False


class CredentialsSource:
    """Reads credentials anew each time: tokens and certificates are renewed while we run."""

    def __init__(self, kube: Kube, namespace: str, platform: PlatformAccess) -> None:
        self._kube = kube
        self._namespace = namespace
        self._platform = platform

    async def __call__(self, access: TemporalAccess) -> Credentials:
        """Raises TemporalCredentialsError, TemporalUnavailableError."""
        try:
            if access == PLATFORM_ACCESS:
                platform = self._platform
                return read_folder(platform.folder, server_name=platform.server_name, encrypted=platform.tls)
            return await read_access(access, self._secret)
        except CredentialsError as error:
            raise TemporalCredentialsError(str(error)) from error

    async def _secret(self, name: str, named_by: str) -> dict[str, bytes]:
        where = f"the Secret {self._namespace}/{name} of {named_by}"
        path = f"/api/v1/namespaces/{self._namespace}/secrets/{name}"
        try:
            body = await self._kube.request("GET", path, resource="secrets")
        except GoneError:
            raise TemporalCredentialsError(f"{where} does not exist") from None
        except ApiRefusedError:
            remedy = "list it in the chart's value temporal.tenantSecrets"
            raise TemporalCredentialsError(f"{where} cannot be read: {remedy}") from None
        except OperatorError as error:
            raise TemporalUnavailableError(f"{where} cannot be read now: {error}") from error
        return {key: base64.b64decode(value) for key, value in (body.get("data") or {}).items()}
