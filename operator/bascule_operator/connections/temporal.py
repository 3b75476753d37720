"""Temporal: one connection per address, one client with its own data converter per namespace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
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

from bascule_codec import Keyring, data_converter
from bascule_operator import metrics
from bascule_operator.errors import (
    AlreadyStartedError,
    NamespaceMissingError,
    NotLeadingError,
    OperatorError,
    RunMissingError,
    TemporalRefusedError,
    TemporalUnavailableError,
)

IDENTITY = "bascule-operator"
CALL_TIMEOUT = timedelta(seconds=5)
_HEALTH = "get_system_info"
_IN_FLIGHT = 32
"""More starts in flight than this only add latency."""
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
    """A Temporal namespace at an address; an empty address is the platform's."""

    namespace: str
    address: str = ""


class Temporal:
    """Clients by place. Connections are made when first used and heal by themselves."""

    def __init__(self, address: str, keyring: Keyring) -> None:
        self._address = address
        self._keyring = keyring
        self._connections: dict[str, Client] = {}
        self._clients: dict[Place, Client] = {}
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self.fence: Callable[[], None] = lambda: None
        """Called before each call but the one for health; raises NotLeadingError where nothing may be done."""

    async def client(self, place: Place) -> Client:
        """The client of a namespace. Needs no server yet."""
        if place not in self._clients:
            connection = await self._connection(place.address or self._address)
            self._clients[place] = Client(
                connection.service_client,
                namespace=place.namespace,
                data_converter=data_converter(self._keyring, place.namespace),
            )
        return self._clients[place]

    async def _connection(self, address: str) -> Client:
        if address not in self._connections:
            self._connections[address] = await Client.connect(
                address,
                lazy=True,
                identity=IDENTITY,
                retry_config=RetryConfig(max_elapsed_time_millis=3000, max_retries=3),
            )
        return self._connections[address]

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
        connection = await self._connection(self._address)
        async with self.call(_HEALTH):
            info = await connection.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=CALL_TIMEOUT)
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
