"""What a component of a cluster is: a program, where it runs, and how one sees that it is ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HttpProbe:
    """Ready when this address answers with success; `{host}` stands for the cluster's address seen from the host."""

    url: str


@dataclass(frozen=True)
class PortProbe:
    """Ready when the cluster's address accepts connections on this port."""

    port: int


@dataclass(frozen=True)
class ProgramProbe:
    """Ready when a program inside the machine succeeds."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """A program of the cluster."""

    name: str
    machine: str
    argv: tuple[str, ...]
    probe: HttpProbe | PortProbe | ProgramProbe | None = None
    restarts: bool = False
    """Whether it may end by itself while it waits for another, and is then simply started again."""
    on_host: bool = False
    """Whether it runs in the host's root file system, network and all, and only its end is the machine's."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment, besides those that every component has."""
