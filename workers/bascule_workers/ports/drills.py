"""The namespaces of drills, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bascule_workers.plans.kstatus import Standing

Objects = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Ensured:
    """How the making of a drill's namespace stands."""

    waits_for: str = ""
    """What is still missing; empty: all is there."""
    at: int = 0
    """When the last of it was made, in epoch seconds."""


@dataclass(frozen=True)
class Counted:
    """What there is of a drill."""

    kinds: Mapping[str, int] = field(default_factory=dict)
    """How much of each kind."""
    held: tuple[str, ...] = ()
    """Objects with finalizers that nothing of the cluster itself takes away: `ConfigMap/x: example.com/hold`."""
    volumes: tuple[str, ...] = ()
    """Names of the PersistentVolumes among it."""


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

    async def ensure(self, namespace: str, objects: Objects, run: str) -> Ensured:
        """Make sure of the namespace (the first object), of the worker's RoleBinding (the second) and of what else the
        platform puts into it.

        Raises DrillNamespaceTakenError for one without the run's label.
        """

    async def apply(self, namespace: str, objects: Objects) -> None:
        """Server-side apply. Raises EnvironmentFailedError naming the object that is refused, and why."""

    async def standing(self, namespace: str, objects: Objects) -> list[Standing]:
        """How the applied objects stand, in their order."""

    async def until_changed(self, namespace: str, limit_seconds: float) -> None:
        """Wait by watches until something changed since `standing` was last asked, or the time is up."""

    async def count(self, namespace: str, run: str) -> Counted:
        """How much there is of each kind that a drill can leave: the namespace, what is in it, and what was bound to it
        (PersistentVolumes). Nothing of a namespace without the run's label."""

    async def of_run(self, run: str) -> list[str]:
        """Namespaces that carry the run's label; one LIST."""

    async def delete(self, namespace: str, run: str) -> Ending:
        """Ask for the namespace's deletion (with its uid as precondition), and tell how it stands. One without the
        run's label counts as gone: it is not the run's."""
