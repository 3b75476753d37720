"""kopf: the watches, and nothing else. Each event says that an object may have changed; the queue does the rest."""

from __future__ import annotations

import asyncio

import kopf

from bascule_operator.handlers.watches import registry, watch_settings

__all__ = ["registry", "serve", "watch_settings"]


async def serve(watched: kopf.OperatorRegistry, settings: kopf.OperatorSettings, stop: asyncio.Event) -> None:
    """Watch until `stop` is set. Raises when a watch cannot be kept."""
    await kopf.operator(registry=watched, settings=settings, clusterwide=True, standalone=True, stop_flag=stop)
