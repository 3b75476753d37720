"""Bad input ends in a clear condition that names field or step and the remedy, with nothing half-published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Build, ImageBuildBuilder, condition, phase_of, tags

Builder = Callable[[str], ImageBuildBuilder]
USER, PASSWORD = "tenant", "tenant-secret"


def _ready(body: dict[str, Any]) -> tuple[str, str]:
    found = condition(body, "Ready")
    return found.get("reason", ""), found.get("message", "")


def _failure(build: Build) -> tuple[str, str, str]:
    failure = build.until_phase("Failed")["status"]["failure"]
    return failure["type"], failure.get("step", ""), failure["message"]


@pytest.mark.smoke
def test_an_unknown_procedure_is_waited_for_and_heals(image_build: Builder, bascule: Cluster) -> None:
    made = image_build("unknown")
    name = f"own-{made.tenant.name}"
    build = made.with_spec(build={"procedure": name, "parameters": {}}).apply()

    waiting = build.until(lambda body: _ready(body)[0] == "ProcedureNotFound", "waiting for the Procedure")
    assert phase_of(waiting) == "Pending"
    assert name in _ready(waiting)[1]
    assert "spec.build.procedure" in _ready(waiting)[1]

    procedure = json.loads(bascule.kubectl("get", "procedure", "buildah", "-o", "json"))
    spec = procedure["spec"] | {"tenants": ["somebody-else"]}
    header = {"apiVersion": "bascule.dev/v1alpha1", "kind": "Procedure", "metadata": {"name": name}}
    installation.apply(bascule, header | {"spec": spec})
    build.until(lambda body: _ready(body)[0] == "ProcedureForbidden", "told that it is not offered")

    installation.apply(bascule, header | {"spec": spec | {"tenants": [made.tenant.name]}})
    build.until(lambda body: body["status"].get("run") is not None, "started")
    build.delete()
    build.until_gone()


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        pytest.param({}, "command", id="missing"),
        pytest.param({"command": "not a list"}, "command", id="badly typed"),
        pytest.param({"command": ["true"], "comand": ["x"]}, "comand", id="unknown"),
    ],
)
def test_parameters_are_checked_before_anything_starts(
    image_build: Builder, parameters: dict[str, Any], names: str
) -> None:
    test = {"name": "smoke", "procedure": "run-image", "parameters": parameters}
    build = image_build("parameters").with_spec(tests=[test]).apply()

    body = build.until_phase("Rejected")

    reason, message = _ready(body)
    assert reason == "ParametersInvalid"
    assert f"spec.tests[0].parameters.{names}" in message
    assert "run" not in body["status"]


def test_a_namespace_without_a_tenant_says_so_and_heals(bascule: Cluster, image_build: Builder) -> None:
    tenant = image_build("x").tenant
    namespace = f"{tenant.namespace}-more"
    installation.apply(bascule, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    elsewhere = ImageBuildBuilder("orphan", bascule, TenantHandle(tenant.name, namespace, tenant.public_key))
    build = elsewhere.apply()
    waiting = build.until(lambda body: _ready(body)[0] == "TenantNotFound", "told that no Tenant claims the namespace")
    assert namespace in _ready(waiting)[1]

    claim = {"namespaces": [tenant.namespace, namespace], "signing": {"publicKey": tenant.public_key}}
    header = {"apiVersion": "bascule.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": tenant.name}}
    installation.apply(bascule, header | {"spec": claim})

    build.until(lambda body: body["status"].get("run") is not None, "started")
    build.delete()
    build.until_gone()


def test_a_containerfile_that_fails_is_final_and_quotes_what_matters(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("bad").with_file("Containerfile", "FROM scratch\nRUN /does-not-exist\n").apply()

    kind, step, message = _failure(build)

    assert (kind, step) == ("BuildFailed", "build")
    assert "does-not-exist" in message
    assert tags(bascule, build.made.candidates) == []


def test_a_registry_that_refuses_the_push_is_named(image_build: Builder, bascule: Cluster) -> None:
    made = image_build("refused")
    build = made.with_publish(repository=f"{bascule.private_registry}/{made.tenant.name}/refused").apply()

    kind, _, message = _failure(build)

    assert kind == "RegistryRefused"
    assert bascule.private_registry in message
    assert "spec.publish.secretRef" in message


def test_an_unlabelled_secret_is_refused_with_the_command_that_mends_it(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    repository = f"{bascule.private_registry}/{tenant.name}/private"
    private = image_build("private").with_publish(repository=repository, secretRef={"name": "push"})
    usable = installation.registry_secret(tenant.namespace, bascule.private_registry, USER, PASSWORD)
    unlabelled = usable | {"metadata": {"name": "push", "namespace": tenant.namespace}}
    installation.apply(bascule, unlabelled)

    kind, _, message = _failure(private.apply())
    assert kind == "SecretNotUsable"
    assert f"kubectl label -n {tenant.namespace} secret push bascule.dev/use=registry" in message

    installation.apply(bascule, usable)
    build = private.apply()
    build.annotate(requested_at="after-mending")
    build.until(lambda body: body["status"]["run"]["number"] == 2, "at run 2")
    build.until_phase("Succeeded")
    assert tags(bascule, repository, "--creds", f"{USER}:{PASSWORD}")


def test_a_missing_secret_is_named(image_build: Builder) -> None:
    build = image_build("keyless").with_spec(sign={"keySecretRef": {"name": "nowhere"}}).apply()

    kind, _, message = _failure(build)

    assert kind == "SecretMissing"
    assert "nowhere" in message
    assert "spec.sign.keySecretRef" in message


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param({"revision": "no-such-branch"}, "SourceNotFound", id="a revision that does not exist"),
        pytest.param({"path": "no/such/folder"}, "SourceNotFound", id="a folder that does not exist"),
    ],
)
def test_what_git_does_not_have_is_final(
    image_build: Builder, bascule: Cluster, tmp_path: Path, source: dict[str, str], kind: str
) -> None:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    url = bascule.make_git_repository(f"r{image_build('x').tenant.name}", tmp_path)
    build = image_build("git").with_spec(source={"git": {"url": url, "revision": "main"} | source}).apply()

    found, _, message = _failure(build)

    assert found == kind
    assert next(iter(source.values())) in message


def test_a_git_server_that_does_not_answer_is_tried_again_until_the_timeout(image_build: Builder) -> None:
    source = {"git": {"url": "https://git.bascule.test:9/nobody.git", "revision": "main"}}
    build = image_build("silent").with_spec(source=source, timeout="20s").apply()

    kind, step, message = _failure(build)

    assert kind in ("RunTimedOut", "SourceUnreachable")
    assert "git.bascule.test:9" in message
    assert step == "resolve"


def test_a_test_that_takes_too_long_is_stopped(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("slow").with_test("forever", "sleep", "3600", timeout="10s").apply()

    kind, step, _ = _failure(build)

    assert (kind, step) == ("StepTimedOut", "test-forever")
    assert tags(bascule, build.made.candidates) == []


def test_a_key_that_signs_for_nobody_stops_before_any_tag_moves(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    key, password, _ = installation.make_key_pair(bascule)
    installation.apply(bascule, installation.signing_secret(tenant.namespace, key, password, name="foreign"))
    build = image_build("foreign").with_spec(sign={"keySecretRef": {"name": "foreign"}}).apply()

    kind, step, _ = _failure(build)

    assert (kind, step) == ("VerificationFailed", "verify")
    assert tags(bascule, build.made.repository) == []
    assert tags(bascule, build.made.candidates) == []
