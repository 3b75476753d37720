"""Pure planning of an ImageBuild."""

from __future__ import annotations

import pytest

from bascule_workers.plans import image_builds as plans
from tests.support.runs import image_build

OURS, BEFORE, ANOTHER = "sha256:ours", "sha256:before", "sha256:another"


@pytest.mark.parametrize(
    ("current", "recorded", "previous"),
    [
        pytest.param({"v1": ""}, {}, {"v1": ""}, id="a new tag"),
        pytest.param({"v1": BEFORE}, {}, {"v1": BEFORE}, id="a tag that moves"),
        pytest.param({"v1": OURS}, {"v1": BEFORE}, {"v1": BEFORE}, id="an attempt before moved it, and recorded"),
        pytest.param(
            {"v1": OURS, "v2": BEFORE}, {"v1": "", "v2": BEFORE}, {"v1": "", "v2": BEFORE}, id="one of two moved"
        ),
        pytest.param({"v1": ANOTHER}, {"v1": BEFORE}, {"v1": ANOTHER}, id="somebody published in between"),
    ],
)
def test_what_a_tag_pointed_at_before(
    current: dict[str, str], recorded: dict[str, str], previous: dict[str, str]
) -> None:
    assert plans.previous_digests(current, recorded, OURS) == previous


def test_steps_are_in_the_order_in_which_they_begin() -> None:
    build = image_build(tests=("smoke", "load"))
    assert plans.steps(build) == [
        "resolve",
        "build",
        "test-smoke",
        "test-load",
        "sbom",
        "sign",
        "attest",
        "verify",
        "publish",
    ]


def test_an_image_of_another_run_is_not_ours() -> None:
    run = image_build().run
    assert plans.not_ours({"dev.bascule.run": f"{run.uid}/1"}, run, "x@y") == ""
    assert "BASCULE_RUN" in plans.not_ours({"dev.bascule.run": f"{run.uid}/2"}, run, "x@y")
    assert "BASCULE_RUN" in plans.not_ours({}, run, "x@y")


def test_secrets_are_asked_for_the_hosts_that_they_are_sent_to() -> None:
    publish = {
        "repository": "a.example.com/x/y",
        "candidateRepository": "b.example.com:5000/x/z",
        "secretRef": {"name": "push"},
    }
    uses = plans.secret_uses(image_build(publish=publish))
    assert [(use.name, use.hosts) for use in uses] == [
        ("signing-key", []),
        ("push", ["a.example.com", "b.example.com:5000"]),
    ]
