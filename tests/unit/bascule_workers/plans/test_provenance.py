"""The provenance that is attached, word by word."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bascule_workers.messages import AttestRequest, BaseImage, Candidate, GitPin, SourcePin
from bascule_workers.plans import provenance
from tests.support.runs import BUILDAH, RUN_IMAGE, image_build

BASE = BaseImage(reference="r.example.com/lib/base:1", digest="sha256:" + "b" * 64)
UID = "6f0d9a52-0000-4000-8000-000000000000"
COMMIT = "c" * 40
BUILDER = "https://builder.example.com/"
PIN = SourcePin(
    revision=COMMIT, git=GitPin(url="https://git.example.com/web.git", commit=COMMIT, path="image", login=True)
)


def request(source: SourcePin | None = None) -> AttestRequest:
    build = image_build(UID, tests=("smoke", "load"), build={"parameters": {"target": "final"}})
    source = source or SourcePin(revision="sha256:" + "5" * 64)
    facts = provenance.facts(build, source, [BASE], "acme/ImageBuild-x/run-1", 1_790_000_000, 1_790_000_060)
    image = Candidate(repository="r.example.com/a", digest="sha256:" + "a" * 64, media_type="application/x", size=1)
    return AttestRequest(run=build.run, tenant=build.tenant, step="attest", image=image, facts=facts)


def test_the_predicate() -> None:
    assert provenance.predicate(request(), BUILDER, "0.1.0") == {
        "buildDefinition": {
            "buildType": "https://bascule.dev/build-types/image-build/v1",
            "externalParameters": {
                "source": {"configMap": {"name": "src"}},
                "build": {"procedure": "buildah", "parameters": {"target": "final"}},
                "tests": [
                    {"name": "smoke", "procedure": "run-image", "parameters": {}},
                    {"name": "load", "procedure": "run-image", "parameters": {}},
                ],
            },
            "internalParameters": {
                "run": f"{UID}/1",
                "uid": UID,
                "number": 1,
                "namespace": "acme-dev",
                "name": "web",
                "revision": "1-0000000000",
                "tenant": "acme",
            },
            "resolvedDependencies": [
                {"uri": "kubernetes:configmaps/acme-dev/src", "digest": {"sha256": "5" * 64}},
                {"uri": "docker://r.example.com/lib/base:1", "digest": {"sha256": "b" * 64}},
                {
                    "uri": "kubernetes:procedures.bascule.dev/buildah",
                    "digest": {"sha256": BUILDAH.hash},
                    "annotations": {"generation": 1, "steps": ["build"]},
                },
                {
                    "uri": "kubernetes:procedures.bascule.dev/run-image",
                    "digest": {"sha256": RUN_IMAGE.hash},
                    "annotations": {"generation": 1, "steps": ["test-smoke", "test-load"]},
                },
            ],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"bascule": "0.1.0"}},
            "metadata": {
                "invocationId": "acme/ImageBuild-x/run-1",
                "startedOn": "2026-09-21T14:13:20Z",
                "finishedOn": "2026-09-21T14:14:20Z",
            },
        },
    }


def test_a_git_source_is_its_commit_and_says_nothing_of_its_login() -> None:
    source = provenance.predicate(request(PIN), BUILDER, "")["buildDefinition"]["resolvedDependencies"][0]

    assert source == {
        "uri": f"git+https://git.example.com/web.git@{COMMIT}",
        "digest": {"gitCommit": COMMIT},
        "name": "image",
    }


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        pytest.param(("buildDefinition", "buildType"), "x", "buildType x", id="another type"),
        pytest.param(("buildDefinition", "internalParameters", "run"), "u/2", "run u/2", id="another run"),
        pytest.param(("buildDefinition", "internalParameters", "tenant"), "eve", "tenant eve", id="another tenant"),
        pytest.param(("runDetails", "builder", "id"), "https://eve/", "id https://eve/", id="another builder"),
        pytest.param(("runDetails", "metadata", "invocationId"), "y", "invocationId y", id="another workflow"),
        pytest.param(("buildDefinition", "resolvedDependencies"), [], f"the source {COMMIT}", id="no source"),
        pytest.param(
            ("buildDefinition", "resolvedDependencies"),
            [{"digest": {"gitCommit": COMMIT}}],
            "the base image r.example.com/lib/base:1",
            id="no base image",
        ),
        pytest.param(("buildDefinition",), "nonsense", "buildType None", id="nonsense"),
    ],
)
def test_what_differs_is_named(path: tuple[str, ...], value: Any, said: str) -> None:
    found: Any = copy.deepcopy(provenance.predicate(request(PIN), BUILDER, "0.1.0"))
    place = found
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value

    assert said in provenance.wrong(found, request(PIN), BUILDER)


def test_another_version_of_the_same_platform_is_fine() -> None:
    assert provenance.wrong(provenance.predicate(request(PIN), BUILDER, "0.1.0"), request(PIN), BUILDER) == ""
