"""The cluster's machines: the control plane's and the nodes, each a set of namespaces with a root file system."""

import os
import shutil
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import configuration, debian_archive
from hack.cluster.addresses import CONTROL, PRIVATE_REGISTRY, REGISTRY, NodeAddress, hosts_file
from hack.cluster.binaries import binaries, temporal, temporal_server
from hack.cluster.cgroups import ClusterGroup
from hack.cluster.paths import REPOSITORY, Paths
from hack.cluster.processes import Command, running_pid, start
from hack.cluster.shell import ClusterError, tail
from hack.cluster.temporal_server import TemporalKind

CONTROL_MACHINE = "control"
BIN = Path("/opt/bascule/bin")
TEMPORAL_BIN = Path("/opt/bascule/temporal")
TEMPORAL_SERVER_BIN = Path("/opt/bascule/temporal-server")
NODE_ETC = Path("/etc/bascule")
_SCRIPT = Path(__file__).parent / "machine.sh"
_POD_BRIDGE = Path(__file__).parent / "network_policies/bascule-bridge"
_POWER = Path(__file__).parent / "power.sh"
# What says where cache and state are: a node that reboots is started with it again.
_PLACES = ("BASCULE_CACHE", "BASCULE_STATE", "XDG_CACHE_HOME", "HOME")
_REBOOT = """\
#!/bin/sh
# Asks this node's init for a reboot, like systemd's command of that name; with -f the kernel is asked at once.
[ "${1:-}" != -f ] || exec busybox reboot -f
echo reboot >/run/initctl
"""


@dataclass(frozen=True)
class Mount:
    """A folder of the host that a machine sees."""

    source: Path
    target: Path
    writable: bool = False


def start_machine(paths: Paths, group: ClusterGroup, name: str, mounts: tuple[Mount, ...], tree: Path) -> None:
    """Start a machine's first process, and wait until its root file system stands."""
    if not running_pid(paths, name):
        _start_first_process(paths, group, name, mounts, tree)
    _wait_until_built(paths, name)


def _start_first_process(paths: Paths, group: ClusterGroup, name: str, mounts: tuple[Mount, ...], tree: Path) -> None:
    folder = paths.machine(name)
    (folder / "upper").mkdir(parents=True, exist_ok=True)
    for mark in ("pid", "ready"):
        (folder / mark).unlink(missing_ok=True)
    namespaces = ["unshare", "--mount", "--uts", "--net", "--cgroup"]
    if name != CONTROL_MACHINE:
        namespaces += ["--pid", "--fork", "--kill-child=KILL"]
    kind = "control" if name == CONTROL_MACHINE else "node"
    arguments = [
        str(word) for mount in mounts for word in (mount.source, mount.target, "rw" if mount.writable else "ro")
    ]
    script = ["sh", str(_SCRIPT), str(folder), str(tree), kind, name, *arguments]
    group.make(name)
    argv, env = [*namespaces, *script], {}
    if name != CONTROL_MACHINE:
        power = ["sh", str(_POWER), str(folder), group.entrances(name)[0], str(REPOSITORY), sys.executable]
        argv = [*power, paths.name, name, *argv]
        env = {place: os.environ[place] for place in _PLACES if place in os.environ}
    start(paths, group, Command(name, name, argv, env))


def _wait_until_built(paths: Paths, name: str) -> None:
    ready = paths.machine(name) / "ready"
    deadline = time.monotonic() + 30
    while not (ready.exists() and ready.read_text()):
        if not running_pid(paths, name) or time.monotonic() > deadline:
            raise ClusterError(f"the machine {name} did not come up:\n{tail(paths.log(name))}")
        time.sleep(0.02)


def machine_pid(paths: Paths, name: str) -> int:
    """Return the process that holds a machine's namespaces. Raises ClusterError when the machine is off."""
    if not running_pid(paths, name):
        raise ClusterError(f"{name} of cluster {paths.name} is not running; `up` or `start {name}` starts it")
    return int((paths.machine(name) / "pid").read_text())


def enter(paths: Paths, name: str) -> list[str]:
    """Return the beginning of a command that is to run inside a machine."""
    namespaces = ["--mount", "--uts", "--net", "--cgroup"]
    if name != CONTROL_MACHINE:
        namespaces.append("--pid")
    # Without a value: the machine's own root. A folder named here would be the host's, and stay open in the machine.
    return ["nsenter", f"--target={machine_pid(paths, name)}", *namespaces, "--wd", "--"]


