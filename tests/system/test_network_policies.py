"""NetworkPolicies are enforced, between pods of one node and of two, and towards everything that is no pod."""

from __future__ import annotations

import json
import secrets
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import addresses
from hack.cluster.handle import Cluster
from hack.cluster.network_policies.rules import Surroundings, rules_of
from tests.support.policies import CLIENT, EVERY_FORM, NAMESPACES, PODS, SERVER, in_namespace, only_home_and_dns, policy

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

IMAGE = f"{addresses.REGISTRY}/library/debian:bookworm"
PATIENCE = 120.0
# What is refused stays silent, so that only patience tells; what is allowed has as long on a machine that is busy.
_PROBE = """
    probe() {{
        if timeout {seconds} bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi
    }}
    ask() {{ if timeout {seconds} getent hosts "$2" >/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }}
    {lines}
    wait
"""
Reached = dict[str, bool]


@dataclass(frozen=True)
class Field:
    """Two namespaces. `home` has a client on node1 and a server on each node, `other` has the same."""

    cluster: Cluster
    home: str
    other: str

    def apply(self, *documents: Mapping[str, Any]) -> None:
        self.cluster.kubectl("apply", "-f", "-", input="\n---\n".join(map(json.dumps, documents)))

    def withdraw(self, namespace: str) -> None:
        self.cluster.kubectl("delete", "networkpolicies", "-n", namespace, "--all")

    def address(self, namespace: str, pod: str) -> str:
        return self.cluster.kubectl("get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.podIP}")

    def reached(self, namespace: str, wanted: Mapping[str, tuple[str, int]], seconds: int = 8) -> Reached:
        """Let a namespace's client try everything at once; port 0: whether a name is resolved."""
        lines = [
            f"ask {what} {host} &" if not port else f"probe {what} {host} {port} &"
            for what, (host, port) in wanted.items()
        ]
        script = textwrap.dedent(_PROBE).format(seconds=seconds, lines="\n".join(lines))
        said = self.cluster.kubectl("exec", "-n", namespace, "client", "--", "bash", "-c", script)
        return {what: answer == "yes" for what, answer in (line.split() for line in said.splitlines())}

    def settles(self, namespace: str, wanted: Mapping[str, tuple[str, int]], expected: Reached) -> None:
        """Wait until a client reaches exactly what it is to reach."""
        deadline = time.monotonic() + PATIENCE
        while (seen := self.reached(namespace, wanted)) != expected and time.monotonic() < deadline:
            time.sleep(0.5)
        assert seen == expected

    def everywhere(self) -> dict[str, tuple[str, int]]:
        """What a client of `home` can try to reach."""
        return {
            "home-same-node": (self.address(self.home, "near"), 8000),
            "home-other-node": (self.address(self.home, "far"), 8000),
            "home-service": (f"web.{self.home}.svc.cluster.local", 80),
            "dns": (f"web.{self.other}.svc.cluster.local", 0),
            "other-same-node": (self.address(self.other, "near"), 8000),
            "other-other-node": (self.address(self.other, "far"), 8000),
            "other-service": (self.service(self.other), 80),
            "own-node": (addresses.NODES["node1"].address, 10250),
            "gateway": (addresses.nth_address(addresses.NODES["node1"].pods, 1), 10250),
            "other-node": (addresses.NODES["node2"].address, 10250),
            "api-server": (addresses.CONTROL, addresses.API_PORT),
            "kubernetes-service": (addresses.KUBERNETES_SERVICE, 443),
            "registry": (addresses.CONTROL, addresses.REGISTRY_PORT),
        }

    def service(self, namespace: str) -> str:
        return self.cluster.kubectl("get", "service", "-n", namespace, "web", "-o", "jsonpath={.spec.clusterIP}")


