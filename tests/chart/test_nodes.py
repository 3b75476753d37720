"""What the worker's right to patch nodes is good for, on a real API server: marks and cordons, and nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from tests.support.requests import ADMIN_GROUP, WORKER, as_user, creation, refusal

pytestmark = pytest.mark.cluster

AS_WORKER = as_user(WORKER)
WITH_ALL_RIGHTS = as_user(WORKER, ADMIN_GROUP)
"""The policy alone is asked: no Role would refuse."""
RUN = "3f1c5a8e-0000-4000-8000-000000000001.1"
MARKS = {"labels": {"bascule.dev/run": RUN, "bascule.dev/cordoned-by": RUN}}
TAINT = {"key": "example.com/x", "effect": "NoSchedule"}


def made(cluster: Cluster, labels: dict[str, str], **spec: Any) -> str:
    name = f"n-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": labels, "annotations": {"example.com/a": "1"}}
    document = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
    cluster.kubectl("create", "-f", "-", input=json.dumps(document))
    return name


@pytest.fixture
def node(bascule: Cluster) -> Iterator[str]:
    name = made(bascule, {"role": "web"})
    yield name
    bascule.kubectl("delete", "node", name, "--wait=false")


def patched(cluster: Cluster, node: str, body: dict[str, Any], *caller: str, dry: bool = True) -> str:
    """What is said against the change."""
    words = ["patch", "node", node, "--type=merge", "-p", json.dumps(body), *(["--dry-run=server"] if dry else [])]
    return refusal(cluster, *caller, *words)


def cordon(metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": metadata or MARKS, "spec": {"unschedulable": True}}


def test_it_marks_cordons_and_gives_back(bascule: Cluster, node: str) -> None:
    told = {"annotations": {"bascule.dev/resource": "acme-dev/web"}}
    assert patched(bascule, node, cordon(MARKS | told), *AS_WORKER, dry=False) == ""
    bare: dict[str, Any] = {"labels": dict.fromkeys(MARKS["labels"]), "annotations": {"bascule.dev/resource": None}}
    assert patched(bascule, node, {"metadata": bare, "spec": {"unschedulable": None}}, *AS_WORKER) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"metadata": {"labels": {"role": "db"}}}, "of a node's labels", id="another label"),
        pytest.param({"metadata": {"labels": {"role": None}}}, "of a node's labels", id="a label taken away"),
        pytest.param({"metadata": {"labels": {"new": "1"}}}, "of a node's labels", id="a new label"),
        pytest.param(
            {"metadata": {"annotations": {"example.com/a": "2"}}}, "of a node's annotations", id="another annotation"
        ),
        pytest.param({"spec": {"taints": [TAINT]}}, "of a node's spec", id="a taint"),
        pytest.param({"spec": {"providerID": "x://1"}}, "of a node's spec", id="a provider's id"),
        pytest.param({"metadata": {"finalizers": ["example.com/x"]}}, "of a node's spec", id="a finalizer"),
        pytest.param(
            {"spec": {"unschedulable": True}}, "only with the label bascule.dev/cordoned-by", id="a cordon unmarked"
        ),
    ],
)
@pytest.mark.parametrize("caller", [AS_WORKER, WITH_ALL_RIGHTS], ids=["with its role", "with all rights"])
def test_it_changes_nothing_else(
    bascule: Cluster, node: str, change: dict[str, Any], words: str, caller: list[str]
) -> None:
    assert words in patched(bascule, node, change, *caller)


def test_what_a_person_cordoned_it_does_not_uncordon(bascule: Cluster, node: str) -> None:
    bascule.kubectl("cordon", node)
    marked = {"metadata": {"labels": {"bascule.dev/run": RUN}}}
    assert patched(bascule, node, marked, *AS_WORKER, dry=False) == ""
    uncordoned = {"metadata": {"labels": {"bascule.dev/run": None}}, "spec": {"unschedulable": None}}
    assert "uncordons only what it cordoned" in patched(bascule, node, uncordoned, *WITH_ALL_RIGHTS)


@pytest.mark.parametrize(
    ("labels", "taints"),
    [
        pytest.param({"node-role.kubernetes.io/control-plane": ""}, [], id="by label"),
        pytest.param({"node-role.kubernetes.io/master": ""}, [], id="by the older label"),
        pytest.param({}, [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}], id="by taint"),
    ],
)
def test_a_node_of_the_control_plane_is_out_of_reach(
    bascule: Cluster, labels: dict[str, str], taints: list[dict[str, str]]
) -> None:
    name = made(bascule, labels, taints=taints)
    said = patched(bascule, name, cordon(), *WITH_ALL_RIGHTS)
    # It became one while a campaign worked on it.
    bascule.kubectl("label", "node", name, *(f"{key}={value}" for key, value in MARKS["labels"].items()))
    bascule.kubectl("cordon", name)
    back = {"metadata": {"labels": dict.fromkeys(MARKS["labels"])}, "spec": {"unschedulable": None}}
    given_back = patched(bascule, name, back, *AS_WORKER)
    bascule.kubectl("delete", "node", name, "--wait=false")
    assert "no node of the control plane" in said
    assert given_back == ""


def test_it_makes_no_node_and_deletes_none(bascule: Cluster, node: str) -> None:
    document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "forged"}}
    assert "makes and deletes no node" in creation(bascule, document, *WITH_ALL_RIGHTS)
    assert "makes and deletes no node" in refusal(bascule, *WITH_ALL_RIGHTS, "delete", "node", node, "--dry-run=server")
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    words = ["patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps(status)]
    assert "writes no status" in refusal(bascule, *WITH_ALL_RIGHTS, *words, "--dry-run=server")
    assert "forbidden" in refusal(bascule, *AS_WORKER, *words, "--dry-run=server")


def test_who_is_not_the_worker_is_not_meant(bascule: Cluster, node: str) -> None:
    admin = as_user("root@example.com", ADMIN_GROUP)
    assert patched(bascule, node, {"spec": {"taints": [TAINT]}}, *admin) == ""


@pytest.mark.parametrize(
    ("verb", "resource", "may"),
    [
        pytest.param("patch", "nodes", True, id="patches nodes"),
        pytest.param("update", "nodes", False, id="replaces none"),
        pytest.param("list", "pods", True, id="sees pods"),
        pytest.param("delete", "pods", False, id="deletes none"),
        pytest.param("create", "pods/eviction", True, id="evicts pods"),
        pytest.param("get", "secrets", False, id="reads no Secret of others"),
        pytest.param("create", "nodes/proxy", False, id="talks to no kubelet"),
    ],
)
def test_its_role_all_over_the_cluster(bascule: Cluster, verb: str, resource: str, may: bool) -> None:
    whole, _, part = resource.partition("/")
    asked = ["kubectl", "auth", "can-i", verb, whole, *([f"--subresource={part}"] if part else []), "-A", *AS_WORKER]
    said = bascule.exec(asked).stdout
    assert said.strip().startswith("yes" if may else "no")


def test_where_no_nodes_are_patched_it_has_no_right_to_any(render: Any) -> None:
    found = {document["metadata"]["name"] for document in render("worker.patchesNodes=false")}
    assert "bascule-worker-nodes" not in found
    assert "bascule-worker-nodes" in {document["metadata"]["name"] for document in render()}
