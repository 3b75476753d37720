"""kopf: the watches, and nothing else. Each event says that an object may have changed; the queue does the rest."""

from __future__ import annotations

import asyncio
import socket

import kopf
from kopf._core.engines.peering import Identity  # the type of a public argument, which kopf does not export

from bascule_operator.handlers.watches import registry, watch_settings

__all__ = ["registry", "serve", "watch_settings"]


async def serve(watched: kopf.OperatorRegistry, settings: kopf.OperatorSettings, stop: asyncio.Event) -> None:
    """Watch until `stop` is set. Raises when a watch cannot be kept."""
    await kopf.operator(
        registry=watched,
        settings=settings,
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
        # kopf would ask for the name of the user, which a container's number does not have.
        identity=Identity(socket.gethostname()),
    )