def pod(namespace: str, name: str, node: str, **more: Any) -> dict[str, Any]:
    labels = {"role": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels | more.pop("labels", {})}
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "infinity"]} | more
    spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def server(cluster: Cluster, namespace: str, name: str, node: str) -> dict[str, Any]:
    return pod(
        namespace,
        name,
        node,
        labels={"app": "web"},
        image=cluster.images["operator"],
        command=["python3", "-m", "http.server", "8000", "--bind", "::", "--directory", "/etc"],
        ports=[{"name": "web", "containerPort": 8000}],
        readinessProbe={"httpGet": {"path": "/hostname", "port": "web"}, "periodSeconds": 1, "timeoutSeconds": 5},
    )


@pytest.fixture(scope="module")
def field(cluster: Cluster) -> Iterator[Field]:
    suffix = secrets.token_hex(3)
    made = Field(cluster, f"home-{suffix}", f"other-{suffix}")
    for namespace in (made.home, made.other):
        made.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            pod(namespace, "client", "node1"),
            server(cluster, namespace, "near", "node1"),
            server(cluster, namespace, "far", "node2"),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]},
            },
        )
    for namespace in (made.home, made.other):
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=180s")
    yield made
    cluster.kubectl("delete", "namespace", made.home, made.other, "--wait=false")


@pytest.fixture(autouse=True)
def no_policies(field: Field) -> Iterator[None]:
    """Every test begins and ends without policies."""
    yield
    for namespace in (field.home, field.other):
        field.withdraw(namespace)


def test_what_may_not_leave_its_namespace_reaches_that_and_dns_and_nothing_else(field: Field) -> None:
    tries = field.everywhere()
    everything = dict.fromkeys(tries, True)
    field.settles(field.home, tries, everything)

    field.apply(only_home_and_dns(field.home))
    mine = ("home-same-node", "home-other-node", "home-service", "dns")
    field.settles(field.home, tries, {what: what in mine for what in tries})
    back = {what: tries[what] for what in ("home-same-node", "home-other-node")}
    field.settles(field.other, back, dict.fromkeys(back, True))

    field.withdraw(field.home)
    field.settles(field.home, tries, everything)


def test_only_whom_a_policy_names_reaches_a_pod_and_its_probes_pass(field: Field) -> None:
    tries = {
        "same-node": (field.address(field.home, "near"), 8000),
        "other-node": (field.address(field.home, "far"), 8000),
        "service": (field.service(field.home), 80),
    }
    both = {"namespaceSelector": in_namespace(field.other), "podSelector": {"matchLabels": {"role": "client"}}}
    rule = {"from": [both], "ports": [{"port": "web"}]}
    web = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}

    field.apply(policy("friends", field.home, web, policyTypes=["Ingress"], ingress=[rule]))
    field.settles(field.home, tries, dict.fromkeys(tries, False))
    field.settles(field.other, tries, dict.fromkeys(tries, True))

    field.apply(policy("friends", field.home, policyTypes=["Ingress"]))
    field.settles(field.other, tries, dict.fromkeys(tries, False))
    # A pod that is new under a policy that lets nobody in becomes ready all the same: its node asks it.
    field.apply(server(field.cluster, field.home, "late", "node1"))
    field.cluster.kubectl("wait", "-n", field.home, "--for=condition=Ready", "pod/late", "--timeout=120s")
    for name in ("near", "far"):
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        assert field.cluster.kubectl("get", "pod", "-n", field.home, name, "-o", ready) == "True"


def test_blocks_of_addresses_are_judged_by_the_pod_behind_a_service(field: Field) -> None:
    near, far = field.address(field.other, "near"), field.address(field.other, "far")
    tries = {"near": (near, 8000), "far": (far, 8000), "other-port": (addresses.NODES["node2"].address, 10250)}
    block = {"cidr": addresses.PODS, "except": [f"{far}/32"]}

    field.apply(
        policy(
            "blocks",
            field.home,
            policyTypes=["Egress"],
            egress=[{"to": [{"ipBlock": block}], "ports": [{"port": 8000}]}],
        )
    )

    field.settles(field.home, tries, {"near": True, "far": False, "other-port": False})
    # The Service's own address is in no block that is allowed, and both of its pods answer at times.
    service = {"service": (field.service(field.other), 80)}
    seen = {field.reached(field.home, service, seconds=3)["service"] for _ in range(12)}
    assert seen == {True, False}


