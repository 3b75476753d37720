"""The API server, as few calls as the operator needs, on the connection of `kubernetes.aio`."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from pydantic_core import from_json

from bascule_operator import metrics
from bascule_operator.errors import (
    ApiRefusedError,
    ApiUnavailableError,
    ConflictError,
    GoneError,
    OperatorError,
)

FIELD_MANAGER = "bascule-operator"
_TIMEOUT = 30.0
_IN_FLIGHT = 16
"""More patches in flight than this make the API server slower, not faster."""

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

Json = dict[str, Any]


@dataclass(frozen=True)
class Credentials:
    """How the connection authenticates, for who has to make another one."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None = field(repr=False)
    certificate_path: str | None
    private_key_path: str | None


class Kube:
    """Raw requests with our errors. Close it after use."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self.fence: Callable[[], None] = lambda: None
        """Called before each request that changes something; raises NotLeadingError where nothing may be changed."""

    @classmethod
    async def connect(cls, kubeconfig: str = "") -> Kube:
        """A connection with the given kubeconfig, else KUBECONFIG, else the pod's service account."""
        configuration = client.Configuration()
        path = kubeconfig or os.environ.get("KUBECONFIG", "")
        if path:
            await config.load_kube_config(config_file=path, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = _IN_FLIGHT
        # Where the environment is trusted, every request looks for a .netrc first, in a thread; it is for proxies only.
        configuration.client_session_kwargs = {"trust_env": bool(urllib.request.getproxies_environment())}
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self._api.close()

    async def credentials(self) -> Credentials:
        """The credentials as they are now: tokens of service accounts are renewed while the pod runs."""
        configuration = self._api.configuration
        bearer = await configuration.get_api_key_with_prefix("BearerToken") or ""
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            token=bearer.partition(" ")[2] or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        body: Any = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """The object that the API server answers with. `resource` is its name in the metrics.

        Raises GoneError, ConflictError, ApiRefusedError, ApiUnavailableError, NotLeadingError.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        verb = "watch" if query and "watch" in query else method.lower()
        try:
            async with self._slots, asyncio.timeout(_TIMEOUT):
                request = await self._api.param_serialize(
                    method, path, header_params=headers, query_params=list((query or {}).items()), body=body,
                    auth_settings=["BearerToken"],
                )  # fmt: skip
                if method != "GET":
                    self.fence()
                response = await self._api.call_api(
                    *request[:4], _request_timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
                )
                status, text = int(response.status), await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.API_REQUESTS.labels(verb, resource, "unreachable").inc()
            raise ApiUnavailableError(f"the API server does not answer: {error or type(error).__name__}") from error
        metrics.API_REQUESTS.labels(verb, resource, str(status)).inc()
        if status >= 300:
            raise _error(status, text)
        answer: Json = from_json(text)
        return answer


def _error(status: int, text: bytes) -> OperatorError:
    try:
        message = str(json.loads(text).get("message", ""))
    except (ValueError, AttributeError):
        message = text[:200].decode(errors="replace")
    match status:
        case 404 | 410:
            return GoneError(message)
        case 409:
            return ConflictError(message)
        case 408 | 429 | 500 | 502 | 503 | 504 | 401:
            # 401: a rotated token that was not read yet.
            return ApiUnavailableError(f"{status}: {message}")
        case 422 if "the server rejected our request due to an error in our request" in message:
            return ConflictError(message)
        case _:
            return ApiRefusedError(f"{status}: {message}")
