"""Fake nodes by KWOK: started with the first of them, ended with the last.

While there are any, the controller manager waits as long for a node's Lease as fake nodes take to renew it. So a real
node that dies is noticed late then.
"""

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence

from hack.cluster import kwok, lifecycle, machines
from hack.cluster.addresses import NODES
from hack.cluster.binaries import kwok_folder
from hack.cluster.components import kwok_configuration, kwok_program
from hack.cluster.paths import locked
from hack.cluster.processes import running_pid
from hack.cluster.shell import ClusterError
from hack.cluster.sites import Site, kubectl

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,40}")
_PATIENCE = 300.0


def add(
    made: Site, count: int, labels: Mapping[str, str], zones: Sequence[str], prefix: str, job_seconds: float
) -> list[str]:
    """Make nodes PREFIX-00000, …, evenly spread over the zones, and wait until all of them are Ready.

    Raises ClusterError for a prefix that is no part of a name, or when they do not become Ready.
    """
    if not _PREFIX.fullmatch(prefix) or prefix in NODES:
        raise ClusterError(f"{prefix!r} cannot begin the name of a fake node: lower-case letters, digits and dashes")
    _switch_on(made, job_seconds)
    names = [f"{prefix}-{number:05}" for number in range(count)]
    there = set(_names(made, f"{kwok.LABEL}={prefix}"))
    nodes = [_node(name, number, labels, zones, prefix) for number, name in enumerate(names) if name not in there]
    if nodes:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
        kubectl(made.paths, "create", "--validate=ignore", "--filename=-", text_input=listed)
    deadline = time.monotonic() + _PATIENCE
    while (ready := _ready(made, prefix)) < count:
        if not running_pid(made.paths, "kwok") or time.monotonic() > deadline:
            raise ClusterError(f"{ready} of {count} fake nodes are Ready; {made.paths.log('kwok')} may say why")
        time.sleep(0.5)
    return names


def remove(made: Site, prefix: str = "") -> None:
    """Remove the fake nodes of a prefix, or all, with their pods; with the last of them KWOK ends."""
    selector = f"{kwok.LABEL}={prefix}" if prefix else kwok.LABEL
    names = set(_names(made, selector))
    _delete_pods(made, names)
    if names:
        kubectl(made.paths, "delete", "--raw", f"/api/v1/nodes?labelSelector={selector.replace('=', '%3D')}")
    with locked(made.paths.state / "fake-nodes.lock", "the fake nodes"):
        if not _names(made, kwok.LABEL) and kwok_configuration(made.paths).exists():
            lifecycle.stop_component(made, "kwok")
            kwok_configuration(made.paths).unlink()
            _restart_controller_manager(made)


def _switch_on(made: Site, job_seconds: float) -> None:
    with locked(made.paths.state / "fake-nodes.lock", "the fake nodes"):
        program, file = kwok_program(made.paths), kwok_configuration(made.paths)
        if not program.exists():
            # The control plane's machine sees the cluster's state, and not the cache.
            program.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kwok_folder() / "kwok", program)
        wanted, first = kwok.configuration(job_seconds), not file.exists()
        changed = first or file.read_text() != wanted
        machines.write(file, wanted)
        if changed and not first:
            lifecycle.stop_component(made, "kwok")
        if first:
            _restart_controller_manager(made)
        lifecycle.start_component(made, "kwok")


def _restart_controller_manager(made: Site) -> None:
    lifecycle.stop_component(made, "controller-manager")
    lifecycle.start_component(made, "controller-manager")


def _node(name: str, number: int, labels: Mapping[str, str], zones: Sequence[str], prefix: str) -> dict[str, object]:
    own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", kwok.LABEL: prefix}
    if zones:
        own["topology.kubernetes.io/zone"] = zones[number % len(zones)]
    metadata = {"name": name, "labels": {**own, **labels}, "annotations": {kwok.ANNOTATION: "fake"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [kwok.TAINT]}}


def _names(made: Site, selector: str) -> list[str]:
    # Whole objects of a thousand nodes are megabytes.
    return kubectl(
        made.paths, "get", "nodes", "-l", selector, "-o", "custom-columns=:metadata.name", "--no-headers"
    ).split()


def _ready(made: Site, prefix: str) -> int:
    query = "custom-columns=:status.conditions[?(@.type=='Ready')].status"
    found = kubectl(made.paths, "get", "nodes", "-l", f"{kwok.LABEL}={prefix}", "-o", query, "--no-headers")
    return found.split().count("True")


def _delete_pods(made: Site, nodes: set[str]) -> None:
    """The garbage collector would take them after a minute, and KWOK may be gone then."""
    if not nodes:
        return
    columns = "custom-columns=:metadata.namespace,:metadata.name,:spec.nodeName"
    rows = kubectl(made.paths, "get", "pods", "--all-namespaces", "-o", columns, "--no-headers").splitlines()
    for namespace, name, node in (row.split() for row in rows):
        if node in nodes:
            options = ("--ignore-not-found", "--grace-period=0", "--force", "--wait=false")
            kubectl(made.paths, "delete", "pod", name, "-n", namespace, *options)
