"""The names and addresses of a cluster. All but the link to the host are the same in every cluster."""

import socket
import struct
import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass

CONTROL = "10.247.0.1"
NODE_NETWORK_PREFIX = 16
SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
CLUSTER_DOMAIN = "cluster.local"

API_PORT = 6443
REGISTRY_PORT = 5000
PRIVATE_REGISTRY_PORT = 5001
TEMPORAL_PORT = 7233
TEMPORAL_UI_PORT = 8233
PACKAGES_PORT = 80
OBJECT_STORE_PORT = 9000
DNS_READY_PORT = 8181

SERVICE_DOMAIN = "bascule.test"
REGISTRY_HOST = f"registry.{SERVICE_DOMAIN}"
GIT_HOST = f"git.{SERVICE_DOMAIN}"
TEMPORAL_HOST = f"temporal.{SERVICE_DOMAIN}"
PACKAGES_HOST = f"packages.{SERVICE_DOMAIN}"
OBJECT_STORE_HOST = f"s3.{SERVICE_DOMAIN}"
SERVICE_HOSTS = (REGISTRY_HOST, GIT_HOST, TEMPORAL_HOST, PACKAGES_HOST, OBJECT_STORE_HOST)
REGISTRY = f"{REGISTRY_HOST}:{REGISTRY_PORT}"
PRIVATE_REGISTRY = f"{REGISTRY_HOST}:{PRIVATE_REGISTRY_PORT}"

# What the private registry and the private git repositories ask for. The cluster is for tests, and this is public.
TENANT_USER = "tenant"
TENANT_PASSWORD = "tenant-secret"  # noqa: S105 - a test credential, written down in docs/cluster.md
TENANT_PASSWORD_BCRYPT = "$2b$05$abcdefghijklmnopqrstuuQUUQZ.k3B4dIFClhT6d0qyKobKNz9kS"  # noqa: S105 - its hash

# The object store's only account. As public as the password above.
OBJECT_STORE_REGION = "us-east-1"
OBJECT_STORE_ACCESS_KEY = "bascule"
OBJECT_STORE_SECRET_KEY = "bascule-object-store"  # noqa: S105 - a test credential, written down in docs/cluster.md

_LINKS = 250


@dataclass(frozen=True)
class NodeAddress:
    """Where a node is."""

    name: str
    address: str
    pods: str
    zone: str


NODES: Mapping[str, NodeAddress] = {
    "node1": NodeAddress("node1", "10.247.0.2", "10.244.1.0/24", "zone-a"),
    "node2": NodeAddress("node2", "10.247.0.3", "10.244.2.0/24", "zone-b"),
}


@dataclass(frozen=True)
class HostLink:
    """The two ends of the cable between the host and the cluster's network."""

    number: int

    @property
    def interface(self) -> str:
        """The interface on the host."""
        return f"bascule{self.number}"

    @property
    def host(self) -> str:
        """The host's address."""
        return f"10.246.{self.number}.1"

    @property
    def cluster(self) -> str:
        """The cluster's address, where the host finds its servers."""
        return f"10.246.{self.number}.2"


def choose_link(name: str, taken: Set[int]) -> HostLink:
    """Choose a cluster's link by its name, and the next free one when another cluster has it."""
    first = zlib.crc32(name.encode())
    for step in range(_LINKS):
        number = (first + step) % _LINKS + 1
        if number not in taken:
            return HostLink(number)
    raise ValueError("all links are taken")


def links_in_use() -> set[int]:
    """Return the numbers of the links that exist on this host."""
    names = [name for _, name in socket.if_nameindex()]
    return {int(name[7:]) for name in names if name.startswith("bascule") and name[7:].isdigit()}


def hosts_file(own_name: str, own_address: str) -> str:
    """Write the /etc/hosts of a machine: itself and the servers that have no cluster DNS."""
    return f"127.0.0.1 localhost\n{own_address} {own_name}\n{CONTROL} {' '.join(SERVICE_HOSTS)}\n"


def nth_address(network: str, n: int) -> str:
    """Return the n-th address of a network written as ADDRESS/PREFIX."""
    (first,) = struct.unpack("!I", socket.inet_aton(network.split("/")[0]))
    return socket.inet_ntoa(struct.pack("!I", first + n))
