"""One holder at a time, with a small record that the next holder finds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Held(Protocol):
    """A lease that is held, and renewed in the background."""

    def check(self) -> None:
        """Raise LeaseLostError unless the lease is surely still ours."""

    def record(self, run: str) -> Mapping[str, str]:
        """What was recorded for a run, or nothing."""

    async def keep(self, run: str, record: Mapping[str, str]) -> None:
        """Record something for a run, durably, before what it describes happens; an empty record forgets the run."""


class Leases(Protocol):
    def hold(self, name: str) -> AbstractAsyncContextManager[Held]:
        """Hold a lease within the block. Raises LeaseTakenError when another holds it for longer than a moment."""
