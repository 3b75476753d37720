"""Which Secrets a run may use, and that its copies hold no more than it needs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bascule_workers.errors import SecretNotUsableError
from bascule_workers.messages import SecretUse
from bascule_workers.plans import credentials
from bascule_workers.plans.credentials import Login
from tests.support.fake_world import secret
from tests.support.runs import image_build

HOST = "registry.example.com"
BUILD = image_build()


def docker(auths: dict[str, Any]) -> dict[str, str]:
    return {".dockerconfigjson": json.dumps({"auths": auths})}


def auth(name: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:{password}".encode()).decode()}


REGISTRY = SecretUse(field="spec.publish.secretRef", name="push", use="registry", hosts=[HOST])
SIGNING = SecretUse(field="spec.sign.keySecretRef", name="key", use="signing")
GIT = SecretUse(field="spec.source.git.secretRef", name="git", use="git", hosts=["git.example.com"])


@pytest.mark.parametrize(
    ("use", "given", "said"),
    [
        pytest.param(
            REGISTRY,
            secret("push", "", docker({HOST: auth("me", "pw")}), HOST),
            f"kubectl label -n acme-dev secret push bascule.dev/use=registry",  # noqa: F541
            id="no label",
        ),
        pytest.param(
            REGISTRY,
            secret("push", "git", docker({HOST: auth("me", "pw")}), HOST),
            "kubectl label -n acme-dev secret push bascule.dev/use=registry",
            id="the label of another use",
        ),
        pytest.param(
            REGISTRY,
            secret("push", "registry", docker({HOST: auth("me", "pw")})),
            f"kubectl annotate -n acme-dev secret push --overwrite bascule.dev/host={HOST}",
            id="no host",
        ),
        pytest.param(
            REGISTRY,
            secret("push", "registry", docker({HOST: auth("me", "pw")}), "elsewhere.example.com"),
            f"may not be sent to {HOST}",
            id="another host",
        ),
        pytest.param(REGISTRY, secret("push", "registry", {"a": "b"}, HOST), "dockerconfigjson", id="another type"),
        pytest.param(
            REGISTRY,
            secret("push", "registry", docker({"elsewhere": auth("me", "pw")}), HOST),
            f"has no login for {HOST}",
            id="no login for the host",
        ),
        pytest.param(REGISTRY, secret("push", "registry", {".dockerconfigjson": "{"}, HOST), "no login", id="no JSON"),
        pytest.param(SIGNING, secret("key", "signing", {"cosign.key": "k"}), "cosign.password", id="no password"),
        pytest.param(GIT, secret("git", "git", {"username": "me"}, "git.example.com"), "password", id="no credential"),
        pytest.param(
            GIT, secret("git", "git", {"ssh-privatekey": "k"}, "git.example.com"), "known_hosts", id="no known hosts"
        ),
    ],
)
def test_a_secret_is_refused_with_the_remedy(use: SecretUse, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SecretNotUsableError) as refused:
        credentials.checked(use, "acme-dev", given)
    assert said in str(refused.value)
    assert use.field in str(refused.value)


def test_of_a_docker_config_only_the_login_for_the_host_is_copied() -> None:
    given = secret(
        "push", "registry", docker({f"https://{HOST}/v1/": auth("me", "p:w"), "other": auth("x", "y")}), HOST
    )
    values = credentials.checked(REGISTRY, "acme-dev", given)
    copied = credentials.RunCredentials(values)
    assert copied.login(HOST) == Login("me", "p:w")
    assert copied.login("other") is None


def test_copies_are_immutable_labelled_and_hold_what_was_given() -> None:
    values = {"cosign.key": "private", "cosign.password": "secret-password"}
    [made] = credentials.run_secrets(BUILD.run, BUILD.tenant, values)
    assert made["immutable"] is True
    assert made["metadata"]["labels"]["bascule.dev/run"] == f"{BUILD.run.uid}.1"
    assert made["metadata"]["namespace"] == "bascule-steps-acme"
    assert credentials.decoded_secret(made).values == values


def test_a_registry_login_gets_a_second_copy_that_kubelets_can_pull_with() -> None:
    config = json.dumps({"auths": {HOST: auth("me", "hunter2!")}})
    own, pull = credentials.run_secrets(BUILD.run, BUILD.tenant, {credentials.REGISTRY_KEY: config})
    assert pull["type"] == "kubernetes.io/dockerconfigjson"
    assert own["metadata"]["name"] != pull["metadata"]["name"]
    assert "hunter2!" in credentials.decoded_secret(own).secrets()


def test_nothing_secret_is_in_a_repr() -> None:
    assert "hunter2" not in repr(credentials.RunCredentials({"git.password": "hunter2"})) + repr(Login("me", "hunter2"))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param({"data": {"a": "1"}}, {"data": {"a": "1"}, "metadata": {"name": "x"}}, True, id="equal files"),
        pytest.param({"data": {"a": "1"}}, {"binaryData": {"a": "MQ=="}}, True, id="however they are kept"),
        pytest.param({"data": {"a": "1"}}, {"data": {"a": "2"}}, False, id="another content"),
        pytest.param({"data": {"a": "1b"}}, {"data": {"a": "1", "b": ""}}, False, id="another cut"),
    ],
)
def test_the_digest_of_a_source_is_that_of_its_files(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    assert (credentials.config_map_digest(one) == credentials.config_map_digest(other)) is equal