def prepare_control(paths: Paths, kind: TemporalKind) -> tuple[Mount, ...]:
    """Write the control plane's /etc and return what it sees of the host: binaries, and the cluster's state."""
    write(paths.machine(CONTROL_MACHINE) / "upper/etc/hosts", hosts_file(CONTROL_MACHINE, CONTROL))
    write(paths.machine(CONTROL_MACHINE) / "upper/etc/resolv.conf", f"nameserver {CONTROL}\n")
    server = (Mount(temporal_server(), TEMPORAL_SERVER_BIN),) if kind is TemporalKind.POSTGRES else ()
    return (
        Mount(binaries(), BIN),
        Mount(temporal(), TEMPORAL_BIN),
        *server,
        Mount(paths.state, paths.state, writable=True),
    )


def prepare_node(paths: Paths, node: NodeAddress, pause_image: str) -> tuple[Mount, ...]:
    """Write a node's /etc and return what it sees of the host: binaries, and disk space for containers and volumes."""
    folder = paths.machine(node.name)
    etc = folder / "upper/etc"
    own = folder / f"upper{NODE_ETC}"
    if not (etc / "machine-id").exists():
        write(etc / "machine-id", f"{uuid.uuid4().hex}\n")
    write(etc / "hostname", f"{node.name}\n")
    write(etc / "hosts", hosts_file(node.name, node.address))
    write(etc / "resolv.conf", "")
    reboot = folder / "upper/usr/sbin/reboot"
    write(reboot, _REBOOT)
    reboot.chmod(0o755)
    write(etc / "apt/sources.list", debian_archive.SOURCES_LIST)
    archives = folder / "upper/var/cache/apt/archives"
    archives.mkdir(parents=True, exist_ok=True)
    shutil.copy(debian_archive.first_file(paths), archives)
    write(etc / "containerd/config.toml", configuration.containerd(pause_image))
    for registry in (REGISTRY, PRIVATE_REGISTRY):
        trust = configuration.containerd_host(registry, NODE_ETC / "ca.crt")
        write(etc / f"containerd/certs.d/{registry}/hosts.toml", trust)
    write(etc / "cni/net.d/10-pods.conflist", configuration.pod_network(node))
    plugin = folder / "upper/usr/lib/cni/bascule-bridge"
    write(plugin, _POD_BRIDGE.read_text())
    plugin.chmod(0o755)
    write(own / "kubelet.json", configuration.kubelet(NODE_ETC, node))
    write(own / "kube-proxy.json", configuration.kube_proxy(node.name, NODE_ETC / "proxy.kubeconfig"))
    for user in (node.name, "proxy"):
        write(own / f"{user}.kubeconfig", client_kubeconfig(paths, user, NODE_ETC))
        for suffix in ("crt", "key"):
            _copy(paths.pki / f"{user}.{suffix}", own)
    _copy(paths.pki / "ca.crt", own)
    # An overlay takes no other overlay as its upper layer, so what containers write lies on the host's file system.
    disks = {"containerd": Path("/var/lib/containerd"), "kubelet": Path("/var/lib/kubelet")}
    for disk in disks:
        (folder / disk).mkdir(exist_ok=True)
    return (
        Mount(binaries(), BIN),
        *(Mount(folder / disk, target, writable=True) for disk, target in disks.items()),
    )


def client_kubeconfig(paths: Paths, user: str, folder: Path) -> str:
    """Return the kubeconfig of one of the cluster's own clients, whose certificate lies in a folder."""
    server = f"https://{CONTROL}:6443"
    return configuration.kubeconfig(
        paths.name, server, folder / "ca.crt", folder / f"{user}.crt", folder / f"{user}.key"
    )


def write(path: Path, text: str) -> None:
    """Write a file and the folders above it. One that is so already is left alone.

    What runs may watch its configuration: kube-proxy ends when its own is written, whatever is in it.
    """
    _write(path, text.encode())


def _copy(source: Path, folder: Path) -> None:
    _write(folder / source.name, source.read_bytes())
    shutil.copymode(source, folder / source.name)


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
