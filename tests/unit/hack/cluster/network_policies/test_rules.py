"""Network policies become packet filters that let through what they allow, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hack.cluster.network_policies.rules import Surroundings, rules_of
from hack.cluster.network_policies.selectors import Pod
from tests.support.policies import (
    CLIENT,
    EVERY_FORM,
    FAR,
    NAMESPACES,
    OTHER,
    PODS,
    SERVER,
    in_namespace,
    only_home_and_dns,
    policy,
)

KUBE_SYSTEM = in_namespace("kube-system")
Policy = dict[str, Any]
INGRESS, EGRESS = ["Ingress"], ["Egress"]


def written(*policies: Policy, local: tuple[Pod, ...] = (CLIENT, SERVER), unknown: tuple[str, ...] = ()) -> str:
    return rules_of(local, unknown, Surroundings(PODS, NAMESPACES), policies)


def jumps(text: str, direction: str) -> dict[str, str]:
    """The verdicts of one direction by address."""
    found = re.search(rf"map {direction} {{\n.*\n\t\telements = {{ (.*) }}", text)
    return dict(pair.split(" : ") for pair in found[1].split(", ")) if found else {}


def allowed(text: str, pod: Pod, direction: str) -> list[str] | None:
    """What a pod's chain lets through; None where the pod has none."""
    verdict = jumps(text, direction).get(pod.addresses[0])
    if verdict is None:
        return None
    chain = re.search(rf"\tchain {verdict.removeprefix('jump ')} {{\n(.*?)\t}}\n", text, re.DOTALL)
    assert chain is not None
    comment, *rules, last = chain[1].replace("\t", "").strip().split("\n")
    assert comment.startswith("comment ")
    assert last == "drop"
    assert all(rule.endswith("return") for rule in rules)
    return [rule.removesuffix("return").strip() for rule in rules]


def ingress(*rules: Policy, **more: Any) -> Policy:
    return policy(policyTypes=INGRESS, ingress=list(rules), **more)


