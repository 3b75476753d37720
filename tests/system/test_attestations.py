"""Bill of materials and provenance of a real build, read by other people's tools."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import ImageBuildBuilder, condition, digest_of, steps_of, tags

Builder = Callable[[str], ImageBuildBuilder]

CONTAINERFILE = """\
ARG BASE
FROM ${BASE}
COPY status /tmp/status
RUN cat /tmp/status >>/var/lib/dpkg/status && rm /tmp/status
USER 65532
"""
STATUS = """\

Package: bascule-marker
Status: install ok installed
Maintainer: Nobody <nobody@example.com>
Architecture: amd64
Version: 4.2-1
Description: what the Containerfile installed

"""


def attested(cluster: Cluster, folder: Path, reference: str, kind: str) -> dict[str, Any]:
    """The predicate, as cosign verifies it with the key that the cluster publishes."""
    key = folder / "platform.pub"
    published = ["configmap", "bascule-platform-key", "-n", installation.SYSTEM_NAMESPACE]
    key.write_text(cluster.kubectl("get", *published, "-o", "jsonpath={.data.cosign\\.pub}"))
    command = ["cosign", "verify-attestation", "--key", str(key), "--insecure-ignore-tlog=true", "--type", kind]
    printed = cluster.exec([*command, reference], check=True).stdout
    statement = json.loads(base64.b64decode(json.loads(printed.splitlines()[0])["payload"]))
    assert statement["subject"][0]["digest"]["sha256"] == reference.partition("@sha256:")[2]
    predicate: dict[str, Any] = statement["predicate"]
    return predicate


@pytest.mark.smoke
def test_a_build_tells_what_is_in_it_and_how_it_came_to_be(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    base = f"{bascule.registry}/{installation.BASE_IMAGE}"
    build = (
        image_build("told")
        .with_file("Containerfile", CONTAINERFILE)
        .with_file("status", STATUS)
        .with_spec(build={"procedure": "buildah", "parameters": {"buildArgs": [f"BASE={base}"]}})
        .apply()
    )

    body = build.until_phase("Succeeded")

    status, reference = body["status"], body["status"]["image"]["reference"]
    assert set(steps_of(body).values()) == {"Succeeded"}
    assert condition(body, "Verified")["status"] == "True"
    assert "SBOM and provenance with the platform's" in condition(body, "Verified")["message"]
    for kind in ("sbom", "provenance", "signature"):
        bascule.exec(
            ["skopeo", "inspect", "--raw", f"docker://{build.made.repository}@{status['image'][kind]}"], check=True
        )
    assert tags(bascule, build.made.candidates) == []

    document = attested(bascule, tmp_path, reference, "spdxjson")
    assert {"name": "bascule-marker", "versionInfo": "4.2-1"}.items() <= next(
        package for package in document["packages"] if package["name"] == "bascule-marker"
    ).items()
    (tmp_path / "sbom.json").write_text(json.dumps(document))
    syft = str(Path(sys.executable).with_name("syft"))
    read = json.loads(
        bascule.exec([syft, "convert", str(tmp_path / "sbom.json"), "-o", "syft-json"], check=True).stdout
    )
    assert "bascule-marker" in [package["name"] for package in read["artifacts"]]

    provenance = attested(bascule, tmp_path, reference, "slsaprovenance1")
    definition = provenance["buildDefinition"]
    assert definition["internalParameters"]["run"] == f"{body['metadata']['uid']}/1"
    assert definition["internalParameters"]["tenant"] == tenant.name
    assert definition["resolvedDependencies"][0]["digest"] == {
        "sha256": status["source"]["revision"].removeprefix("sha256:")
    }
    assert definition["resolvedDependencies"][1] == {
        "uri": f"docker://{base}",
        "digest": {"sha256": digest_of(bascule, base).removeprefix("sha256:")},
    }
    assert definition["externalParameters"]["build"]["parameters"] == {"buildArgs": [f"BASE={base}"]}
    assert body["metadata"]["uid"] in provenance["runDetails"]["metadata"]["invocationId"]


def test_the_provenance_of_a_git_source_names_its_commit(
    image_build: Builder, bascule: Cluster, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in image_build("x").files.items():
        (source / name).write_text(content)
    url = bascule.make_git_repository("attested", source)

    build = image_build("from-git").with_spec(source={"git": {"url": url, "revision": "main"}}).apply()

    status = build.until_phase("Succeeded")["status"]
    provenance = attested(bascule, tmp_path, status["image"]["reference"], "slsaprovenance1")
    [found, *_] = provenance["buildDefinition"]["resolvedDependencies"]
    assert found == {
        "uri": f"git+{url}@{status['source']['revision']}",
        "digest": {"gitCommit": status["source"]["revision"]},
    }


def test_a_deleted_build_takes_what_was_attested_with_it(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("taken-back").with_publish(approval={"required": True}).apply()
    image = build.until_phase("Waiting")["status"]["image"]

    build.delete()
    build.until_gone()

    assert tags(bascule, build.made.candidates) == []
    for gone in ("digest", "signature", "sbom", "provenance"):
        found = bascule.exec(["skopeo", "inspect", "--raw", f"docker://{build.made.candidates}@{image[gone]}"])
        assert found.returncode != 0, gone


def test_a_signing_key_with_the_wrong_password_publishes_nothing(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    key, _, _ = installation.make_key_pair(bascule)
    installation.apply(bascule, installation.signing_secret(tenant.namespace, key, "canary-wrong", "wrong-password"))

    build = image_build("locked").with_spec(sign={"keySecretRef": {"name": "wrong-password"}}).apply()

    body = build.until_phase("Failed")
    assert body["status"]["failure"]["type"] == "SigningFailed"
    assert body["status"]["failure"]["step"] == "sign"
    assert "canary-wrong" not in json.dumps(body)
    assert condition(body, "Verified").get("status") != "True"
    assert tags(bascule, build.made.repository) == []
    assert tags(bascule, build.made.candidates) == []
