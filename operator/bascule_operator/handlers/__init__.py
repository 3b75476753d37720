"""kopf: the watches, and nothing else. Each event says that an object may have changed; the queue does the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

import kopf

from bascule_operator.handlers.watches import registry, watch_settings

__all__ = ["registry", "serve", "watch_settings"]


class _AllTasks(Collection[Any]):
    """Every task there is: kopf takes those made after its start for its own, and would cancel them at its end."""

    def __contains__(self, task: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(asyncio.all_tasks())

    def __len__(self) -> int:
        return len(asyncio.all_tasks())


async def serve(watched: kopf.OperatorRegistry, settings: kopf.OperatorSettings, stop: asyncio.Event) -> None:
    """Watch until `stop` is set. Raises when a watch cannot be kept."""
    tasks = await kopf.spawn_tasks(
        registry=watched, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
    )
    await kopf.run_tasks(tasks, ignored=_AllTasks())
