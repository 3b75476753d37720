"""A node reboots: asked from outside, and by itself from within, as a patched machine does."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from hack.cluster.addresses import REGISTRY
from hack.cluster.debian_archive import DebianPackage
from hack.cluster.handle import Cluster
from tests.support.host_steps import Platform

pytestmark = pytest.mark.cluster

IMAGE = f"{REGISTRY}/library/debian:bookworm"
NODE = "node2"
ON_THE_HOST = ["nsenter", "--target", "1", "--mount", "--uts", "--ipc", "--net", "--"]
PATIENCE = 180.0


@dataclass(frozen=True)
class Pods:
    """Privileged pods on the node, in a namespace of the test's own."""

    cluster: Cluster
    namespace: str

    def make(self, name: str, command: list[str], *, restarts: bool = False, processes: bool = False) -> None:
        """A pod with the node's root at /host; `processes`: and with the node's processes."""
        container = {
            "name": "main",
            "image": IMAGE,
            "command": command,
            "securityContext": {"privileged": True},
            "volumeMounts": [{"name": "root", "mountPath": "/host"}],
        }
        spec = {
            "nodeName": NODE,
            "hostPID": processes,
            "restartPolicy": "Always" if restarts else "Never",
            "containers": [container],
            "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        }
        metadata = {"name": name, "namespace": self.namespace}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(document))

    def status(self, name: str, path: str) -> str:
        return self.cluster.kubectl("get", "pod", name, "-n", self.namespace, "-o", f"jsonpath={{.status.{path}}}")

    def phase(self, name: str) -> str:
        return self.status(name, "phase")

    def restarts(self, name: str) -> str:
        return self.status(name, "containerStatuses[0].restartCount")


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Pods]:
    namespace = f"reboots-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    yield Pods(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def eventually(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"after {PATIENCE:.0f} s: {what}"
        time.sleep(0.3)


def boot_id(cluster: Cluster) -> str:
    """The node's boot id as the API server has it."""
    return cluster.kubectl("get", "node", NODE, "-o", "jsonpath={.status.nodeInfo.bootID}")


def is_ready(cluster: Cluster) -> bool:
    query = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return cluster.kubectl("get", "node", NODE, "-o", query) == "True"


def on_node(cluster: Cluster, *words: str) -> str:
    return cluster.on_node(NODE, words, check=True).stdout.strip()


@pytest.fixture
def bystander(pods: Pods) -> str:
    """A pod that runs on the node and has nothing to do with it."""
    pods.make("bystander", ["sleep", "infinity"], restarts=True)
    eventually("the bystander runs", lambda: pods.phase("bystander") == "Running")
    return "bystander"


def test_a_node_that_is_rebooted_is_ready_with_another_boot_id_and_its_containers_start_anew(
    cluster: Cluster, pods: Pods, bystander: str
) -> None:
    before = boot_id(cluster)

    cluster.reboot(NODE)

    assert boot_id(cluster) not in ("", before)
    eventually("its container was started again", lambda: pods.restarts(bystander) == "1")


@pytest.mark.parametrize(
    ("command", "processes"),
    [
        pytest.param([*ON_THE_HOST, "reboot"], True, id="by the command in its namespaces"),
        pytest.param(["chroot", "/host", "reboot"], False, id="by the command in its root"),
        pytest.param([*ON_THE_HOST, "reboot", "-f"], True, id="at once, by the kernel"),
    ],
)
def test_a_node_reboots_because_a_pod_on_it_asks(
    cluster: Cluster, pods: Pods, bystander: str, command: list[str], processes: bool
) -> None:
    before = boot_id(cluster)
    on_node(cluster, "sh", "-c", "echo kept >/var/tmp/kept; echo lost >/run/lost")

    pods.make("asks", command, processes=processes)

    eventually("the API server knows another boot id", lambda: boot_id(cluster) != before)
    eventually("the node is Ready", lambda: is_ready(cluster))
    eventually("its container was started again", lambda: pods.restarts(bystander) == "1")
    eventually("the pod that asked has ended", lambda: pods.phase("asks") in ("Succeeded", "Failed"))
    assert on_node(cluster, "cat", "/var/tmp/kept") == "kept"
    assert on_node(cluster, "sh", "-c", "cat /run/lost || echo gone") == "gone"
    assert on_node(cluster, "cat", "/proc/sys/kernel/random/boot_id") == boot_id(cluster)


def test_a_pod_without_the_nodes_processes_reboots_nothing_but_itself(cluster: Cluster, pods: Pods) -> None:
    before = boot_id(cluster)

    pods.make("alone", ["chroot", "/host", "busybox", "reboot", "-f"])

    eventually("the pod ended", lambda: pods.phase("alone") in ("Succeeded", "Failed"))
    assert on_node(cluster, "cat", "/proc/sys/kernel/random/boot_id") == before


@pytest.fixture
def steps(cluster: Cluster, pods: Pods) -> Platform:
    return Platform(cluster.refresh_images(), pods.namespace)


def wait_for_another_boot(cluster: Cluster, before: str) -> None:
    eventually("the API server knows another boot id", lambda: boot_id(cluster) != before)
    eventually("the node is Ready", lambda: is_ready(cluster))


def test_the_procedure_node_reboot_reboots_once_in_a_run(cluster: Cluster, steps: Platform) -> None:
    before = boot_id(cluster)
    step = steps.step("node-reboot", NODE, f"{secrets.token_hex(16)}/1")

    attempt = step.start()
    wait_for_another_boot(cluster, before)
    first, after = attempt.outcome(), boot_id(cluster)
    again = step.carried_out()

    assert first in ("Succeeded", "Failed")
    assert (again.code, again.message, dict(again.results)) == (0, "rebooted already", {"rebootRequired": "true"})
    assert on_node(cluster, "cat", "/proc/sys/kernel/random/boot_id") == after


@pytest.mark.parametrize("name", ["canary", "linux-image"], ids=["a package that says so", "another kernel"])
def test_an_upgrade_that_needs_a_reboot_asks_for_it_once(cluster: Cluster, steps: Platform, name: str) -> None:
    package, run = f"{name}-{secrets.token_hex(4)}", f"{secrets.token_hex(16)}/1"
    cluster.install_package(NODE, DebianPackage(package, "1.0"))
    cluster.publish_package(DebianPackage(package, "1.1", needs_reboot=name == "canary"), security=True)
    before = boot_id(cluster)
    step = steps.step("apt-upgrade", NODE, run, packages=[package])

    attempt = step.start()
    wait_for_another_boot(cluster, before)
    attempt.outcome()
    after = boot_id(cluster)
    again = step.carried_out()
    other_run = steps.step("apt-upgrade", NODE, f"{secrets.token_hex(16)}/1", packages=[package]).carried_out()

    assert (again.code, again.results["rebootRequired"]) == (0, "true"), again.log
    assert "rebooted already" in again.message
    assert again.results["changes"] == f"{package} 1.0 → 1.1"
    assert (other_run.code, other_run.results["rebootRequired"]) == (0, "false"), other_run.log
    assert on_node(cluster, "cat", "/proc/sys/kernel/random/boot_id") == after
    cluster.on_node(NODE, ["dpkg", "--purge", package])
    for version in ("1.0", "1.1"):
        cluster.withdraw_package(package, version)
