"""Sources as tenants have them: private repositories, SSH, files that are no text; and those that are refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hack import installation
from hack.cluster.addresses import CONTROL, GIT_HOST, TENANT_PASSWORD, TENANT_USER
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support import git_servers
from tests.support.builds import Build, ImageBuildBuilder, tags

Builder = Callable[[str], ImageBuildBuilder]
CONTAINERFILE = "FROM scratch\nCOPY . /\n"


def _secret(tenant: TenantHandle, host: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "git",
            "namespace": tenant.namespace,
            "labels": {"bascule.dev/use": "git"},
            "annotations": {"bascule.dev/host": host},
        },
        "stringData": dict(values),
    }


def _source(url: str, *, secret: bool = False, **more: str) -> dict[str, Any]:
    login = {"secretRef": {"name": "git"}} if secret else {}
    return {"source": {"git": {"url": url, "revision": "main"} | login | more}, "build": {"procedure": "buildah"}}


def _repository(bascule: Cluster, tenant: TenantHandle, tmp_path: Path, *, private: bool = False) -> str:
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    return bascule.make_git_repository(f"s-{tenant.name}", tmp_path, private=private)


def test_a_private_repository_is_built_with_its_login_only(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    url = _repository(bascule, tenant, tmp_path, private=True)
    login = {"username": TENANT_USER, "password": TENANT_PASSWORD}

    failed = image_build("without").with_spec(**_source(url)).apply().until_phase("Failed")
    assert failed["status"]["failure"]["type"] == "SourceRefused"

    installation.apply(bascule, _secret(tenant, "elsewhere.example.com", login))
    failed = image_build("elsewhere").with_spec(**_source(url, secret=True)).apply().until_phase("Failed")
    assert failed["status"]["failure"]["type"] == "SecretNotUsable"
    assert GIT_HOST in failed["status"]["failure"]["message"]

    installation.apply(bascule, _secret(tenant, GIT_HOST, login))
    image_build("with").with_spec(**_source(url, secret=True)).apply().until_phase("Succeeded")


def test_a_repository_is_built_by_ssh(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    within, _ = bascule.inside([])
    with git_servers.serving_ssh(served, CONTROL, within) as server:
        origin = git_servers.Origin.make(server.root, "image", Containerfile=CONTAINERFILE)
        port = server.url.rpartition(":")[2]
        known = server.credentials["known_hosts"].replace(CONTROL, GIT_HOST)
        installation.apply(bascule, _secret(tenant, f"{GIT_HOST}:{port}", server.credentials | {"known_hosts": known}))
        url = f"ssh://root@{GIT_HOST}:{port}{origin.bare}"

        body = image_build("ssh").with_spec(**_source(url, secret=True)).apply().until_phase("Succeeded")

    assert body["status"]["source"]["revision"] == git_servers.git("rev-parse", "main", cwd=origin.bare)


def _huge(folder: Path) -> None:
    with (folder / "huge").open("wb") as file:
        # Sent it is small; written it would be more than a source may have.
        file.truncate(513 << 20)


def _links_outside(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_huge, "larger than 512 MiB", id="a huge one"),
        pytest.param(_links_outside, "the link link, which points outside", id="with a link that points outside"),
    ],
)
def test_a_repository_that_is_not_taken(
    image_build: Builder,
    bascule: Cluster,
    tenant: TenantHandle,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    words: str,
) -> None:
    spoil(tmp_path)
    build = image_build("spoilt").with_spec(**_source(_repository(bascule, tenant, tmp_path))).apply()

    failure = build.until_phase("Failed")["status"]["failure"]

    assert (failure["type"], failure["step"]) == ("SourceRefused", "build")
    assert words in failure["message"]
    assert tags(bascule, build.made.candidates) == []


def test_a_server_that_redirects_elsewhere_is_named(image_build: Builder) -> None:
    build = image_build("moved").with_spec(**_source(f"https://{GIT_HOST}/moved/somewhere.git")).apply()

    failure = build.until_phase("Failed")["status"]["failure"]

    assert failure["type"] == "SourceRefused"
    assert "redirects are not followed" in failure["message"]


def test_a_config_map_with_files_that_are_no_text(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    # As much as a ConfigMap may hold, and bytes of every value.
    binary = bytes(range(256)) * 4000
    config_map = installation.config_map(tenant.namespace, "binary-source", {"Containerfile": CONTAINERFILE})
    installation.apply(bascule, config_map | {"binaryData": {"blob": base64.b64encode(binary).decode()}})
    body = image_build("binary").body
    body["spec"]["build"] = {"procedure": "buildah"}
    installation.apply(bascule, body)

    Build(image_build("binary")).until_phase("Succeeded")

    reference = f"{image_build('binary').repository}:v1"
    bascule.exec(["skopeo", "copy", f"docker://{reference}", f"dir:{tmp_path}"], check=True)
    (layer,) = json.loads((tmp_path / "manifest.json").read_text())["layers"]
    with tarfile.open(tmp_path / layer["digest"].removeprefix("sha256:")) as archive:
        blob = archive.extractfile("blob")
        assert blob is not None
        assert blob.read() == binary


def test_a_config_map_over_its_bound_is_refused_by_the_server(bascule: Cluster, tenant: TenantHandle) -> None:
    over = {"blob": base64.b64encode(os.urandom((1 << 20) + 1)).decode()}
    config_map = installation.config_map(tenant.namespace, "over", {})

    with pytest.raises(subprocess.CalledProcessError) as refused:
        installation.apply(bascule, config_map | {"binaryData": over})

    assert "1048576" in refused.value.stderr
