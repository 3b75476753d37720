"""The cluster tool survives being killed at any moment, and so do the cluster's parts."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.cluster import handle
from hack.cluster.cgroups import hierarchies
from hack.cluster.handle import Cluster
from hack.cluster.paths import REPOSITORY, Paths

pytestmark = pytest.mark.cluster

NAME = "bascule-killed"
# What `up` says when it gets there. The whole way from the first process to the last wait.
POINTS = [
    "making cluster",
    "starting etcd",
    "starting apiserver",
    "starting node1",
    "starting node1-containerd",
    "starting node2-containerd",
    "ready: etcd",
    "starting coredns",
    "starting node2-kubelet",
    "images are in the registry",
]


@dataclass(frozen=True)
class Traces:
    """Everything on this machine that could come from the cluster under test."""

    processes: frozenset[str]
    mounts: frozenset[str]
    interfaces: frozenset[str]
    network_namespaces: frozenset[str]
    control_groups: frozenset[str]


@pytest.fixture
def mark() -> Iterator[str]:
    """A variable in the environment of `up` that all its helpers inherit; and no cluster of that name afterwards."""
    handle.down(NAME)
    yield f"BASCULE_TEST_MARK={secrets.token_hex(8)}"
    handle.down(NAME)


def traces(mark: str) -> Traces:
    """Look at the machine. Clusters of other names come and go meanwhile and do not count."""
    processes, namespaces = set(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            groups = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            namespace = str((folder / "ns" / "net").readlink())
        except OSError:
            continue
        if {mark.encode(), f"BASCULE_CLUSTER={NAME}".encode()} & set(variables) or f"/bascule-{NAME}" in groups:
            processes.add(f"{folder.name} {command}")
        if "/bascule-" not in groups.replace(f"/bascule-{NAME}", ""):
            namespaces.add(namespace)
    return Traces(
        frozenset(processes),
        frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        frozenset(name for _, name in socket.if_nameindex() if name not in _others_links()),
        frozenset(namespaces),
        frozenset(str(group) for root in hierarchies().roots for group in root.glob(f"**/bascule-{NAME}*")),
    )


def _others_links() -> set[str]:
    records = [file for file in Paths(NAME).state.parent.glob("*/record.json") if file.parent.name != NAME]
    return {f"bascule{json.loads(file.read_text())['link']}" for file in records}


def begin_up(mark: str) -> subprocess.Popen[str]:
    name, _, value = mark.partition("=")
    return subprocess.Popen(
        [sys.executable, "-m", "hack.cluster", "--name", NAME, "up"],
        cwd=REPOSITORY,
        env={**os.environ, name: value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupt(up: subprocess.Popen[str], point: str, how: signal.Signals) -> tuple[int, str]:
    """Send a signal to `up` when it says it has come to a point. Returns its exit code and what it said after that."""
    assert up.stderr is not None
    said = []
    for line in up.stderr:
        said.append(line)
        if point in line:
            up.send_signal(how)
            break
    else:
        pytest.fail(f"`up` never came to {point!r}:\n{''.join(said)}")
    rest = up.stderr.read()
    up.stderr.close()
    return up.wait(60), rest


@pytest.mark.parametrize("point", POINTS)
def test_up_works_after_up_was_killed_and_down_leaves_nothing(mark: str, point: str) -> None:
    before = traces(mark)

    code, _ = interrupt(begin_up(mark), point, signal.SIGKILL)
    cluster = handle.up(NAME)
    nodes = cluster.kubectl("get", "nodes", "-o", "name").split()
    handle.down(NAME)

    assert code == -signal.SIGKILL
    assert nodes == ["node/node1", "node/node2"]
    assert traces(mark) == before
    assert not Paths(NAME).state.exists()


@pytest.mark.parametrize("point", ["starting node1-containerd", "starting node2-kubelet"])
def test_down_alone_removes_what_a_killed_up_left(mark: str, point: str) -> None:
    before = traces(mark)

    interrupt(begin_up(mark), point, signal.SIGKILL)
    handle.down(NAME)

    assert traces(mark) == before
    assert not Paths(NAME).state.exists()


@pytest.mark.parametrize("point", ["making cluster", "starting node2-containerd", "images are in the registry"])
def test_an_interrupted_up_cleans_up_behind_itself(mark: str, point: str) -> None:
    before = traces(mark)

    code, rest = interrupt(begin_up(mark), point, signal.SIGINT)

    assert code == 130
    assert "removing what was made" in rest
    assert traces(mark) == before
    assert not Paths(NAME).state.exists()


@pytest.mark.smoke
def test_up_starts_what_is_missing_and_keeps_the_rest(mark: str) -> None:
    cluster = handle.up(NAME)
    cluster.kubectl("create", "namespace", "kept")
    for component in ("apiserver", "node1-kubelet", "node1-network-policies", "registry", "node2"):
        cluster.kill(component)

    again = handle.up(NAME)

    assert again.kubectl("get", "namespace", "kept", "-o", "name").strip() == "namespace/kept"
    assert again.exec(["skopeo", "inspect", f"docker://{again.images['base']}"]).returncode == 0
    again.kubectl("wait", "--for=condition=Ready", "node/node1", "node/node2", "--timeout=60s")
    # No pod starts unless its network policies are in force.
    for node in ("node1", "node2"):
        spec = json.dumps({"spec": {"nodeName": node}})
        again.kubectl("run", node, "-n", "kept", f"--image={again.images['pause']}", f"--overrides={spec}")
    again.kubectl("wait", "-n", "kept", "--for=condition=Ready", "pod/node1", "pod/node2", "--timeout=180s")


def test_temporal_keeps_what_it_has_over_a_crash(cluster: Cluster) -> None:
    namespace = f"kept-{secrets.token_hex(4)}"
    address = ["--address", cluster.temporal_in_cluster]
    cluster.exec(["temporal", "operator", "namespace", "create", "--namespace", namespace, *address], check=True)

    cluster.kill("temporal")
    cluster.start("temporal")

    listed = cluster.exec(["temporal", "operator", "namespace", "list", *address], check=True).stdout
    assert namespace in listed


def test_a_node_that_was_switched_off_comes_back_as_another_boot(cluster: Cluster) -> None:
    query = ("get", "node", "node2", "-o", "jsonpath={.status.nodeInfo.bootID}")
    before = cluster.kubectl(*query)

    cluster.stop("node2")
    cluster.start("node2")

    boot = Path(f"/proc/{_init_of(cluster, 'node2')}/root/proc/sys/kernel/random/boot_id").read_text().strip()
    reported = f"--for=jsonpath={{.status.nodeInfo.bootID}}={boot}"
    cluster.kubectl("wait", reported, "node/node2", "--timeout=60s")
    cluster.kubectl("wait", "--for=condition=Ready", "node/node2", "--timeout=60s")
    assert boot != before


def _init_of(cluster: Cluster, node: str) -> str:
    return (cluster.state / "machines" / node / "pid").read_text().strip()
