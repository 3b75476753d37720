"""Making, repairing and removing a whole cluster, and switching its parts off and on."""

import json
import os
import signal
import time
from concurrent.futures import Future
from pathlib import Path

from hack.cluster import debian_archive, machines, network
from hack.cluster.addresses import API_PORT, NODES, REGISTRY, SERVICE_HOSTS, NodeAddress
from hack.cluster.binaries import binaries, temporal, temporal_server
from hack.cluster.cgroups import ClusterGroup, cluster_group
from hack.cluster.components import write_configuration
from hack.cluster.configuration import kubeconfig
from hack.cluster.console import say
from hack.cluster.machines import CONTROL_MACHINE
from hack.cluster.node_components import policies_kubeconfig
from hack.cluster.packages import ensure_host_packages, ensure_kernel
from hack.cluster.paths import Paths, locked, state_directory
from hack.cluster.pki import ensure_client, make_certificates
from hack.cluster.processes import end, running_pid
from hack.cluster.record import complete, new_record, read_record
from hack.cluster.rootfs import database_tree, machine_tree
from hack.cluster.shell import Background, ClusterError, contained, run
from hack.cluster.sites import Site, kubectl
from hack.cluster.starting import start_program, wait_for, wait_for_all
from hack.cluster.temporal_server import TemporalKind
from hack.images.build import BuiltImage, build_extra_image, build_images, publish_images

_MANIFESTS = Path(__file__).parent / "manifests.yaml"
_PAUSE_IMAGE = f"{REGISTRY}/bascule/pause:1"
_READY_PATIENCE = 120.0
# These start before the API server answers; everything else wants to talk to it at once.
_FIRST = (
    *("etcd", "registry", "private-registry", "git", "packages"),
    *("postgres", "temporal-token-keys", "temporal", "apiserver"),
)
# A terminated API server goes on serving watches for a while.
_NOT_GENTLY = frozenset({"apiserver"})


def _lock_file(name: str) -> Path:
    return state_directory() / "locks" / f"cluster-{name}"


def bring_up(name: str, temporal: TemporalKind | None = None) -> Site:
    """Make a cluster, or start what is missing of one that was complete; remove first what was only half made.

    `temporal`: which Temporal a new cluster gets; an existing one keeps its own. Raises ClusterError when they differ.
    """
    paths, group = Paths(name), cluster_group(name)
    prepare(_temporal_of(paths, temporal))
    with locked(_lock_file(name), f"cluster {name}"):
        record = read_record(paths)
        if (record is None or not record.complete) and (paths.state.exists() or group.exists()):
            say(f"cluster {name} is only half made; removing it first")
            _remove(paths, group)
            record = None
        fresh = record is None
        made = Site(paths, group, record or new_record(paths, temporal or TemporalKind.DEV))
        try:
            _make(made)
        except KeyboardInterrupt:
            if fresh:
                say("interrupted; removing what was made")
                _remove(paths, group)
            raise
        return Site(paths, group, complete(paths, made.record))


def _temporal_of(paths: Paths, wanted: TemporalKind | None) -> TemporalKind:
    record = read_record(paths)
    if record is None or not record.complete:
        return wanted or TemporalKind.DEV
    if wanted not in (None, record.temporal):
        raise ClusterError(
            f"cluster {paths.name} was made with TEMPORAL={record.temporal}: take it down first, or choose another NAME"
        )
    return record.temporal


def prepare(kind: TemporalKind = TemporalKind.DEV) -> None:
    """Have everything in the cache that a cluster is made of."""
    ensure_host_packages()
    ensure_kernel()
    with Background() as background:
        # The one waits for the network, the other for the processors.
        tree = background.begin(machine_tree if kind is TemporalKind.DEV else database_tree)
        binaries()
        temporal()
        if kind is TemporalKind.POSTGRES:
            temporal_server()
        tree.result()


