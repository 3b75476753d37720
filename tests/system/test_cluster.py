"""The cluster that everything else runs on keeps its promises."""

from __future__ import annotations

import json
import secrets
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import addresses
from hack.cluster.handle import Cluster

pytestmark = pytest.mark.cluster

IMAGE = f"{addresses.REGISTRY}/library/debian:bookworm"
MARK = Path("/var/tmp/bascule-mark-of-the-host")
RunPod = Callable[..., str]


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"cluster-test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def run_pod(cluster: Cluster, namespace: str) -> RunPod:
    """Runs a pod to its end and returns what it printed."""

    def run(script: str, *, image: str = IMAGE, **spec: Any) -> str:
        name = f"pod-{secrets.token_hex(4)}"
        container = {"name": "main", "image": image, "command": ["bash", "-ec", textwrap.dedent(script)]}
        container |= spec.pop("container", {})
        body = {"restartPolicy": "Never", "containers": [container]} | spec
        apply(cluster, namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})
        wait_for_phase(cluster, namespace, name)
        return cluster.kubectl("logs", "-n", namespace, name)

    return run


def apply(cluster: Cluster, namespace: str, *documents: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input="\n---\n".join(map(json.dumps, documents)))


def wait_for_phase(cluster: Cluster, namespace: str, name: str) -> None:
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", "-n", namespace, phase, f"pod/{name}", "--timeout=90s")


