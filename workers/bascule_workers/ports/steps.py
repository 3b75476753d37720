"""Where steps run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bascule_workers.plans.outcomes import Outcome


@dataclass(frozen=True)
class Stopped:
    """What became of stopping a run's Jobs."""

    found: int
    """How many there were to delete."""
    remaining: list[str]
    """Jobs and pods that are still there."""


class Steps(Protocol):
    """Runs containers somewhere else. Every call may be repeated with the same effect."""

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        """Make sure that the Job exists and wait for it.

        Ends with `Running` after `limit_seconds`, or soon after something came into its way that `known_note` does not
        say. A Job of that name with other labels is someone else's: StepFailedError. Raises ApiUnavailableError.
        """

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int = 40) -> str:
        """The last lines of a container's log, or nothing where there is none."""

    async def log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """A container's log from its beginning, or nothing where there is none."""

    async def stop(
        self, namespace: str, run: str, *, finished_too: bool, limit_seconds: float, target: str = ""
    ) -> Stopped:
        """Delete the Jobs of a run (by its label) that are not over, and wait until their pods are gone or the time is
        up. With a target (by its label): that one's only.
        """