def egress(*rules: Policy, **more: Any) -> Policy:
    return policy(policyTypes=EGRESS, egress=list(rules), **more)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(ingress(), [], id="no rules deny everything"),
        pytest.param(policy(policyTypes=INGRESS), [], id="absent rules deny everything"),
        pytest.param(policy(), [], id="without types it is about ingress"),
        pytest.param(ingress({}), [""], id="an empty rule allows everything"),
        pytest.param(ingress({"from": [], "ports": []}), [""], id="empty lists of peers and ports allow everything"),
        pytest.param(
            ingress({"from": [{"podSelector": {}}]}),
            ["ip saddr { 10.0.1.1, 10.0.1.2, 10.0.2.1 }"],
            id="an empty pod selector is the policy's own namespace",
        ),
        pytest.param(
            ingress({"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}),
            ["ip saddr { 10.0.1.1 }"],
            id="a pod selector reaches into no other namespace",
        ),
        pytest.param(
            ingress({"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]}),
            ["ip saddr { 10.0.2.2 }"],
            id="a namespace selector is all pods of the namespaces",
        ),
        pytest.param(
            ingress({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "server"}}}]}),
            ["ip saddr { 10.0.1.2, 10.0.2.1, 10.0.2.2 }"],
            id="both selectors in one peer have to hold",
        ),
        pytest.param(
            ingress({"from": [{"namespaceSelector": in_namespace("other")}, {"podSelector": {}}]}),
            ["ip saddr { 10.0.2.2 }", "ip saddr { 10.0.1.1, 10.0.1.2, 10.0.2.1 }"],
            id="of two peers either may hold",
        ),
        pytest.param(
            ingress({"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}),
            [],
            id="a selector that selects nobody allows nobody",
        ),
        pytest.param(
            ingress({"from": [{"namespaceSelector": KUBE_SYSTEM}]}),
            [],
            id="what only counts as a pod at its port sends nothing from there",
        ),
        pytest.param(
            ingress({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16", "10.9.1.0/24"]}}]}),
            ["ip saddr 10.0.0.0/8 ip saddr != 10.9.0.0/16 ip saddr != 10.9.1.0/24"],
            id="a block of addresses but its exceptions",
        ),
        pytest.param(ingress({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}), [], id="IPv6 reaches nobody here"),
        pytest.param(ingress({"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]}), [], id="a block of no clear address"),
        pytest.param(
            ingress({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.08/32"]}}]}),
            [],
            id="an exception of no clear address",
        ),
        pytest.param(ingress({"ports": [{"port": 80}]}), ["tcp dport 80"], id="a port is one of TCP"),
        pytest.param(
            ingress({"ports": [{"port": 80, "protocol": "UDP"}, {"port": 7, "protocol": "SCTP"}]}),
            ["udp dport 80", "sctp dport 7"],
            id="unless it says otherwise",
        ),
        pytest.param(
            ingress({"ports": [{"protocol": "UDP"}]}), ["meta l4proto udp"], id="a protocol without a port is all of it"
        ),
        pytest.param(
            ingress({"ports": [{"port": 8000, "endPort": 8010}]}), ["tcp dport 8000-8010"], id="a range of ports"
        ),
        pytest.param(ingress({"ports": [{"port": "web"}]}), ["tcp dport 8080"], id="a name is the selected pod's port"),
        pytest.param(ingress({"ports": [{"port": "web", "protocol": "UDP"}]}), [], id="a name of another protocol"),
        pytest.param(
            ingress(
                {"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": 1}, {"port": 2}]}
            ),
            ["ip saddr { 10.0.1.1 } tcp dport 1", "ip saddr { 10.0.1.1 } tcp dport 2"],
            id="every peer at every port",
        ),
    ],
)
def test_what_reaches_a_selected_pod(one: Policy, expected: list[str]) -> None:
    assert allowed(written(one), SERVER, "ingress") == expected
    assert allowed(written(one), SERVER, "egress") is None


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(egress(), [], id="no rules deny everything"),
        pytest.param(
            egress({"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}),
            ["ip daddr { 10.0.1.2, 10.0.2.1 }"],
            id="pods of the namespace",
        ),
        pytest.param(
            egress({"to": [{"podSelector": {}}], "ports": [{"port": "web"}]}),
            ["ip daddr { 10.0.1.2 } tcp dport 8080", "ip daddr { 10.0.2.1 } tcp dport 9090"],
            id="a port's name is resolved at every pod that has it",
        ),
        pytest.param(
            egress({"ports": [{"port": "web"}]}),
            ["ip daddr { 10.0.1.2 } tcp dport 8080", "ip daddr { 10.0.2.1 } tcp dport 9090"],
            id="at pods of the whole cluster where no peer is named",
        ),
        pytest.param(
            egress({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "web"}]}),
            [],
            id="a block of addresses has no port of a name",
        ),
        pytest.param(
            only_home_and_dns(),
            [
                "ip daddr { 10.0.1.1, 10.0.1.2, 10.0.2.1 }",
                "ip daddr { 10.9.0.1 } udp dport 53",
                "ip daddr { 10.9.0.1 } tcp dport 53",
            ],
            id="the namespace itself and DNS",
        ),
        pytest.param(
            egress({"to": [{"namespaceSelector": KUBE_SYSTEM}]}),
            ["ip daddr { 10.9.0.1 } tcp dport 53", "ip daddr { 10.9.0.1 } udp dport 53"],
            id="DNS is no way to the rest of the control plane",
        ),
        pytest.param(
            egress({"to": [{"namespaceSelector": KUBE_SYSTEM}], "ports": [{"port": 6443}, {"port": "x"}]}),
            [],
            id="nor where a policy names ports of it",
        ),
        pytest.param(
            egress({"to": [{"namespaceSelector": KUBE_SYSTEM}], "ports": [{"port": 1, "endPort": 99}]}),
            ["ip daddr { 10.9.0.1 } tcp dport 53"],
            id="of a range of ports that one",
        ),
        pytest.param(
            egress({"to": [{"namespaceSelector": KUBE_SYSTEM}], "ports": [{"port": "dns", "protocol": "UDP"}]}),
            ["ip daddr { 10.9.0.1 } udp dport 53"],
            id="DNS by its port's name",
        ),
    ],
)
def test_what_a_selected_pod_reaches(one: Policy, expected: list[str]) -> None:
    assert allowed(written(one), CLIENT, "egress") == expected
    assert allowed(written(one), CLIENT, "ingress") is None


def test_without_types_a_policy_with_egress_rules_is_about_both() -> None:
    text = written(policy(egress=[{}]))

    assert allowed(text, CLIENT, "ingress") == []
    assert allowed(text, CLIENT, "egress") == [""]


def test_policies_add_up() -> None:
    text = written(
        ingress({"ports": [{"port": 1}]}), ingress({"ports": [{"port": 2}]}, name="more"), ingress(name="none")
    )

    assert allowed(text, SERVER, "ingress") == ["tcp dport 1", "tcp dport 2"]


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(ingress(namespace="other"), id="another namespace's policy"),
        pytest.param(ingress(selector={"matchLabels": {"app": "none"}}), id="a policy that selects others"),
    ],
)
def test_a_pod_that_no_policy_selects_is_left_alone(one: Policy) -> None:
    text = written(one)

    assert jumps(text, "ingress") == {}
    assert jumps(text, "egress") == {}
    assert "drop" not in text.split("table bridge")[0]


def test_a_node_guards_its_own_pods_only() -> None:
    assert set(jumps(written(ingress()), "ingress")) == {*CLIENT.addresses, *SERVER.addresses}
    assert set(jumps(written(ingress(), local=(FAR, OTHER)), "ingress")) == set(FAR.addresses)


def test_pods_to_which_the_same_applies_share_a_chain() -> None:
    text = written(ingress({"ports": [{"port": 1}]}))

    assert len(set(jumps(text, "ingress").values())) == 1
    assert text.count("tcp dport 1") == 1


def test_a_pod_that_nothing_is_known_of_talks_to_nobody() -> None:
    text = written(unknown=("10.0.1.7",))

    assert jumps(text, "ingress") == jumps(text, "egress") == {"10.0.1.7": "drop"}
    assert "10.0.1.7 . 10.0.1.7" not in text


def test_a_pod_always_reaches_itself() -> None:
    assert "elements = { 10.0.1.1 . 10.0.1.1, 10.0.1.2 . 10.0.1.2 }" in written(ingress(), egress())


def test_the_same_world_has_the_same_rules_in_whatever_order_it_is_told() -> None:
    around = Surroundings(tuple(reversed(PODS)), dict(reversed(NAMESPACES.items())))

    assert rules_of((SERVER, CLIENT), (), around, EVERY_FORM) == written(*EVERY_FORM)


def test_the_table_is_replaced_as_a_whole() -> None:
    first, second, third = written(*EVERY_FORM).split("\n")[:3]

    assert (first, second, third) == (
        "table inet bascule-policies",
        "delete table inet bascule-policies",
        "table inet bascule-policies {",
    )