def _make(made: Site) -> None:
    with Background() as background:
        images = background.begin(build_images)
        say(f"making cluster {made.paths.name}")
        _write_files(made)
        _start_control_machine(made)
        first = [name for name in _FIRST if name in made.components]
        for name in first:
            start_program(made, name)
        for node in NODES.values():
            _start_node_machine(made, node)
            start_program(made, f"{node.name}-containerd")
        wait_for_all(made, *first, *(f"{node}-containerd" for node in NODES))
        for name in made.components:
            start_program(made, name)
        _apply_manifests(made)
        _publish(made, images)
    wait_for_all(made, *made.components)
    for name in NODES:
        _pull_pause_image(made, name)
    _wait_for_nodes(made)
    say(f"cluster {made.paths.name} is ready: export KUBECONFIG={made.paths.kubeconfig}")


def _write_files(made: Site) -> None:
    paths, link = made.paths, made.record.host_link
    if not (paths.pki / "complete").exists():
        make_certificates(paths.pki, link, paths.trust)
        (paths.pki / "complete").touch()
    write_configuration(paths, made.record.temporal)
    names = f"{link.cluster} {' '.join(SERVICE_HOSTS)}\n"
    machines.write(paths.hosts, Path("/etc/hosts").read_text() + names)
    server = f"https://{link.cluster}:{API_PORT}"
    admin = kubeconfig(f"bascule-{paths.name}", server, paths.pki / "ca.crt", paths.pki / "admin.crt",
                       paths.pki / "admin.key")  # fmt: skip
    machines.write(paths.kubeconfig, admin)
    policies = kubeconfig(paths.name, server, paths.pki / "ca.crt", *ensure_client(paths.pki, "network-policies"))
    machines.write(policies_kubeconfig(paths), policies)


def _start_control_machine(made: Site) -> None:
    kind = made.record.temporal
    mounts = machines.prepare_control(made.paths, kind)
    tree = machine_tree() if kind is TemporalKind.DEV else database_tree()
    machines.start_machine(made.paths, made.group, CONTROL_MACHINE, mounts, tree)
    network.connect_control(machines.machine_pid(made.paths, CONTROL_MACHINE), made.record.host_link)


def _start_node_machine(made: Site, node: NodeAddress) -> None:
    if not running_pid(made.paths, node.name):
        say(f"starting {node.name}")
        mounts = machines.prepare_node(made.paths, node, _PAUSE_IMAGE)
        machines.start_machine(made.paths, made.group, node.name, mounts, machine_tree())
        _install_first_package(made, node.name)
    control = machines.machine_pid(made.paths, CONTROL_MACHINE)
    network.connect_node(control, machines.machine_pid(made.paths, node.name), node)


def _install_first_package(made: Site, node: str) -> None:
    """Give a new node the package that it can be patched with; one that had it in an earlier life keeps its version."""
    enter = machines.enter(made.paths, node)
    first = debian_archive.FIRST
    try:
        run([*enter, "dpkg-query", "--status", first.name])
    except ClusterError:
        run([*enter, "dpkg", "--install", "--force-unsafe-io", f"/var/cache/apt/archives/{first.file}"])


def _apply_manifests(made: Site) -> None:
    say("applying CoreDNS's Service and permissions")
    kubectl(made.paths, "apply", "--server-side", "--force-conflicts", "--filename", str(_MANIFESTS))


def _publish(made: Site, images: Future[list[BuiltImage]]) -> None:
    references = publish_images(images.result(), made.paths.state / "registry")
    machines.write(made.paths.images, json.dumps(references, indent=2) + "\n")
    say("the platform's images are in the registry")


def _pull_pause_image(made: Site, node: str) -> None:
    """Have the image that every pod starts with on each node: pods then start while the registry is away."""
    ctr = [*machines.enter(made.paths, node), "ctr", "--namespace=k8s.io", "images"]
    if _PAUSE_IMAGE not in run([*ctr, "list", "--quiet"]).split():
        run([*ctr, "pull", "--hosts-dir=/etc/containerd/certs.d", _PAUSE_IMAGE], timeout=60)


