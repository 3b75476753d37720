"""NetworkPolicies and pods for tests."""

from __future__ import annotations

from typing import Any

from hack.cluster.network_policies.selectors import ContainerPort, Pod

JsonObject = dict[str, Any]


def policy(
    name: str = "policy", namespace: str = "home", selector: JsonObject | None = None, **spec: Any
) -> JsonObject:
    """A NetworkPolicy. Without a selector it selects every pod of its namespace."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector or {}, **spec},
    }


def in_namespace(name: str) -> JsonObject:
    """A peer's selector of one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def only_home_and_dns(namespace: str = "home") -> JsonObject:
    """What keeps a namespace to itself: nothing leaves it but questions of names."""
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return policy(
        "only-home-and-dns",
        namespace,
        policyTypes=["Egress"],
        egress=[
            {"to": [{"podSelector": {}}]},
            {"to": [{"namespaceSelector": in_namespace("kube-system")}], "ports": dns},
        ],
    )


CLIENT = Pod("home", "client", {"app": "client"}, ("10.0.1.1",))
SERVER = Pod("home", "server", {"app": "server"}, ("10.0.1.2",), (ContainerPort("web", "TCP", 8080),))
FAR = Pod("home", "far", {"app": "server"}, ("10.0.2.1",), (ContainerPort("web", "TCP", 9090),))
OTHER = Pod("other", "server", {"app": "server", "tier": "front"}, ("10.0.2.2",))
DNS = Pod(
    "kube-system", "coredns", {"k8s-app": "kube-dns"}, ("10.9.0.1",), (ContainerPort("dns", "UDP", 53),), only_port=53
)
PODS = (CLIENT, SERVER, FAR, OTHER, DNS)
NAMESPACES = {
    name: {"kubernetes.io/metadata.name": name, **labels}
    for name, labels in {"home": {}, "other": {"team": "red"}, "kube-system": {}}.items()
}

_BLOCK = {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16", "10.9.1.0/24"]}
# Every form that a rule can have.
EVERY_FORM = (
    policy(
        "everything",
        policyTypes=["Ingress", "Egress"],
        ingress=[
            {},
            {
                "from": [
                    {"podSelector": {}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16", "10.9.1.0/24"]}},
                ]
            },
            {"from": [{"ipBlock": {"cidr": "fd00::/8"}}]},
            {"ports": [{"port": 80}, {"port": 8000, "endPort": 8010, "protocol": "UDP"}, {"protocol": "SCTP"}]},
            {"ports": [{"port": 7, "protocol": "SCTP"}, {"port": "web"}]},
        ],
        egress=[
            {"to": [{"namespaceSelector": {}}], "ports": [{"port": "web"}, {"port": 53, "protocol": "UDP"}]},
            {"to": [{"namespaceSelector": in_namespace("kube-system"), "podSelector": {}}]},
        ],
    ),
    policy("nothing", policyTypes=["Ingress", "Egress"]),
)
