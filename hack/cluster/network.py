"""The cluster's network: one bridge in the control plane's namespace, a cable to each node, a cable to the host."""

from contextlib import suppress
from pathlib import Path

from hack.cluster.addresses import CONTROL, NODE_NETWORK_PREFIX, NODES, SERVICES, HostLink, NodeAddress
from hack.cluster.shell import ClusterError, run

_BRIDGE = "br0"
_HOST_END = "host0"


def connect_control(pid: int, link: HostLink) -> None:
    """Make the bridge and the cable to the host. Without a default route nothing leaves the cluster's network."""
    _ip(pid, "link set lo up")
    if not _has_interface(pid, _BRIDGE):
        _ip(pid, f"link add {_BRIDGE} type bridge")
        _ip(pid, f"address add {CONTROL}/{NODE_NETWORK_PREFIX} dev {_BRIDGE}")
    _ip(pid, f"link set {_BRIDGE} up")
    _ip(pid, f"route replace {SERVICES} dev {_BRIDGE}")
    if not _has_interface(pid, _HOST_END):
        run(f"ip link add {link.interface} type veth peer name {_HOST_END} netns {pid}".split())
        run(f"ip address add {link.host}/30 dev {link.interface}".split())
        _ip(pid, f"address add {link.cluster}/30 dev {_HOST_END}")
    run(f"ip link set {link.interface} up".split())
    _ip(pid, f"link set {_HOST_END} up")


def connect_node(control: int, pid: int, node: NodeAddress) -> None:
    """Plug a node into the bridge, and tell everybody the way to its pods. Done once in a node's life."""
    if _has_interface(pid, "eth0"):
        return
    if _has_interface(control, node.name):
        # The kernel takes its time to remove the cable of a node that was switched off.
        _ip(control, f"link delete {node.name}")
    _ip(control, f"link add {node.name} type veth peer name eth0 netns {pid}")
    _ip(control, f"link set {node.name} master {_BRIDGE} up")
    _ip(control, f"route replace {node.pods} via {node.address}")
    _ip(pid, "link set lo up")
    _ip(pid, f"address add {node.address}/{NODE_NETWORK_PREFIX} dev eth0")
    _ip(pid, "link set eth0 up")
    # kube-proxy rewrites these addresses, but only after a route was found for them.
    _ip(pid, f"route replace {SERVICES} dev eth0")
    for other in NODES.values():
        if other != node:
            _ip(pid, f"route replace {other.pods} via {other.address}")


def disconnect_host(link: HostLink) -> None:
    """Remove the cable to the host.

    The kernel would do so when the network namespace ends, but that can outlive its last process by two minutes: a
    connection whose other end vanished with a node still waits for an answer to its good-bye.
    """
    if (Path("/sys/class/net") / link.interface).exists():
        with suppress(ClusterError):
            run(f"ip link delete {link.interface}".split())
    if (Path("/sys/class/net") / link.interface).exists():
        raise ClusterError(f"the interface {link.interface} does not go; `ip link delete {link.interface}` says why")


def _has_interface(pid: int, name: str) -> bool:
    try:
        _ip(pid, f"link show dev {name}")
    except ClusterError:
        return False
    return True


def _ip(pid: int, command: str) -> None:
    run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *command.split()])
