"""Fake nodes: there when they are asked for, with pods that run and end, and gone without a trace."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster

# One process: they share KWOK, and look whether it ends.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

FAKE, BROKEN = "fake-test", "broken-test"


@pytest.fixture
def fleet(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    for prefix in (FAKE, BROKEN):
        cluster.remove_fake_nodes(prefix)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"fake-nodes-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def job(cluster: Cluster, namespace: str, node: str) -> None:
    """A Job for that node, which bears every taint, as a step at a node does."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]}}
    pod = {
        "restartPolicy": "Never",
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": affinity},
        "containers": [{"name": "step", "image": "registry.example.com/step:1"}],
    }
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": node, "namespace": namespace},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(document))


def nodes(cluster: Cluster, prefix: str) -> list[dict[str, Any]]:
    selector = f"bascule.test/fake={prefix}"
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "nodes", "-l", selector, "-o", "json"))["items"]
    return found


def test_they_are_ready_and_labelled_and_spread_over_the_zones(fleet: Cluster) -> None:
    names = fleet.add_fake_nodes(100, {"role": "web"}, ["a", "b"], prefix=FAKE)

    found = nodes(fleet, FAKE)

    assert sorted(node["metadata"]["name"] for node in found) == names
    assert {node["metadata"]["labels"]["role"] for node in found} == {"web"}
    zones = Counter(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in found)
    assert zones == {"a": 50, "b": 50}
    assert len({node["status"]["nodeInfo"]["bootID"] for node in found}) == 100
    lease = fleet.kubectl(
        "get", "lease", names[0], "-n", "kube-node-lease", "-o", "jsonpath={.spec.leaseDurationSeconds}"
    )
    assert lease == "600"


def test_jobs_on_them_succeed_and_on_broken_ones_fail_with_a_steps_report(fleet: Cluster, namespace: str) -> None:
    (sound, *_) = fleet.add_fake_nodes(3, prefix=FAKE)
    (broken,) = fleet.add_fake_nodes(1, prefix=BROKEN)

    job(fleet, namespace, sound)
    job(fleet, namespace, broken)
    fleet.kubectl("wait", "-n", namespace, "--for=condition=Complete", f"job/{sound}", "--timeout=180s")
    fleet.kubectl("wait", "-n", namespace, "--for=condition=Failed", f"job/{broken}", "--timeout=180s")

    query = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.%s}"
    pod = ("get", "pods", "-n", namespace, "-o")
    message = json.loads(fleet.kubectl(*pod, query % "message", "-l", f"job-name={sound}"))
    assert message == {"results": {"rebootRequired": "false"}, "message": "done on a fake node"}
    assert fleet.kubectl(*pod, query % "exitCode", "-l", f"job-name={broken}") == "10"


def test_pods_that_do_not_ask_for_them_stay_on_real_nodes(fleet: Cluster, namespace: str) -> None:
    fleet.add_fake_nodes(20, prefix=FAKE)

    image = fleet.images["base"]
    fleet.kubectl("run", "real", "-n", namespace, f"--image={image}", "--restart=Never", "--", "true")
    fleet.kubectl("wait", "-n", namespace, "--for=condition=PodScheduled", "pod/real", "--timeout=120s")

    node = fleet.kubectl("get", "pod", "real", "-n", namespace, "-o", "jsonpath={.spec.nodeName}")
    assert node in ("node1", "node2")


def test_with_the_last_of_them_kwok_ends_and_real_nodes_are_watched_closely_again(fleet: Cluster) -> None:
    fleet.add_fake_nodes(2, prefix=FAKE)
    fleet.add_fake_nodes(1, prefix=BROKEN)

    fleet.remove_fake_nodes(FAKE)
    assert nodes(fleet, FAKE) == []
    assert len(nodes(fleet, BROKEN)) == 1
    fleet.remove_fake_nodes(BROKEN)

    controller_manager = (fleet.state / "pids" / "controller-manager").read_text().strip()
    command = fleet.exec(["cat", f"/proc/{controller_manager}/cmdline"], check=True).stdout
    assert nodes(fleet, BROKEN) == []
    assert "node-monitor-grace-period" not in command
    assert not (fleet.state / "config/kwok.yaml").exists()
