"""Roles are what the code declares, and no more."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import yaml

import bascule_operator.permissions
from hack import gen_rbac, generated


@dataclass(frozen=True)
class Declared:
    """A rule as a `permissions.py` has it."""

    scope: str = "Cluster"
    api_group: str = "bascule.dev"
    resources: tuple[str, ...] = ("tenants",)
    verbs: tuple[str, ...] = ("get",)
    why: str = "whom to serve"
    only: tuple[str, ...] = ()


def test_what_is_committed_is_current() -> None:
    assert generated.differences(gen_rbac.files()) == ""


@pytest.mark.parametrize(
    "broad",
    [
        pytest.param(Declared(verbs=("*",)), id="every verb"),
        pytest.param(Declared(resources=("*",)), id="every resource"),
        pytest.param(Declared(api_group="*"), id="every group"),
        pytest.param(Declared(verbs=("get", "escalate")), id="escalate"),
        pytest.param(Declared(verbs=("impersonate",)), id="impersonate"),
        pytest.param(Declared(verbs=("bind",)), id="bind any role"),
        pytest.param(Declared(scope="Drills", resources=("secrets",)), id="all Secrets, for drills"),
        pytest.param(Declared(api_group="", resources=("configmaps", "secrets")), id="all Secrets of the cluster"),
    ],
)
def test_what_is_too_broad_is_refused(broad: Declared) -> None:
    with pytest.raises(gen_rbac.TooBroadError, match="whom to serve"):
        gen_rbac.checked([broad])


def test_binding_one_role_that_is_named_is_not_too_broad() -> None:
    rule = Declared(resources=("clusterroles",), verbs=("bind",), only=("bascule-drill",))
    assert gen_rbac.checked([rule]) == [rule]


def test_nothing_generated_has_a_wildcard() -> None:
    for path, text in gen_rbac.files().items():
        assert '"*"' not in text.replace("'", '"'), path


def test_a_rule_is_rendered_with_its_reason() -> None:
    text = gen_rbac.chart_roles("bascule-worker", "somewhere", [Declared(), Declared(scope="OwnNamespace")])
    assert text.count("# whom to serve") == 2
    plain = "\n".join(
        line for line in text.replace("{{ .Release.Namespace }}", "system").splitlines() if "{{" not in line
    )
    role, binding, own, _ = [document for document in yaml.safe_load_all(plain) if document]
    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [{"apiGroups": ["bascule.dev"], "resources": ["tenants"], "verbs": ["get"]}]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "bascule-worker", "namespace": "system"}]
    assert (own["kind"], own["metadata"]["namespace"]) == ("Role", "system")


def test_the_operator_reads_no_secret_and_makes_no_role() -> None:
    touched = {resource for rule in bascule_operator.permissions.RULES for resource in rule.resources}
    assert touched.isdisjoint({"secrets", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "pods/exec"})
