"""The namespaces of drills, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Standing:
    """How an applied object stands, by kstatus."""

    name: str
    """`Deployment/web`."""
    ready: bool
    failed: bool = False
    """Whether it says itself that it will not become ready."""
    message: str = ""
    at: int = 0
    """When it became ready, by its own conditions, in epoch seconds."""


@dataclass(frozen=True)
class Ending:
    """How a namespace's deletion stands."""

    gone: bool
    held_by: tuple[str, ...] = ()
    """What holds it, as the namespace's own conditions tell: `Some resources are remaining: pods. has 1 …`."""
    deleted: int = 0
    """When its deletion was asked for, in epoch seconds."""


class DrillSpaces(Protocol):
    """Namespaces of drills. Every call may be repeated with the same effect.

    Raises ApiUnavailableError when the API server does not answer.
    """

    async def ensure(self, namespace: str, objects: Sequence[Mapping[str, Any]], run: str) -> str:
        """Make sure of the namespace (the first object) and of what the platform puts into it.

        Returns what it still waits for, or nothing. Raises DrillNamespaceTakenError for one without the run's label.
        """

    async def apply(self, namespace: str, objects: Sequence[Mapping[str, Any]]) -> None:
        """Server-side apply. Raises EnvironmentFailedError naming the object that is refused, and why."""

    async def standing(self, namespace: str, objects: Sequence[Mapping[str, Any]]) -> list[Standing]:
        """How the applied objects stand."""

    async def until_changed(self, namespace: str, limit_seconds: float) -> None:
        """Wait by a watch until something in the namespace changed, or the time is up."""

    async def count(self, namespace: str, run: str) -> dict[str, int]:
        """How much there is of each kind that a drill can leave: in the namespace, and what was bound to it
        (PersistentVolumes)."""

    async def of_run(self, run: str) -> list[str]:
        """Namespaces that carry the run's label; one LIST."""

    async def delete(self, namespace: str, run: str) -> Ending:
        """Ask for the namespace's deletion (with its uid as precondition), and tell how it stands. One without the
        run's label counts as gone: it is not the run's."""
