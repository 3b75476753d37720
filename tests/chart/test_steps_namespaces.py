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


@pytest.fixture(scope="module")
def host_steps(bascule: Cluster) -> Iterator[str]:
    """The same of a tenant that patches nodes."""
    tenant = f"h-{secrets.token_hex(4)}"
    bascule.kubectl("create", "namespace", f"{tenant}-dev")
    command = [str(ROOT / ".venv/bin/bascule"), "tenant", "manifests", tenant, "--namespace", f"{tenant}-dev"]
    manifests = bascule.exec([*command, "--patches-nodes"], check=True).stdout
    bascule.kubectl("apply", "--server-side", "-f", "-", input=manifests)
    yield f"bascule-steps-{tenant}"
    bascule.kubectl("delete", "namespace", f"bascule-steps-{tenant}", f"{tenant}-dev", "--wait=false")


class TestHostProcedures:
    """In the steps namespace of a tenant that patches nodes, where Pod Security lets everything pass."""

    @staticmethod
    def host_job(namespace: str, cluster: Cluster, **labels: str) -> dict[str, Any]:
        document = job(namespace, cluster, "patch", "true")
        template = document["spec"]["template"]
        template["metadata"] = {
            "labels": {"bascule.dev/security-profile": "Host", "bascule.dev/kind": "PatchCampaign"} | labels
        }
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node1"]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        spec = template["spec"]
        spec |= {"hostPID": True, "hostNetwork": True, "automountServiceAccountToken": False}
        spec["affinity"] = {"nodeAffinity": required}
        spec["containers"][0]["securityContext"] = {"privileged": True}
        spec["containers"][0]["volumeMounts"] = [{"name": "host", "mountPath": "/host"}]
        spec["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]
        return document

    def test_the_workers_host_job_has_the_node(self, bascule: Cluster, host_steps: str) -> None:
        assert creation(bascule, self.host_job(host_steps, bascule), *as_user(WORKER)) == ""

    def test_nobody_else_makes_one(self, bascule: Cluster, host_steps: str) -> None:
        said = creation(bascule, self.host_job(host_steps, bascule), *ADMIN)
        assert "only Bascule's worker makes and changes Jobs" in said

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"hostPID": True}, id="the node's processes"),
            pytest.param({"hostNetwork": True}, id="the node's network"),
            pytest.param({"hostIPC": True}, id="the node's shared memory"),
            pytest.param({"volumes": [{"name": "h", "hostPath": {"path": "/etc"}}]}, id="the node's files"),
            pytest.param({"container": {"privileged": True}}, id="a privileged container"),
            pytest.param({"container": {"capabilities": {"add": ["SYS_ADMIN"]}}}, id="more capabilities"),
            pytest.param({"init": {"privileged": True}}, id="a privileged container that runs before"),
            pytest.param({"container": {"seccompProfile": {"type": "Unconfined"}}}, id="no seccomp"),
            pytest.param({"container": {"seLinuxOptions": {"user": "root"}}}, id="another SELinux user"),
            pytest.param({"ports": [{"containerPort": 80, "hostPort": 80}]}, id="a port of the node"),
        ],
    )
    def test_any_other_job_stays_within_baseline(
        self, bascule: Cluster, host_steps: str, change: dict[str, Any]
    ) -> None:
        document = job(host_steps, bascule, "build", "true")
        spec, change = document["spec"]["template"]["spec"], dict(change)
        spec["containers"][0] |= {"securityContext": change.pop("container", {}), "ports": change.pop("ports", [])}
        if before := change.pop("init", None):
            spec["initContainers"] = [{"name": "init", "image": "registry.example.com/x", "securityContext": before}]
        document["spec"]["template"]["spec"] = spec | change
        said = creation(bascule, document, *as_user(WORKER))
        assert "only Jobs of Host Procedures" in said

    def test_nor_does_a_pod_of_the_job_controllers(self, bascule: Cluster, host_steps: str) -> None:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "x", "controller": True}
        document = pod(host_steps, ownerReferences=[owner])
        document["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        said = creation(bascule, document, *as_user(JOB_CONTROLLER, ADMIN_GROUP))
        assert "only Jobs of Host Procedures" in said

    def test_it_is_a_campaigns(self, bascule: Cluster, host_steps: str) -> None:
        document = self.host_job(host_steps, bascule, **{"bascule.dev/kind": "ImageBuild"})
        assert "Host Procedures are for campaigns" in creation(bascule, document, *as_user(WORKER))

    @pytest.mark.parametrize(
        "affinity",
        [
            pytest.param({}, id="none"),
            pytest.param(
                {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}, id="by a label of many"
            ),
            pytest.param(
                {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node1"]}]}, id="any other"
            ),
        ],
    )
    def test_it_is_bound_to_one_node(self, bascule: Cluster, host_steps: str, affinity: dict[str, Any]) -> None:
        document = self.host_job(host_steps, bascule)
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [affinity]}}
        placed = {"nodeAffinity": required} if affinity else {}
        document["spec"]["template"]["spec"]["affinity"] = placed
        said = creation(bascule, document, *as_user(WORKER))
        assert "is bound to one node by its name" in said

    @pytest.mark.parametrize(
        "volume",
        [
            pytest.param({"secret": {"secretName": "r1-credentials-0a1b2c3d4e"}}, id="the run's Secret"),
            pytest.param({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}, id="a token"),
            pytest.param({"configMap": {"name": "r1-source-patch-0a1b2c3d4e"}}, id="a tenant's files"),
        ],
    )
    def test_nothing_of_a_tenant_comes_to_it(self, bascule: Cluster, host_steps: str, volume: dict[str, Any]) -> None:
        document = self.host_job(host_steps, bascule)
        document["spec"]["template"]["spec"]["volumes"].append({"name": "more"} | volume)
        said = creation(bascule, document, *as_user(WORKER))
        assert "no token, no Secret and no file of a tenant" in said

    def test_what_the_platform_puts_there_does(self, bascule: Cluster, host_steps: str) -> None:
        document = self.host_job(host_steps, bascule)
        scripts = {"name": "scripts", "configMap": {"name": "bascule-node-scripts", "optional": True}}
        document["spec"]["template"]["spec"]["volumes"].append(scripts)
        assert creation(bascule, document, *as_user(WORKER)) == ""

    def test_where_no_nodes_are_patched_pod_security_refuses_its_pod(self, bascule: Cluster, steps: str) -> None:
        template = self.host_job(steps, bascule)["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "x", "controller": True}
        document = pod(steps, ownerReferences=[owner], labels=template["metadata"]["labels"])
        document["spec"] = template["spec"]
        said = creation(bascule, document, *as_user(JOB_CONTROLLER, ADMIN_GROUP))
        assert 'violates PodSecurity "baseline' in said
