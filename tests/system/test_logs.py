"""Whole logs of steps, in the tenant's own repository."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hack import installation
from hack.cluster.addresses import TENANT_PASSWORD, TENANT_USER
from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support.builds import ImageBuildBuilder

Builder = Callable[[str], ImageBuildBuilder]
NOISE = ("sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i of a long log; i=$((i+1)); done")


def _with_artifacts(bascule: Cluster, tenant: TenantHandle, artifacts: dict[str, Any]) -> None:
    patch = json.dumps({"spec": {"artifacts": artifacts}})
    bascule.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", patch)


def _log(bascule: Cluster, folder: Path, reference: str, *login: str) -> tuple[dict[str, Any], str]:
    """The manifest and the text of a kept log."""
    bascule.exec(["skopeo", "copy", *login, f"docker://{reference}", f"dir:{folder}"], check=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    blob = folder / manifest["layers"][0]["digest"].removeprefix("sha256:")
    return manifest, gzip.decompress(blob.read_bytes()).decode()


@pytest.mark.parametrize("ends", [pytest.param("0", id="succeeds"), pytest.param("3", id="fails")])
def test_the_whole_log_of_a_step_is_kept(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path, ends: str
) -> None:
    repository = f"{bascule.registry}/{tenant.name}/artifacts"
    _with_artifacts(bascule, tenant, {"repository": repository})
    build = image_build("noisy").with_test("noise", *NOISE[:2], f"{NOISE[2]}; exit {ends}").apply()

    status = build.until_over()["status"]

    (step,) = [step for step in status["steps"] if step["name"] == "test-noise"]
    manifest, text = _log(bascule, tmp_path, f"{repository}@{step['log']}")
    assert text.splitlines()[-1] == "line 19999 of a long log"
    assert "line 0 of a long log" in text
    assert manifest["annotations"]["dev.bascule.step"] == "test-noise"
    assert manifest["annotations"]["dev.bascule.complete"] == "true"
    assert [step["name"] for step in status["steps"] if step.get("log")] == ["build", "test-noise"]


def test_a_repository_with_a_login_of_the_platform(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    repository = f"{bascule.private_registry}/{tenant.name}/artifacts"
    name = f"artifacts-{tenant.name}"
    _with_artifacts(bascule, tenant, {"repository": repository, "secretRef": {"name": name}})
    auth = base64.b64encode(f"{TENANT_USER}:{TENANT_PASSWORD}".encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {
            "name": name,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {"bascule.dev/use": "registry"},
            "annotations": {"bascule.dev/host": bascule.private_registry},
        },
        "stringData": {".dockerconfigjson": json.dumps({"auths": {bascule.private_registry: {"auth": auth}}})},
    }
    installation.apply(bascule, secret)

    # The worker may not read it yet: that is said, and fails nothing.
    status = image_build("unread").apply().until_phase("Succeeded")["status"]
    (step,) = [step for step in status["steps"] if step["name"] == "build"]
    assert "worker.artifactSecrets" in step["message"]

    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE}}
    rules = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}]
    worker = {"kind": "ServiceAccount", "name": "bascule-worker", "namespace": SYSTEM_NAMESPACE}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = role | {"kind": "RoleBinding", "roleRef": ref, "subjects": [worker]}
    installation.apply(bascule, role | {"kind": "Role", "rules": rules}, binding)
    status = image_build("read").apply().until_phase("Succeeded")["status"]
    (step,) = [step for step in status["steps"] if step["name"] == "build"]
    _, text = _log(bascule, tmp_path, f"{repository}@{step['log']}", "--src-creds", f"{TENANT_USER}:{TENANT_PASSWORD}")
    assert "pushed" in text