def _wait_for_nodes(made: Site) -> None:
    deadline = time.monotonic() + _READY_PATIENCE
    while True:
        waiting = [node for node in NODES if not _node_ready(made, node)]
        if not waiting and _has_default_account(made):
            return
        if time.monotonic() > deadline:
            logs = ", ".join(str(made.paths.log(f"{node}-kubelet")) for node in waiting)
            raise ClusterError(
                f"not ready after {_READY_PATIENCE:.0f} s: {', '.join(waiting) or 'accounts'}; see {logs}"
            )
        time.sleep(0.3)


def _node_ready(made: Site, node: str) -> bool:
    query = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return kubectl(made.paths, "get", "node", node, "--ignore-not-found", "--output", query).strip() == "True"


def _has_default_account(made: Site) -> bool:
    answer = kubectl(made.paths, "get", "serviceaccount", "default", "--ignore-not-found", "--output=name")
    return bool(answer.strip())


def refresh_images(made: Site) -> dict[str, str]:
    """Build the images whose content changed and publish them in a running cluster."""
    references = publish_images(build_images(), made.paths.state / "registry")
    machines.write(made.paths.images, json.dumps(references, indent=2) + "\n")
    return references


def extra_image(made: Site, name: str) -> str:
    """Build an image that only some tests ask for, publish it in a running cluster, and return its reference."""
    return publish_images([build_extra_image(name)], made.paths.state / "registry")[name]


def stop_component(made: Site, name: str, how: signal.Signals | None = None) -> None:
    """End a component, or switch a node off with everything on it."""
    if name in NODES:
        made.group.destroy(name)
        return
    component = made.component(name)
    default = signal.SIGKILL if name in _NOT_GENTLY else signal.SIGTERM
    end(made.paths, component.name, how or default)


def start_component(made: Site, name: str) -> None:
    """Start a component and wait until it is ready; a node is started with all its components."""
    names = [name]
    if name in NODES:
        _start_node_machine(made, NODES[name])
        names = [component.name for component in made.components.values() if component.machine == name]
    for each in names:
        # In this order: containerd before the kubelet.
        start_program(made, each)
        wait_for(made, each)


def reboot_node(made: Site, name: str) -> None:
    """Switch a node off and on again, and wait until the API server knows its new boot id and it is Ready."""
    if name not in NODES:
        raise ClusterError(f"{name} is no node; there are: {', '.join(NODES)}")
    before = _boot_id(made, name)
    stop_component(made, name)
    start_component(made, name)
    deadline = time.monotonic() + _READY_PATIENCE
    while _boot_id(made, name) == before or not _node_ready(made, name):
        if time.monotonic() > deadline:
            log = made.paths.log(f"{name}-kubelet")
            raise ClusterError(f"{name} is not back after {_READY_PATIENCE:.0f} s; see {log}")
        time.sleep(0.3)


def _boot_id(made: Site, node: str) -> str:
    return kubectl(made.paths, "get", "node", node, "--output=jsonpath={.status.nodeInfo.bootID}")


def take_down(name: str) -> None:
    """Remove everything that belongs to a cluster. Does nothing when there is nothing."""
    if os.geteuid() != 0:
        raise ClusterError("removing a cluster needs root; try sudo")
    paths, group = Paths(name), cluster_group(name)
    with locked(_lock_file(name), f"cluster {name}"):
        if not paths.state.exists() and not group.exists():
            say(f"there is no cluster {name}")
            return
        _remove(paths, group)
    say(f"cluster {name} is gone")


def _remove(paths: Paths, group: ClusterGroup) -> None:
    record = read_record(paths)
    group.destroy()
    if record:
        network.disconnect_host(record.host_link)
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if below := [point for point in mounted if Path(point).is_relative_to(paths.state)]:
        raise ClusterError(f"something is mounted in the cluster's state, by whom the tool does not know: {below}")
    # One file at a time is slow in Python: a used node has some ten thousand files.
    run(contained(["rm", "--recursive", "--force", "--one-file-system", str(paths.state)]))
