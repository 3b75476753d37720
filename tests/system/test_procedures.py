"""The shipped Procedures besides buildah and run-image, as a user names them."""

from __future__ import annotations

import json
from collections.abc import Callable

from hack.cluster.handle import Cluster
from tests.support.builds import ImageBuildBuilder, condition, steps_of, tags

Builder = Callable[[str], ImageBuildBuilder]

TEMPLATE = json.dumps({"builders": [{"type": "file", "target": "greeting.txt", "content": "hello from Packer\n"}]})
POLICY = {"name": "policy", "procedure": "image-policy"}


def test_a_packer_template_is_published_like_an_image(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("packed").with_file("template.json", TEMPLATE).with_spec(build={"procedure": "packer"}).apply()

    body = build.until_phase("Succeeded")

    image = body["status"]["image"]
    manifest = json.loads(
        bascule.exec(["skopeo", "inspect", "--raw", f"docker://{image['reference']}"], check=True).stdout
    )
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == ["greeting.txt", "packer-artifacts.json"]
    assert steps_of(body)["sbom"] == "Skipped"
    assert steps_of(body)["attest"] == "Succeeded"
    assert "there is no SBOM" in condition(body, "Verified")["message"]
    assert "provenance" in image
    assert "sbom" not in image
    assert tags(bascule, build.made.candidates) == []


def test_a_packer_template_that_is_none_fails_clearly(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("no-template").with_file("template.json", "{").with_spec(build={"procedure": "packer"}).apply()

    body = build.until_phase("Failed")

    assert body["status"]["failure"]["type"] == "BuildFailed"
    assert "template.json" in body["status"]["failure"]["message"]
    assert tags(bascule, build.made.candidates) == []


def test_image_policy_passes_a_sound_image_and_its_report_goes_along(image_build: Builder, bascule: Cluster) -> None:
    lenient = {"name": "lenient", "procedure": "image-policy", "parameters": {"failOn": "Never"}}
    build = image_build("sound").with_spec(tests=[POLICY, lenient]).apply()

    body = build.until_phase("Succeeded")

    digest = body["status"]["image"]["digest"]
    reports = []
    for name in ("policy", "lenient"):
        tag = f"{digest.replace(':', '-')}.policy-{name}"
        reference = f"docker://{build.made.repository}:{tag}"
        report = bascule.exec(["skopeo", "inspect", "--raw", reference], check=True).stdout
        assert json.loads(report)["artifactType"] == "application/vnd.bascule.image-policy.report.v1"
        reports.append(report)
    assert reports[0] != reports[1]
    assert tags(bascule, build.made.candidates) == []


def test_image_policy_fails_an_image_that_runs_as_root(image_build: Builder, bascule: Cluster) -> None:
    containerfile = "ARG BASE\nFROM ${BASE}\nCOPY greeting /greeting\n"
    build = image_build("rooted").with_file("Containerfile", containerfile).with_spec(tests=[POLICY]).apply()

    body = build.until_phase("Failed")

    failure = body["status"]["failure"]
    assert (failure["type"], failure["step"]) == ("TestFailed", "test-policy")
    assert "root" in failure["message"]
    assert tags(bascule, build.made.candidates) == []
    assert tags(bascule, build.made.repository) == []