@pytest.mark.smoke
def test_two_nodes_in_two_zones_are_ready(cluster: Cluster) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]

    zones = {node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    boots = {node["status"]["nodeInfo"]["bootID"] for node in nodes}
    assert zones == {"node1": "zone-a", "node2": "zone-b"}
    assert len(boots) == 2
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() not in boots


@pytest.mark.parametrize("node", addresses.NODES)
def test_a_hostpath_pod_reaches_only_its_nodes_root(cluster: Cluster, run_pod: RunPod, node: str) -> None:
    MARK.write_text("the host's\n")
    try:
        seen = run_pod(
            f"""
            cat /host/etc/hostname
            test ! -e /host{MARK} && echo no mark
            touch /host/written-by-a-pod
            test ! -b /host/dev/vda && test ! -b /host/dev/sda && echo no disk
            ls /host/sys/fs/cgroup/*/ -d | wc -l
            find /host/sys/fs/cgroup -maxdepth 2 -name 'bascule-*' | wc -l
            """,
            nodeName=node,
            volumes=[{"name": "root", "hostPath": {"path": "/"}}],
            container={"volumeMounts": [{"name": "root", "mountPath": "/host"}]},
        )
    finally:
        MARK.unlink()

    lines = seen.split("\n")
    assert lines[:3] == [node, "no mark", "no disk"]
    assert lines[4] == "0", "a node's control groups begin at its own"
    assert not Path("/written-by-a-pod").exists()
    assert (cluster.state / "machines" / node / "upper" / "written-by-a-pod").exists()


def test_a_service_is_reached_by_name_from_both_nodes(cluster: Cluster, run_pod: RunPod, namespace: str) -> None:
    # Bash can connect but not listen; the operator's image has Python.
    server = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "labels": {"app": "server"}},
        "spec": {
            "nodeName": "node1",
            "containers": [
                {
                    "name": "main",
                    "image": cluster.images["operator"],
                    "command": ["python3", "-m", "http.server", "8000", "--directory", "/etc"],
                    "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8000}, "periodSeconds": 1},
                }
            ],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    apply(cluster, namespace, server, service)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/server", "--timeout=120s")

    fetch = f"""
        exec 3<>/dev/tcp/web.{namespace}.svc.cluster.local/80
        printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' >&3
        tail -n 1 <&3
    """
    for node in addresses.NODES:
        assert run_pod(fetch, nodeName=node).strip() == "server"


def test_pods_resolve_our_servers_and_nothing_that_does_not_exist(run_pod: RunPod) -> None:
    names = " ".join(addresses.SERVICE_HOSTS)

    seen = run_pod(f"getent ahostsv4 {names.split()[0]}; getent hosts {names}; getent hosts example.com || echo $?")

    assert seen.count(addresses.CONTROL) >= len(addresses.SERVICE_HOSTS)
    assert seen.endswith("\n2\n"), "an unknown name is answered at once, as unknown"


def test_the_registry_is_trusted_by_nodes_through_the_private_authority(cluster: Cluster, run_pod: RunPod) -> None:
    tag = secrets.token_hex(4)
    copy = f"{addresses.REGISTRY}/copies/debian:{tag}"
    cluster.exec(["skopeo", "copy", f"docker://{IMAGE}", f"docker://{copy}"], check=True)

    seen = run_pod("echo pulled", image=copy, container={"imagePullPolicy": "Always"})

    assert seen == "pulled\n"


def test_the_private_registry_wants_the_tenants_password(cluster: Cluster, run_pod: RunPod, namespace: str) -> None:
    private = f"{addresses.PRIVATE_REGISTRY}/copies/debian:bookworm"
    credentials = f"{addresses.TENANT_USER}:{addresses.TENANT_PASSWORD}"

    refused = cluster.exec(["skopeo", "inspect", f"docker://{private}"])
    cluster.exec(
        ["skopeo", "copy", "--dest-creds", credentials, f"docker://{IMAGE}", f"docker://{private}"], check=True
    )
    server = f"--docker-server={addresses.PRIVATE_REGISTRY}"
    user, password = f"--docker-username={addresses.TENANT_USER}", f"--docker-password={addresses.TENANT_PASSWORD}"
    cluster.kubectl("create", "secret", "docker-registry", "pull", "-n", namespace, server, user, password)
    seen = run_pod("echo pulled", image=private, imagePullSecrets=[{"name": "pull"}])

    assert "authentication required" in refused.stderr
    assert seen == "pulled\n"


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
def test_git_serves_commits_by_their_id(cluster: Cluster, tmp_path: Path, private: bool) -> None:
    name, source, clone = f"repository-{secrets.token_hex(4)}", tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    (source / "Containerfile").write_text("FROM scratch\n")
    url = cluster.make_git_repository(name, source, private=private)
    (source / "Containerfile").write_text("FROM something-else\n")
    cluster.make_git_repository(name, source, private=private)
    with_password = url.replace("https://", f"https://{addresses.TENANT_USER}:{addresses.TENANT_PASSWORD}@")

    log = cluster.exec(["git", "--git-dir", f"{cluster.state}/git/{'private/' if private else ''}{name}.git",
                        "log", "--format=%H", "main"], check=True).stdout.split()  # fmt: skip
    cluster.exec(["git", "init", "--quiet", str(clone)], check=True)
    cluster.exec(["git", "-C", str(clone), "fetch", "--quiet", "--depth=1", with_password, log[1]], check=True)
    cluster.exec(["git", "-C", str(clone), "checkout", "--quiet", "FETCH_HEAD"], check=True)
    quiet = {"GIT_TERMINAL_PROMPT": "0"}

    assert len(log) == 2
    assert (clone / "Containerfile").read_text() == "FROM scratch\n"
    assert (cluster.exec(["git", "ls-remote", url], env=quiet).returncode == 0) is not private


def test_the_audit_log_has_writes_and_no_reads(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("get", "pods", "-n", namespace)
    entries = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]

    verbs = {entry["verb"] for entry in entries}
    created = [e for e in entries if e["verb"] == "create" and e.get("objectRef", {}).get("name") == namespace]
    assert not verbs & {"get", "list", "watch"}
    assert len(created) == 1


AWKWARD = ["plain", "two words", "trailing newline\n\n", "'\"`$(id)${HOME}{{.x}}\\", "--flag", "", "*", "x", "\n"]


@pytest.mark.parametrize("image", ["with a shell", "without one"])
def test_the_runner_passes_every_word_byte_for_byte(
    cluster: Cluster, run_pod: RunPod, namespace: str, image: str
) -> None:
    show = "/usr/bin/printf" if image == "with a shell" else "/runner/busybox"
    words = [show, "<%s>", *AWKWARD] if image == "with a shell" else [show, "printf", "<%s>", *AWKWARD]
    data = {f"w{number}": word for number, word in enumerate(words)}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": data}
    apply(cluster, namespace, config)
    items = [{"key": f"w{number}", "path": f"command/{number}"} for number in range(len(words))]
    mounts = [{"name": "runner", "mountPath": "/bascule/runner"}, {"name": "params", "mountPath": "/bascule/params"}]

    seen = run_pod(
        "",
        image=IMAGE if image == "with a shell" else cluster.images["test-runner"],
        initContainers=[
            {
                "name": "runner",
                "image": cluster.images["test-runner"],
                "command": ["/runner/busybox", "cp", "-a", "/runner/.", "/bascule/runner/"],
                "volumeMounts": mounts[:1],
            }
        ],
        container={
            "command": ["/bascule/runner/run"],
            "env": [{"name": "BASCULE_PARAMS_DIR", "value": "/bascule/params"}],
            "volumeMounts": mounts,
        },
        volumes=[
            {"name": "runner", "emptyDir": {}},
            {"name": "params", "configMap": {"name": "words", "items": items}},
        ],
        securityContext={"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
    )

    assert seen == "".join(f"<{word}>" for word in AWKWARD)
