"""What the worker's rights for drills are good for, on a real API server: namespaces of drills, and nothing else."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from tests.support.drill_manifests import Json, deployment, job, spoiled
from tests.support.requests import ADMIN_GROUP, OPERATOR, WORKER, as_user, creation, refusal

pytestmark = pytest.mark.cluster

AS_WORKER = as_user(WORKER)
WITH_ALL_RIGHTS = as_user(WORKER, ADMIN_GROUP)
"""The policy alone is asked: no Role would refuse."""
ADMIN = as_user("root@example.com", ADMIN_GROUP)
RUN = "3f1c5a8e-0000-4000-8000-000000000001.1"
LABELS = {
    "bascule.dev/drill-of": "acme",
    "bascule.dev/tenant": "acme",
    "bascule.dev/run": RUN,
    "pod-security.kubernetes.io/enforce": "baseline",
}
SUBJECT = {"kind": "ServiceAccount", "name": "bascule-worker", "namespace": "bascule-system"}
RBAC = "rbac.authorization.k8s.io"


def space(name: str, **labels: str | None) -> Json:
    chosen = {key: value for key, value in {**LABELS, **labels}.items() if value is not None}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": chosen}}


def binding(namespace: str, role: str = "bascule-drill", kind: str = "ClusterRole", **subject: str) -> Json:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "bascule-drill", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [SUBJECT | subject],
    }


@pytest.fixture
def drill(bascule: Cluster) -> Iterator[str]:
    """A drill's namespace, made by the worker's identity, which has its rights there."""
    name = f"bascule-drill-{secrets.token_hex(10)}"
    bascule.kubectl(*AS_WORKER, "create", "-f", "-", input=json.dumps(space(name)))
    bascule.kubectl(*AS_WORKER, "create", "-f", "-", input=json.dumps(binding(name)))
    yield name
    bascule.kubectl(*AS_WORKER, "delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(space("drill-x"), id="another name"),
        pytest.param(space("bascule-drill-x", **{"bascule.dev/drill-of": None}), id="without drill-of"),
        pytest.param(space("bascule-drill-x", **{"bascule.dev/run": None}), id="without its run"),
        pytest.param(space("bascule-drill-x", **{"bascule.dev/tenant": "other"}), id="of two tenants"),
        pytest.param(space("bascule-drill-x", **{"bascule.dev/steps-of": "acme"}), id="that is a steps namespace too"),
        pytest.param(space("bascule-drill-x", **{"pod-security.kubernetes.io/enforce": "privileged"}), id="privileged"),
        pytest.param(space("bascule-drill-x", **{"pod-security.kubernetes.io/enforce": None}), id="without a level"),
    ],
)
@pytest.mark.parametrize("caller", [AS_WORKER, WITH_ALL_RIGHTS], ids=["with its role", "with all rights"])
def test_it_makes_no_other_namespace(bascule: Cluster, document: Json, caller: list[str]) -> None:
    assert "makes namespaces of drills only" in creation(bascule, document, *caller)


def test_nobody_else_makes_a_drills_namespace(bascule: Cluster) -> None:
    for caller in (ADMIN, as_user(OPERATOR, ADMIN_GROUP)):
        assert "only Bascule's worker" in creation(bascule, space("bascule-drill-x"), *caller)


def test_it_deletes_no_other_namespace_and_changes_none(bascule: Cluster, namespace: str, drill: str) -> None:
    for caller in (AS_WORKER, WITH_ALL_RIGHTS):
        said = refusal(bascule, *caller, "delete", "namespace", namespace, "--dry-run=server")
        assert "deletes namespaces of drills only" in said
    for name in (namespace, drill):
        assert "changes none" in refusal(bascule, *WITH_ALL_RIGHTS, "label", "namespace", name, "a=b")
        assert "forbidden" in refusal(bascule, *AS_WORKER, "label", "namespace", name, "a=b")
    assert refusal(bascule, *AS_WORKER, "delete", "namespace", drill, "--dry-run=server") == ""


@pytest.mark.parametrize("label", ["bascule.dev/drill-of", "bascule.dev/run", "bascule.dev/tenant"])
def test_the_labels_by_which_a_drill_is_known_cannot_be_changed(bascule: Cluster, drill: str, label: str) -> None:
    assert "cannot be changed" in refusal(bascule, *ADMIN, "label", "namespace", drill, f"{label}=x", "--overwrite")
    assert "cannot be changed" in refusal(bascule, *ADMIN, "label", "namespace", drill, f"{label}-")


def test_no_live_namespace_becomes_a_drills(bascule: Cluster, namespace: str) -> None:
    """Whoever could do that could have it deleted."""
    said = refusal(bascule, *ADMIN, "label", "namespace", namespace, "bascule.dev/drill-of=acme")
    assert "cannot be changed" in said
    assert refusal(bascule, *ADMIN, "label", "namespace", namespace, "team=db") == ""


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({"role": "cluster-admin"}, id="another role"),
        pytest.param({"kind": "Role"}, id="a Role of the namespace"),
        pytest.param({"name": "default"}, id="another account"),
        pytest.param({"namespace": "default"}, id="an account of that name elsewhere"),
    ],
)
def test_it_binds_nothing_else(bascule: Cluster, drill: str, made: dict[str, str]) -> None:
    subject = {key: value for key, value in made.items() if key in ("name", "namespace")}
    role = {key: value for key, value in made.items() if key in ("role", "kind")}
    document = binding(drill, **role, **subject) if role else _with_subject(drill, subject)
    document["metadata"]["name"] = "forged"
    assert "binds itself to bascule-drill" in creation(bascule, document, *WITH_ALL_RIGHTS)
    assert creation(bascule, document, *AS_WORKER) != ""


def _with_subject(namespace: str, subject: dict[str, str]) -> Json:
    document = binding(namespace)
    document["subjects"] = [SUBJECT | subject]
    return document


def test_it_binds_nowhere_else(bascule: Cluster, namespace: str) -> None:
    for caller in (AS_WORKER, WITH_ALL_RIGHTS):
        assert "in namespaces of drills only" in creation(bascule, binding(namespace), *caller)
    document = binding(namespace) | {"kind": "ClusterRoleBinding", "metadata": {"name": "forged"}}
    assert "in namespaces of drills only" in creation(bascule, document, *WITH_ALL_RIGHTS)


@pytest.mark.parametrize(
    ("verb", "resource", "may"),
    [
        pytest.param("create", "deployments.apps", True, id="makes Deployments"),
        pytest.param("patch", "networkpolicies.networking.k8s.io", True, id="isolates"),
        pytest.param("create", "jobs.batch", True, id="runs Jobs"),
        pytest.param("get", "pods/log", True, id="reads logs"),
        pytest.param("create", "pods", False, id="makes no pod itself"),
        pytest.param("create", "pods/exec", False, id="enters none"),
        pytest.param("create", "roles.rbac.authorization.k8s.io", False, id="makes no Role"),
        pytest.param("create", "ingresses.networking.k8s.io", False, id="opens nothing"),
        pytest.param("create", "serviceaccounts/token", False, id="makes no token"),
    ],
)
def test_its_rights_in_a_drills_namespace_and_outside_of_it(
    bascule: Cluster, drill: str, namespace: str, verb: str, resource: str, may: bool
) -> None:
    assert _can(bascule, drill, verb, resource) is may
    assert not _can(bascule, namespace, verb, resource)


def _can(cluster: Cluster, namespace: str, verb: str, resource: str) -> bool:
    whole, _, part = resource.partition("/")
    asked = ["kubectl", "auth", "can-i", verb, whole, *([f"--subresource={part}"] if part else []), "-n", namespace]
    return cluster.exec([*asked, *AS_WORKER]).stdout.strip().startswith("yes")


def test_who_may_do_everything_in_the_tenants_namespace_may_do_nothing_in_its_drills(
    bascule: Cluster, drill: str, namespace: str
) -> None:
    user = "dev@acme.example.com"
    bascule.kubectl("create", "rolebinding", "dev", "--clusterrole=admin", f"--user={user}", "-n", namespace)

    def may(verb: str, resource: str, place: str) -> bool:
        whole, _, part = resource.partition("/")
        asked = ["kubectl", "auth", "can-i", verb, whole, *([f"--subresource={part}"] if part else []), "-n", place]
        return bascule.exec([*asked, *as_user(user)]).stdout.strip().startswith("yes")

    for verb, resource in (
        ("create", "pods/exec"),
        ("get", "secrets"),
        ("get", "pods"),
        ("create", "deployments.apps"),
    ):
        assert may(verb, resource, namespace)
        assert not may(verb, resource, drill)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "open"},
                "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
            },
            id="a way out",
        ),
        pytest.param(binding("", name="someone"), id="a RoleBinding"),
        pytest.param(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "more"},
                "spec": {"hard": {"pods": "1"}},
            },
            id="a quota",
        ),
    ],
)
def test_nobody_else_furnishes_a_drills_namespace(bascule: Cluster, drill: str, document: Json) -> None:
    made = spoiled(document, "metadata.namespace", drill)
    assert "made by Bascule's worker only" in creation(bascule, made, *ADMIN)


EGRESS = {"bascule.dev/egress": "restore"}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(spoiled(job(), "metadata.labels", EGRESS), id="a Job"),
        pytest.param(spoiled(job(), "spec.template.metadata", {"labels": EGRESS}), id="a Job's pods"),
        pytest.param(
            spoiled(deployment(), "spec.template.metadata.labels", {"app": "web", **EGRESS}), id="a Deployment's pods"
        ),
        pytest.param(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "out", "labels": EGRESS},
                "spec": {"containers": [{"name": "a", "image": "b"}]},
            },
            id="a pod",
        ),
    ],
)
def test_nobody_else_lets_a_pod_out(bascule: Cluster, drill: str, document: Json) -> None:
    made = spoiled(document, "metadata.namespace", drill)
    assert "bascule.dev" in creation(bascule, made, *ADMIN)
    plain = json.loads(json.dumps(made).replace("bascule.dev/egress", "example.com/egress"))
    assert creation(bascule, plain, *ADMIN) == "", "what has no label of ours is not meant"


def test_where_there_are_no_drills_it_has_none_of_these_rights(render: Any) -> None:
    def drills(*values: str) -> set[str]:
        found = {document["metadata"]["name"] for document in render(*values)}
        return {name for name in found if name.startswith("bascule-drill") or name == "bascule-worker-drills"}

    assert drills() == set()
    assert {"bascule-drill", "bascule-worker-drills", "bascule-drill-namespaces"} <= drills("drills.enabled=true")


def test_without_the_policies_there_are_no_drills(render: Any) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="helm") as caught:
        render("drills.enabled=true", "admission.enabled=false")
    assert "drills.enabled needs admission.enabled" in caught.value.stderr
