"""ImageBuilds as a user runs them: kubectl in, registry out, everything real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import (
    ImageBuildBuilder,
    condition,
    digest_of,
    step_objects,
    steps_of,
    tags,
)

Builder = Callable[[str], ImageBuildBuilder]


@pytest.mark.smoke
def test_a_build_is_published_by_digest_with_a_signature_that_others_verify(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, tmp_path: Path
) -> None:
    build = image_build("web").with_test("greets", "cat", "/greeting").with_publish(tags=["v1", "latest"]).apply()

    bascule.kubectl("wait", "--for=condition=Ready", *build.arguments, "--timeout=240s")
    body = build.until_phase("Succeeded")

    status, repository = body["status"], build.made.repository
    digest = digest_of(bascule, f"{repository}:v1")
    assert status["image"]["reference"] == f"{repository}@{digest}"
    assert digest_of(bascule, f"{repository}:latest") == digest
    assert {tag["name"]: tag["digest"] for tag in status["published"]["tags"]} == {"v1": digest, "latest": digest}
    assert set(steps_of(body).values()) == {"Succeeded"}
    assert condition(body, "Verified")["status"] == "True"
    assert not condition(body, "Stalled")
    assert not condition(body, "Reconciling")
    key = tmp_path / "cosign.pub"
    key.write_text(tenant.public_key)
    bascule.exec(
        ["cosign", "verify", "--key", str(key), "--insecure-ignore-tlog=true", f"{repository}@{digest}"], check=True
    )
    manifest = json.loads(bascule.exec(["skopeo", "inspect", "--raw", f"docker://{repository}:v1"], check=True).stdout)
    assert manifest["annotations"]["dev.bascule.run"] == f"{body['metadata']['uid']}/1"
    assert tags(bascule, build.made.candidates) == []
    assert step_objects(bascule, tenant, body["metadata"]["uid"], "secrets,configmaps") == []


def test_a_build_whose_test_fails_says_so_and_its_candidate_is_gone(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("broken").with_test("smoke", "sh", "-c", "echo 'port 8080 is silent' >&2; exit 3").apply()

    body = build.until_phase("Failed")

    assert body["status"]["failure"]["type"] == "TestFailed"
    assert body["status"]["failure"]["step"] == "test-smoke"
    assert "port 8080 is silent" in json.dumps(body["status"]["steps"])
    assert steps_of(body)["publish"] == "Skipped"
    assert condition(body, "Ready")["status"] == "False"
    assert condition(body, "Stalled")["status"] == "True"
    assert body["status"]["compensation"]["state"] == "Succeeded"
    assert tags(bascule, build.made.candidates) == []
    assert tags(bascule, build.made.repository) == []


def test_a_build_deleted_half_way_leaves_nothing_behind(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    build = image_build("abandoned").with_test("soak", "sleep", "3600").apply()
    body = build.until_step("test-soak", "Running")

    build.delete()
    build.until_gone()

    assert tags(bascule, build.made.candidates) == []
    assert tags(bascule, build.made.repository) == []
    assert step_objects(bascule, tenant, body["metadata"]["uid"], "jobs,pods,secrets,configmaps") == []


def test_a_new_revision_runs_again_and_moves_the_tag(image_build: Builder, bascule: Cluster) -> None:
    first = image_build("again").apply().until_phase("Succeeded")

    build = image_build("again").with_file("greeting", "two\n").with_publish(tags=["v1", "v2"]).apply()
    build.until(lambda body: body["status"]["run"]["number"] == 2, "at run 2")
    second = build.until_phase("Succeeded")

    moved = {tag["name"]: tag.get("previousDigest") for tag in second["status"]["published"]["tags"]}
    assert moved == {"v1": first["status"]["image"]["digest"], "v2": None}
    assert [past["number"] for past in second["status"]["history"]] == [2, 1]


def test_two_builds_of_one_tag_both_say_who_won(image_build: Builder, tenant: TenantHandle, bascule: Cluster) -> None:
    repository = f"{bascule.registry}/{tenant.name}/shared"
    builds = [image_build(name).with_publish(repository=repository).apply() for name in ("left", "right")]

    bodies = [build.until_phase("Succeeded") for build in builds]

    current = digest_of(bascule, f"{repository}:v1")
    (winner,) = [body for body in bodies if body["status"]["image"]["digest"] == current]
    (loser,) = [build for build in builds if build.made.name != winner["metadata"]["name"]]
    told = loser.until(lambda body: condition(body, "Published").get("status") == "False", "told of the moved tag")
    assert winner["metadata"]["name"] in condition(told, "Published")["message"]
    assert winner["status"]["published"]["tags"][0]["previousDigest"] == told["status"]["image"]["digest"]


def test_the_same_content_published_twice_survives_the_second_ones_failure(
    image_build: Builder, tenant: TenantHandle, bascule: Cluster, tmp_path: Path
) -> None:
    repository = f"{bascule.registry}/{tenant.name}/twice"
    first = image_build("first").with_publish(repository=repository).apply().until_phase("Succeeded")

    image_build("second").with_publish(repository=repository).with_test("no", "false").apply().until_phase("Failed")

    assert digest_of(bascule, f"{repository}:v1") == first["status"]["image"]["digest"]
    bascule.exec(
        ["skopeo", "copy", f"docker://{first['status']['image']['reference']}", f"dir:/tmp/{tenant.name}"], check=True
    )


def test_a_git_source_is_pinned_to_the_commit(image_build: Builder, bascule: Cluster, tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    for name, content in image_build("x").files.items():
        (tmp_path / "image" / name).write_text(content)
    url = bascule.make_git_repository("pinned", tmp_path)
    commit = bascule.exec(["git", "ls-remote", url, "HEAD"], check=True).stdout.split()[0]

    build = image_build("from-git").with_spec(source={"git": {"url": url, "revision": "main", "path": "image"}}).apply()

    assert build.until_phase("Succeeded")["status"]["source"]["revision"] == commit


NASTY = [
    "$(id)",
    "${HOME}",
    "`id`",
    "{{ .Values }}",
    "--flag",
    "quo'te\"s",
    "two\nlines\n",
    "$(BASCULE_RUN)",
    "$$",
    " ",
]


def test_parameters_reach_the_container_unchanged(image_build: Builder) -> None:
    script = 'i=0; for a in "$@"; do printf "%s" "$a" | cmp - /bascule/params/command/$((i + 4)); i=$((i + 1)); done'
    check = f"set -e; {script}; test $# -eq {len(NASTY)}"

    build = image_build("nasty").with_test("same", "sh", "-c", check, "check", *NASTY).apply()

    build.until_phase("Succeeded")


def test_a_name_of_253_characters_works(image_build: Builder) -> None:
    name = ".".join(["n" * 50] * 4 + ["m" * 49])
    assert len(name) == 253

    build = image_build(name).apply()

    assert build.until_phase("Succeeded")["status"]["run"]["number"] == 1


def test_describe_tells_the_story(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("story").with_test("no", "sh", "-c", "echo disk is full; exit 9").apply()
    build.until_phase("Failed")

    described = bascule.kubectl("describe", *build.arguments)

    assert "disk is full" in described
    assert "RunStarted" in described
    assert "RunFailed" in described


def test_kubectl_refuses_what_cannot_work_and_names_the_remedy(image_build: Builder) -> None:
    both = {"git": {"url": "https://git.example.com/a.git"}, "configMap": {"name": "a"}}

    with pytest.raises(subprocess.CalledProcessError) as refused:
        image_build("both").with_spec(source=both).apply()

    assert "set exactly one of source.git and source.configMap" in str(refused.value.stderr)
