"""A steps namespace belongs to the worker: what runs there it started, and nobody enters, no administrator either."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hack import installation
from hack.cluster.handle import Cluster
from hack.generated import ROOT
from tests.support.requests import ADMIN_GROUP, WORKER, as_user, creation, refusal

pytestmark = pytest.mark.cluster

ADMIN = as_user("root@example.com", ADMIN_GROUP)
JOB_CONTROLLER = "system:serviceaccount:kube-system:job-controller"


@pytest.fixture(scope="module")
def steps(bascule: Cluster) -> Iterator[str]:
    """A steps namespace as the command line prints it."""
    tenant = f"s-{secrets.token_hex(4)}"
    bascule.kubectl("create", "namespace", f"{tenant}-dev")
    command = [str(ROOT / ".venv/bin/bascule"), "tenant", "manifests", tenant, "--namespace", f"{tenant}-dev"]
    manifests = bascule.exec([*command, "--ca-file", str(bascule.ca_file)], check=True).stdout
    bascule.kubectl("apply", "--server-side", "-f", "-", input=manifests)
    yield f"bascule-steps-{tenant}"
    bascule.kubectl("delete", "namespace", f"bascule-steps-{tenant}", f"{tenant}-dev", "--wait=false")


@pytest.fixture(scope="module")
def running(bascule: Cluster, steps: str) -> str:
    """A step's pod that the worker started; its name."""
    document = job(steps, bascule, "running", "sleep 600")
    bascule.kubectl(*as_user(WORKER), "create", "-f", "-", input=json.dumps(document))
    ready = ["wait", "-n", steps, "pod", "-l", "job-name=running", "--for=condition=Ready", "--timeout=60s"]
    bascule.kubectl("wait", "-n", steps, "job/running", "--for=jsonpath={.status.active}=1", "--timeout=60s")
    bascule.kubectl(*ready)
    return bascule.kubectl("get", "-n", steps, "pod", "-l", "job-name=running", "-o", "name").strip()


def job(namespace: str, cluster: Cluster, name: str, script: str) -> dict[str, Any]:
    image = f"{cluster.registry}/{installation.BASE_IMAGE}"
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": "bascule-step",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "step", "image": image, "command": ["sh", "-c", script]}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 1, "template": {"spec": spec}},
    }


def pod(namespace: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": namespace} | metadata,
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/intruder"}]},
    }


def test_the_worker_and_nobody_else_makes_jobs(bascule: Cluster, steps: str) -> None:
    document = job(steps, bascule, "foreign", "true")
    assert "only Bascule's worker makes and changes Jobs" in creation(bascule, document, *ADMIN)
    assert creation(bascule, document, *as_user(WORKER)) == ""


def test_a_job_of_the_worker_runs_ends_and_is_removed(bascule: Cluster, steps: str) -> None:
    """Scheduler, kubelet, Job controller, its clean-up and the garbage collector are let through."""
    document = job(steps, bascule, "whole-life", "true")
    bascule.kubectl(*as_user(WORKER), "create", "-f", "-", input=json.dumps(document))
    bascule.kubectl("wait", "-n", steps, "job/whole-life", "--for=delete", "--timeout=90s")
    bascule.kubectl("wait", "-n", steps, "pod", "-l", "job-name=whole-life", "--for=delete", "--timeout=60s")


def test_nobody_makes_pods(bascule: Cluster, steps: str) -> None:
    for caller in (ADMIN, as_user(WORKER, ADMIN_GROUP), as_user("system:node:node1", ADMIN_GROUP)):
        assert "comes from a Job of Bascule's worker only" in creation(bascule, pod(steps), *caller)


def test_the_job_controller_makes_pods_of_jobs_only(bascule: Cluster, steps: str) -> None:
    controller = as_user(JOB_CONTROLLER, ADMIN_GROUP)
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x", "controller": True}
    said = creation(bascule, pod(steps, ownerReferences=[owner]), *controller)
    assert "comes from a Job of Bascule's worker only" in said


def test_a_deployment_gets_no_pod(bascule: Cluster, steps: str) -> None:
    bascule.kubectl("create", "deployment", "squatter", "-n", steps, "--image=registry.example.com/x", "--replicas=1")
    failed = "--for=jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].status}=True"
    bascule.kubectl("wait", "-n", steps, "deployment/squatter", failed, "--timeout=60s")
    bascule.kubectl("delete", "deployment", "squatter", "-n", steps)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("exec", "{pod}", "--", "id"), id="exec"),
        pytest.param(("attach", "{pod}"), id="attach"),
        pytest.param(("port-forward", "{pod}", ":8080"), id="port-forward"),
        pytest.param(("get", "--raw", "/api/v1/namespaces/{namespace}/{pods}/proxy/"), id="proxy"),
    ],
)
def test_nobody_enters_a_pod(bascule: Cluster, steps: str, running: str, command: tuple[str, ...]) -> None:
    words = [word.format(pod=running, namespace=steps, pods=running.replace("pod/", "pods/")) for word in command]
    for caller in (ADMIN, as_user("alice", ADMIN_GROUP)):
        where = () if "--raw" in words else ("-n", steps)
        assert "nobody enters a step's pod" in refusal(bascule, *caller, *where, *words)


def test_nobody_adds_a_container_to_a_pod(bascule: Cluster, steps: str, running: str) -> None:
    debugger = {"name": "debugger", "image": "registry.example.com/x", "targetContainerName": "step"}
    body = json.dumps({"spec": {"ephemeralContainers": [debugger]}})
    change = ["patch", "-n", steps, running, "--subresource=ephemeralcontainers", "--type=strategic", "-p", body]
    assert "nobody enters a step's pod" in refusal(bascule, *ADMIN, *change)


def test_nobody_changes_a_pod_or_its_job(bascule: Cluster, steps: str, running: str) -> None:
    image = json.dumps({"spec": {"containers": [{"name": "step", "image": "registry.example.com/other"}]}})
    said = refusal(bascule, *ADMIN, "patch", "-n", steps, running, "-p", image)
    assert "nobody changes a step's pod" in said
    said = refusal(bascule, *ADMIN, "label", "-n", steps, "job/running", "bascule.dev/run=other")
    assert "only Bascule's worker makes and changes Jobs" in said


def test_logs_are_there_to_read(bascule: Cluster, steps: str, running: str) -> None:
    assert refusal(bascule, *ADMIN, "logs", "-n", steps, running) == ""


def test_elsewhere_nothing_of_it_holds(bascule: Cluster, namespace: str) -> None:
    assert creation(bascule, pod(namespace), *ADMIN) == ""


def test_pods_are_held_to_pod_security_baseline(bascule: Cluster, steps: str) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "x", "controller": True}
    document = pod(steps, ownerReferences=[owner])
    document["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    said = creation(bascule, document, *as_user(JOB_CONTROLLER, ADMIN_GROUP))
    assert 'violates PodSecurity "baseline' in said
