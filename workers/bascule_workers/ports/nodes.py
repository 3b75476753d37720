"""Nodes of the cluster, and what runs on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bascule_api.selectors import LabelSelector
from bascule_workers.plans.nodes import Node, PodOnNode


class Eviction(StrEnum):
    """What became of an eviction."""

    ACCEPTED = "Accepted"
    """It ends, or does so already."""
    GONE = "Gone"
    BLOCKED = "Blocked"
    """PodDisruptionBudgets allow none now."""


@dataclass(frozen=True)
class Evicted:
    outcome: Eviction
    reason: str = ""
    """Of a blocked one: which budget, as the API server says it."""


class PodsOfNode(Protocol):
    """The pods of one node, kept current."""

    def pods(self) -> list[PodOnNode]: ...

    async def changed(self, limit_seconds: float) -> None:
        """Wait until a pod came, changed or went since the last call of `pods`, or the time is up."""


class Nodes(Protocol):
    """The nodes that a campaign may touch. Reads come from one shared watch; every write may be repeated.

    Raises ApiUnavailableError when the API server does not answer.
    """

    async def select(self, selector: LabelSelector, within: Mapping[str, str]) -> list[Node]:
        """Nodes that match both, by name, without those of the control plane; one consistent LIST."""

    async def get(self, name: str) -> Node | None:
        """The node as the watch shows it."""

    async def fresh(self, name: str) -> Node | None:
        """The node as the API server has it."""

    async def mark(self, name: str, run: str, resource: str, within: Mapping[str, str]) -> Node | None:
        """Label the node with the run and cordon it, in one PATCH with its resourceVersion.

        A node that is unschedulable already is only labelled. `run` is `names.run_label`. Repeated: changes nothing.
        None: there is no such node. Raises TargetRefusedError for a node that is not within these labels or of the
        control plane, TargetTakenError for one that carries another run's label.
        """

    async def unmark(self, name: str, run: str) -> bool:
        """Take the run's marks off and uncordon the node if the run cordoned it. Whether there was something."""

    async def marked(self, run: str) -> list[Node]:
        """Nodes that carry the run's label; one LIST."""

    def draining(self, name: str) -> AbstractAsyncContextManager[PodsOfNode]:
        """All pods of the node: one LIST, and from the first wait on one WATCH."""

    async def evict(self, pod: PodOnNode, grace_seconds: int | None) -> Evicted:
        """Ask for a pod's eviction, with its uid as precondition."""

    async def until(self, name: str, holds: Callable[[Node | None], bool], limit_seconds: float) -> Node | None:
        """Wait by the watch until it holds or the time is up; the node as it is then."""


class TargetLeases(Protocol):
    """One campaign at a time per target: Leases in the steps namespace that runs hold from activity to activity.

    Raises ApiUnavailableError when the API server does not answer.
    """

    async def acquire(self, namespace: str, target: str, run: str, resource: str) -> str:
        """Take the Lease for the run. Returns the resource (`namespace/name`) that holds it, when it is another's;
        else nothing. Repeated by the same run: nothing."""

    async def release(self, namespace: str, target: str, run: str) -> bool:
        """Delete the Lease if the run holds it. Whether it did."""

    async def held(self, namespace: str, run: str) -> list[str]:
        """Targets whose Lease the run holds."""
