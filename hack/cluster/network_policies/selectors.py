"""Pods, and which of them a label selector names. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]
JsonObject = Mapping[str, Any]


@dataclass(frozen=True)
class ContainerPort:
    """A port that a container has a name for. `protocol`: TCP, UDP or SCTP."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it: who it is, and the addresses that it sends from and is reached at."""

    namespace: str
    name: str
    labels: Labels = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    only_port: int | None = None
    """Set for a server that is no pod but counts as one, at this port and nowhere else of its address."""

    def port(self, name: str, protocol: str) -> int | None:
        """Return the number of a named port."""
        return next((each.number for each in self.ports if (each.name, each.protocol) == (name, protocol)), None)


def pod_of(item: JsonObject, addresses: Iterable[str]) -> Pod:
    """Read a pod of the API server's."""
    metadata, spec = item["metadata"], item["spec"]
    # An init container that never ends serves as long as the others do.
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    named = [port for container in containers for port in container.get("ports") or () if port.get("name")]
    ports = tuple(ContainerPort(port["name"], port.get("protocol", "TCP"), port["containerPort"]) for port in named)
    return Pod(metadata["namespace"], metadata["name"], metadata.get("labels") or {}, tuple(addresses), ports)


def selects(selector: JsonObject, labels: Labels) -> bool:
    """Tell whether a label selector selects what has these labels. An empty one selects everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.get("matchExpressions") or ())


def _holds(requirement: JsonObject, labels: Labels) -> bool:
    key, values = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case unknown:
            # Nothing the API server stores. To select too little would be to let through.
            raise ValueError(f"no label selector has the operator {unknown!r}")
