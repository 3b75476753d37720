"""`bascule tenant manifests`: what a platform team applies, and what it is told about wrong arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bascule_cli.__main__ import app
from bascule_cli.steps import TenantGround, manifests

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
Document = dict[str, Any]


def run(*arguments: str) -> tuple[int, str, str]:
    # A wide terminal, so that no message is broken in two.
    result = CliRunner().invoke(app, ["tenant", "manifests", *arguments], env={"COLUMNS": "400", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr


def printed(*arguments: str) -> list[Document]:
    code, out, err = run(*arguments)
    assert code == 0, err
    return list(yaml.safe_load_all(out))


def named(documents: list[Document], kind: str, namespace: str | None = None) -> list[Document]:
    return [
        document
        for document in documents
        if document["kind"] == kind and namespace in (None, document["metadata"].get("namespace"))
    ]


def test_everything_that_a_tenant_needs_is_there_in_an_order_to_apply() -> None:
    found = [(item["kind"], item["metadata"].get("namespace", "")) for item in printed("acme", "-n", "acme-dev")]
    assert found == [
        ("Namespace", ""),
        ("ServiceAccount", "bascule-steps-acme"),
        ("Role", "bascule-steps-acme"),
        ("RoleBinding", "bascule-steps-acme"),
        ("ResourceQuota", "bascule-steps-acme"),
        ("LimitRange", "bascule-steps-acme"),
        ("NetworkPolicy", "bascule-steps-acme"),
        ("Role", "acme-dev"),
        ("RoleBinding", "acme-dev"),
    ]


def test_the_steps_namespace_says_whose_it_is_and_what_may_run_there() -> None:
    (namespace,) = named(printed("acme", "-n", "acme-dev"), "Namespace")
    assert namespace["metadata"]["name"] == "bascule-steps-acme"
    assert namespace["metadata"]["labels"]["bascule.dev/steps-of"] == "acme"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_only_where_nodes_are_patched_may_pods_have_a_node_itself() -> None:
    (namespace,) = named(printed("acme", "-n", "acme-dev", "--patches-nodes"), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_steps_have_no_token() -> None:
    (account,) = named(printed("acme", "-n", "acme-dev"), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False


def test_every_role_is_the_workers_and_none_has_a_wildcard() -> None:
    documents = printed("acme", "-n", "acme-dev", "-n", "acme-prod", "--system-namespace", "platform")
    for binding in named(documents, "RoleBinding"):
        subject = {"kind": "ServiceAccount", "name": "bascule-worker", "namespace": "platform"}
        assert binding["subjects"] == [subject]
        assert named(documents, "Role", binding["metadata"]["namespace"])
    words = {
        word for role in named(documents, "Role") for rule in role["rules"] for words in rule.values() for word in words
    }
    assert "*" not in words


def test_in_a_tenants_namespaces_the_worker_only_gets() -> None:
    (role,) = named(printed("acme", "-n", "acme-dev"), "Role", "acme-dev")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get"}


def test_what_the_worker_reads_can_be_named() -> None:
    documents = printed("acme", "-n", "acme-dev", "--secret", "signing-key", "--secret", "git", "--config-map", "files")
    (role,) = named(documents, "Role", "acme-dev")
    assert {rule["resources"][0]: rule["resourceNames"] for rule in role["rules"]} == {
        "secrets": ["git", "signing-key"],
        "configmaps": ["files"],
    }


def test_a_private_authority_is_brought_to_the_steps(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    documents = printed("acme", "-n", "acme-dev", "--ca-file", str(tmp_path / "ca.pem"))
    (config_map,) = named(documents, "ConfigMap")
    assert (config_map["metadata"]["name"], config_map["metadata"]["namespace"]) == ("bascule-ca", "bascule-steps-acme")
    assert config_map["data"] == {"ca-bundle.crt": CERTIFICATE}


def test_the_same_call_prints_the_same() -> None:
    assert run("acme", "-n", "b", "-n", "a") == run("acme", "-n", "b", "-n", "a", "-n", "b")


def test_a_namespace_of_its_own_for_steps() -> None:
    documents = printed("acme", "-n", "acme-dev", "--steps-namespace", "acme-steps", "--service-account", "builder")
    assert named(documents, "Namespace")[0]["metadata"]["name"] == "acme-steps"
    assert named(documents, "ServiceAccount")[0]["metadata"] | {"labels": {}} == {
        "name": "builder",
        "namespace": "acme-steps",
        "labels": {},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["acme"], "Missing option '--namespace'", id="no namespace"),
        pytest.param(["Acme", "-n", "acme-dev"], "'Acme' is no such name", id="a name in capitals"),
        pytest.param(["a" * 41, "-n", "acme-dev"], "at most 40 characters", id="a long name"),
        pytest.param(["acme", "-n", "acme.dev"], "'acme.dev' is no such name", id="a namespace with a dot"),
        pytest.param(["acme", "-n", "bascule-steps-acme"], "cannot be one of the tenant's own", id="its own steps"),
        pytest.param(["acme", "-n", "acme-dev", "--ca-file", "/nowhere"], "does not exist", id="no such file"),
        pytest.param(["acme", "-n", "acme-dev", "--secret", "A B"], "'A B' is no such name", id="no such Secret"),
    ],
)
def test_wrong_arguments_are_named_and_end_with_2(arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("content", ["", "no PEM", CERTIFICATE + "-----BEGIN PRIVATE KEY-----\n"])
def test_only_certificates_are_brought_into_the_cluster(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    code, _, err = run("acme", "-n", "acme-dev", "--ca-file", str(tmp_path / "ca.pem"))
    assert code == 2
    assert "must hold PEM certificates and nothing else" in err


def test_labels_name_the_tenant_on_every_object() -> None:
    ground = TenantGround(tenant="acme", namespaces=("acme-dev",), steps_namespace="bascule-steps-acme")
    assert {document["metadata"]["labels"]["bascule.dev/tenant"] for document in manifests(ground)} == {"acme"}


def test_version() -> None:
    result = CliRunner().invoke(app, ["version"])
    assert result.exit_code == 0
    assert "bascule.dev/v1alpha1" in result.stdout
