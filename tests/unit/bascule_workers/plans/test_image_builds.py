"""Pure planning of an ImageBuild."""

from __future__ import annotations

from bascule_workers.plans import image_builds as plans
from tests.support.runs import image_build


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
