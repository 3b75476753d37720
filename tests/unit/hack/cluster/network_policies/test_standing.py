"""A node's rules follow from the API server's pods and from the sandboxes that its CNI plugin tells of."""

from __future__ import annotations

from typing import Any

import pytest

from hack.cluster.network_policies.standing import Namespace, Sandbox, Standing, known_pod
from tests.support.policies import policy

DENY = policy(policyTypes=["Egress"])


def item(uid: str = "u", node: str = "node1", address: str = "", phase: str = "Pending", **spec: Any) -> dict[str, Any]:
    status = {"phase": phase, "podIPs": [{"ip": address}] if address else []}
    return {
        "metadata": {"namespace": "home", "name": f"pod-{uid}", "uid": uid},
        "spec": {"nodeName": node, "containers": [{}], **spec},
        "status": status,
    }


def standing(*items: dict[str, Any], sandboxes: tuple[Sandbox, ...] = ()) -> Standing:
    made = Standing("node1", namespaces={"n": Namespace("home", {})}, policies={"p": DENY})
    for each in items:
        if known := known_pod(each):
            made.pods[known.uid] = known
    made.see(sandboxes)
    return made


def egress(made: Standing) -> str:
    """The line of guarded addresses."""
    lines = made.rules().split("\n")
    return lines[lines.index("\tmap egress {") + 2].strip()


def test_a_pod_is_guarded_from_its_sandbox_on_before_its_status_says_an_address() -> None:
    made = standing(item(), sandboxes=(Sandbox("s", "u", "10.0.1.5"),))

    assert "10.0.1.5 : jump egress-" in egress(made)
    assert made.guarded() == {"s"}


def test_a_sandbox_whose_pod_is_not_known_talks_to_nobody_and_is_not_said_to_be_guarded() -> None:
    made = standing(sandboxes=(Sandbox("s", "u", "10.0.1.5"),))

    assert egress(made) == "elements = { 10.0.1.5 : drop }"
    assert made.guarded() == set()


def test_a_deleted_pod_is_held_to_its_policies_until_its_sandbox_is_gone() -> None:
    made = standing(item(), sandboxes=(Sandbox("s", "u", "10.0.1.5"),))
    made.forget("u")

    assert "10.0.1.5 : jump egress-" in egress(made)
    assert made.guarded() == {"s"}
    made.see(())
    assert made.departed == {}
    assert egress(made) == "}", "no address is left"


def test_the_sandboxes_address_counts_where_the_status_still_has_another() -> None:
    made = standing(item(address="10.0.1.4"), sandboxes=(Sandbox("s", "u", "10.0.1.5"),))

    assert "10.0.1.4" not in made.rules()
    assert "10.0.1.5" in egress(made)


@pytest.mark.parametrize(
    ("pod", "guarded"),
    [
        pytest.param(item(address="10.0.1.4"), True, id="a pod that began before anything told of its sandbox"),
        pytest.param(item(address="10.0.1.4", phase="Succeeded"), False, id="a pod that ended has no address any more"),
        pytest.param(item(address="10.0.1.4", node="node2"), False, id="another node's pod"),
        pytest.param(item(address="10.247.0.2", hostNetwork=True), False, id="a pod in the node's own network"),
        pytest.param(item(address="fd00::1"), False, id="an address of IPv6"),
    ],
)
def test_which_addresses_of_statuses_are_guarded(pod: dict[str, Any], guarded: bool) -> None:
    assert (egress(standing(pod)) != "}") is guarded


def test_what_runs_in_the_same_second_under_a_new_uid_is_another_pod() -> None:
    old, new = Sandbox("s1", "old", "10.0.1.5"), Sandbox("s2", "new", "10.0.1.6")
    made = standing(item("old"), item("new"), sandboxes=(old, new))
    made.forget("old")

    assert {"10.0.1.5", "10.0.1.6"} <= set(egress(made).replace(",", " ").split())
    assert made.guarded() == {"s1", "s2"}
