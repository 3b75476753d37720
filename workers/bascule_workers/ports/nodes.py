"""Nodes of the cluster, and what runs on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from bascule_api.runs import LabelSelector


@dataclass(frozen=True)
class Node:
    """A node, as far as campaigns look at it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    unschedulable: bool = False
    ready: bool = False
    boot_id: str = ""
    control_plane: bool = False
    """By label or taint."""
    terminating: bool = False
    addresses: tuple[str, ...] = ()
    """Internal IP first."""


@dataclass(frozen=True)
class PodOnNode:
    """A pod of a node, as far as draining looks at it."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    owner_kind: str = ""
    """Kind of the controller; empty: a bare pod."""
    owner_gone: bool = False
    mirror: bool = False
    empty_dir: bool = False
    finished: bool = False
    terminating: bool = False


class Eviction(StrEnum):
    """What became of an eviction."""

    ACCEPTED = "Accepted"
    GONE = "Gone"
    BLOCKED = "Blocked"
    """A PodDisruptionBudget allows none now."""


@dataclass(frozen=True)
class Evicted:
    outcome: Eviction
    reason: str = ""
    """Of a blocked one: which budget, as the API server says it."""


class Nodes(Protocol):
    """The nodes that a campaign may touch. Reads come from one shared watch; every write may be repeated.

    Raises ApiUnavailableError when the API server does not answer.
    """

    async def select(self, selector: LabelSelector, within: Mapping[str, str]) -> list[Node]:
        """Nodes that match both, without those of the control plane; one consistent LIST."""

    async def get(self, name: str) -> Node | None:
        """The node as it is now; from the watch, if it is current."""

    async def fresh(self, name: str) -> Node | None:
        """The node as the API server has it."""

    async def mark(self, name: str, run: str, resource: str) -> Node | None:
        """Label the node with the run and cordon it, in one PATCH with its resourceVersion.

        A node that is unschedulable already is only labelled. `run` is `names.run_label`. Repeated: changes nothing.
        None: there is no such node. Raises TargetRefusedError for one that carries another run's label.
        """

    async def unmark(self, name: str, run: str) -> bool:
        """Take the run's marks off and uncordon the node if the run cordoned it. Whether there was something."""

    async def marked(self, run: str) -> list[Node]:
        """Nodes that carry the run's label."""

    async def pods_on(self, name: str) -> list[PodOnNode]:
        """All pods of the node."""

    async def evict(self, pod: PodOnNode, grace_seconds: int | None) -> Evicted:
        """Ask for a pod's eviction, with its uid as precondition."""

    async def until(self, name: str, holds: Callable[[Node | None], bool], limit_seconds: float) -> Node | None:
        """Wait by the watch until it holds or the time is up; the node as it is then."""

    async def until_pods_change(self, name: str, limit_seconds: float) -> None:
        """Wait by a watch until a pod of the node is gone or came, or the time is up."""


class TargetLeases(Protocol):
    """One campaign at a time per target: Leases in the steps namespace that runs hold from activity to activity."""

    async def acquire(self, namespace: str, target: str, run: str, resource: str) -> str:
        """Take the Lease for the run. Returns the resource (`namespace/name`) that holds it, when it is another's;
        else nothing. Repeated by the same run: nothing."""

    async def release(self, namespace: str, target: str, run: str) -> bool:
        """Delete the Lease if the run holds it. Whether it did."""

    async def held(self, namespace: str, run: str) -> list[str]:
        """Targets whose Lease the run holds."""