def test_a_pod_is_guarded_from_its_first_moment(field: Field) -> None:
    """It tries as often as it can from the moment that it runs, and its policy was there before it."""
    field.apply(only_home_and_dns(field.home))
    tries = field.everywhere()
    field.settles(field.home, {"gone": tries["other-same-node"]}, {"gone": False})
    host, port = tries["other-same-node"]
    script = (
        f"for n in $(seq 40); do timeout 0.2 bash -c 'exec 3<>/dev/tcp/{host}/{port}' && echo out; done; echo tried"
    )
    body = pod(field.home, "eager", "node1", command=["bash", "-c", script])
    body["spec"]["restartPolicy"] = "Never"

    field.apply(body)

    phase = "--for=jsonpath={.status.phase}=Succeeded"
    field.cluster.kubectl("wait", "-n", field.home, phase, "pod/eager", "--timeout=180s")
    assert field.cluster.kubectl("logs", "-n", field.home, "eager").split() == ["tried"]


def test_there_is_no_way_around_a_policy_by_link_local_addresses(field: Field) -> None:
    """Pods of one node are on one bridge, where each has an address of IPv6 that nobody gave it."""
    interfaces = field.cluster.kubectl("exec", "-n", field.home, "near", "--", "cat", "/proc/net/if_inet6")
    (number,) = [line.split()[0] for line in interfaces.splitlines() if line.split()[-1] == "eth0"]
    address = ":".join(number[at : at + 4] for at in range(0, 32, 4))
    script = f"""if True:
        import socket
        with socket.socket(socket.AF_INET6) as tried:
            tried.settimeout(4)
            print(tried.connect_ex(("{address}", 8000, 0, socket.if_nametoindex("eth0"))) == 0)
    """

    def reached(namespace: str) -> str:
        return field.cluster.kubectl("exec", "-n", namespace, "near", "--", "python3", "-c", script).strip()

    assert reached(field.home) == "True", "it serves there, as it finds itself"
    assert reached(field.other) == "False"


def test_policies_hold_while_what_enforces_them_is_down_and_are_caught_up_with_after(field: Field) -> None:
    tries = {"out": field.everywhere()["other-same-node"]}
    field.apply(only_home_and_dns(field.home))
    field.settles(field.home, tries, {"out": False})

    field.cluster.kill("node1-network-policies")
    try:
        field.withdraw(field.home)
        assert field.reached(field.home, tries) == {"out": False}
        field.apply(pod(field.home, "unguarded", "node1"))
        waiting = "--for=jsonpath={.status.conditions[?(@.type=='PodReadyToStartContainers')].status}=False"
        field.cluster.kubectl("wait", "-n", field.home, waiting, "pod/unguarded", "--timeout=120s")
    finally:
        field.cluster.start("node1-network-policies")

    field.settles(field.home, tries, {"out": True})
    field.cluster.kubectl("wait", "-n", field.home, "--for=condition=Ready", "pod/unguarded", "--timeout=180s")


def test_the_packet_filter_takes_every_form_of_rule(cluster: Cluster) -> None:
    rules = rules_of((CLIENT, SERVER), ("10.0.1.7",), Surroundings(PODS, NAMESPACES), EVERY_FORM)
    # The node's folder for containers is one that the host may write to as well.
    file = cluster.state / "machines/node1/containerd" / f"rules-{secrets.token_hex(3)}"
    file.write_text(rules)

    try:
        done = cluster.on_node("node1", ["nft", "--check", "--file", str(Path("/var/lib/containerd") / file.name)])
    finally:
        file.unlink()

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
