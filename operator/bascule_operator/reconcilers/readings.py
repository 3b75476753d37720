"""Tenants and Procedures as the API server has them now, for what must not rest on a watch that lags."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from bascule_operator import observe
from bascule_operator.errors import OperatorError
from bascule_operator.reconcilers.world import World
from bascule_operator.store import Key

SAME_READING_SECONDS = 1.0
"""How old a reading of a Tenant or Procedure may be for a start to rest on it, besides what the watches tell."""


@dataclass(frozen=True)
class _Reading:
    """A Tenant or a Procedure that is or was read."""

    task: asyncio.Task[None]
    begun: float


class Readings:
    """Reads into the store."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._readings: dict[Key, _Reading] = {}

    async def refresh(self, keys: Iterable[Key]) -> None:
        """Have the store say what holds now. Raises OperatorError."""
        await asyncio.gather(*(self._refresh(key) for key in keys))

    async def _refresh(self, key: Key) -> None:
        """Read it again, unless somebody else did so within the last second: of a burst, all want the same."""
        reading = self._readings.get(key)
        if reading is None or time.monotonic() - reading.begun >= SAME_READING_SECONDS:
            reading = self._readings[key] = _Reading(asyncio.create_task(self._reread(key)), time.monotonic())
        try:
            await asyncio.shield(reading.task)
        except OperatorError:
            self._readings.pop(key, None)
            raise

    async def _reread(self, key: Key) -> None:
        body = await observe.read(self._world.kube, key)
        if body is None:
            self._world.store.remove(key)
        else:
            self._world.store.put(key, body)
