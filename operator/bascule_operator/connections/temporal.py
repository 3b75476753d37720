"""Temporal: one connection per address, one client with its own data converter per namespace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from bascule_api.tenants import PLATFORM_ACCESS, TemporalAccess
from bascule_codec import Keyring, data_converter
from bascule_codec.credentials import Credentials
from bascule_operator import metrics
from bascule_operator.errors import (
    AlreadyStartedError,
    NamespaceMissingError,
    NotLeadingError,
    OperatorError,
    RunMissingError,
    TemporalCredentialsError,
    TemporalRefusedError,
    TemporalUnavailableError,
)
from bascule_telemetry import traces

IDENTITY = "bascule-operator"
CALL_TIMEOUT = timedelta(seconds=5)
_HEALTH = "get_system_info"
_IN_FLIGHT = 32
"""More starts in flight than this only add latency."""
_CREDENTIALS_SECONDS = 60.0
"""After that long credentials are read again: tokens and certificates are renewed meanwhile."""
_OUTER_SECONDS = 12.0
"""The client's own timeout is per attempt; this one bounds a call with all its attempts."""

_UNAVAILABLE = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    }
)


@dataclass(frozen=True, order=True)
class Place:
    """A Temporal namespace at an address, and what opens it; an empty address is the platform's."""

    namespace: str
    address: str = ""
    access: TemporalAccess = PLATFORM_ACCESS


@dataclass
class _Connection:
    """A connection, and the credentials that it was made with or was told since."""

    client: Client
    credentials: Credentials
    read_at: float


async def _no_credentials(_: TemporalAccess) -> Credentials:
    return Credentials()


class Temporal:
    """Clients by place. Connections are made when first used and heal by themselves."""

    def __init__(
        self,
        address: str,
        keyring: Keyring,
        credentials: Callable[[TemporalAccess], Awaitable[Credentials]] = _no_credentials,
    ) -> None:
        self._address = address
        self._keyring = keyring
        self._credentials = credentials
        self._connections: dict[tuple[str, TemporalAccess], _Connection] = {}
        self._clients: dict[Place, tuple[_Connection, Client]] = {}
        self._connecting = asyncio.Lock()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self.fence: Callable[[], None] = lambda: None
        """Called before each call but the one for health; raises NotLeadingError where nothing may be done."""

    async def client(self, place: Place) -> Client:
        """The client of a namespace. Needs no server yet. Raises TemporalCredentialsError."""
        connection = await self._connection(place.address or self._address, place.access)
        known = self._clients.get(place)
        if known is None or known[0] is not connection:
            client = Client(
                connection.client.service_client,
                namespace=place.namespace,
                data_converter=data_converter(self._keyring, place.namespace),
                interceptors=traces.interceptors(),
            )
            known = self._clients[place] = (connection, client)
        return known[1]

    async def _connection(self, address: str, access: TemporalAccess) -> _Connection:
        known = self._connections.get((address, access))
        if known is not None and time.monotonic() - known.read_at < _CREDENTIALS_SECONDS:
            return known
        async with self._connecting:
            known = self._connections.get((address, access))
            if known is not None and time.monotonic() - known.read_at < _CREDENTIALS_SECONDS:
                return known
            made = await self._renewed(address, access, known)
            self._connections[address, access] = made
            return made

    async def _renewed(self, address: str, access: TemporalAccess, known: _Connection | None) -> _Connection:
        """The connection with the credentials as they are now: the same one where only the token is another."""
        now = time.monotonic()
        try:
            credentials = await self._credentials(access)
        except TemporalUnavailableError:
            if known is None:
                raise
            known.read_at = now
            return known
        if known is not None and credentials.same_connection(known.credentials):
            if credentials.api_key != known.credentials.api_key:
                known.client.service_client.update_api_key(credentials.api_key)
            known.credentials, known.read_at = credentials, now
            return known
        try:
            client = await Client.connect(
                address,
                lazy=True,
                tls=credentials.tls,
                api_key=credentials.api_key or None,
                identity=IDENTITY,
                retry_config=RetryConfig(max_elapsed_time_millis=3000, max_retries=3),
            )
        except (RuntimeError, ValueError) as error:
            raise TemporalCredentialsError(_first_line(str(error))) from error
        return _Connection(client, credentials, now)

    @asynccontextmanager
    async def call(self, name: str) -> AsyncIterator[None]:
        """Bound a call in time and in number, count it, and raise our errors instead of the client's."""
        outcome = "ok"
        try:
            async with self._slots, asyncio.timeout(_OUTER_SECONDS):
                if name != _HEALTH:
                    self.fence()
                yield
        except NotLeadingError:
            outcome = "not_leading"
            raise
        except WorkflowAlreadyStartedError as error:
            outcome = "already_started"
            raise AlreadyStartedError(error.run_id or "") from error
        except RPCError as error:
            outcome = error.status.name.lower()
            raise _translated(error) from error
        except (TimeoutError, RuntimeError) as error:
            # A lazy connection that cannot be made raises RuntimeError.
            outcome = "unreachable"
            raise TemporalUnavailableError(_first_line(str(error)) or "no answer in time") from error
        finally:
            metrics.TEMPORAL_REQUESTS.labels(name, outcome).inc()

    async def service_info(self) -> str:
        """The server's version. Raises TemporalUnavailableError."""
        connection = await self._connection(self._address, PLATFORM_ACCESS)
        service = connection.client.workflow_service
        async with self.call(_HEALTH):
            info = await service.get_system_info(GetSystemInfoRequest(), timeout=CALL_TIMEOUT)
        return str(info.server_version)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _translated(error: RPCError) -> OperatorError:
    message = _first_line(error.message)
    if error.status == RPCStatusCode.NOT_FOUND:
        if _carries(error, NamespaceNotFoundFailure) or message.startswith("Namespace "):
            return NamespaceMissingError(message)
        return RunMissingError(message)
    if error.status in _UNAVAILABLE:
        return TemporalUnavailableError(f"{error.status.name}: {message}")
    return TemporalRefusedError(f"{error.status.name}: {message}")


def _carries(error: RPCError, detail: type[Message]) -> bool:
    return any(found.TypeName() == detail.DESCRIPTOR.full_name for found in error.grpc_status.details)


async def decoded(converter: DataConverter, fields: Mapping[str, Payload], name: str) -> Any:
    """The JSON value of one memo field; None when there is none. Raises ValueError when it cannot be read."""
    if name not in fields:
        return None
    (value,) = await converter.decode([fields[name]])
    return value
