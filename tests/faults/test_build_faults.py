"""Whatever dies: one run, one digest, one signature, one Job per step, and a status that says what is true."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support import faults
from tests.support.builds import (
    Build,
    ImageBuildBuilder,
    condition,
    digest_of,
    phase_of,
    step_objects,
    steps_of,
    tags,
)

Builder = Callable[[str], ImageBuildBuilder]
STEPS = ("resolve", "build", "test-greets", "sbom", "sign", "attest", "verify", "publish")


def _each_effect_once(build: Build) -> None:
    """Counted where the effects are: in the registry and in the API server's audit log."""
    body = build.until_phase("Succeeded")
    made, cluster = build.made, build.cluster
    digest = digest_of(cluster, f"{made.repository}:v1")
    assert body["status"]["image"]["digest"] == digest
    assert body["status"]["run"]["number"] == 1
    assert sorted(tag for tag in tags(cluster, made.repository) if not tag.startswith("sha256-")) == ["v1"]
    assert len([tag for tag in tags(cluster, made.repository) if tag.startswith("sha256-")]) == 1
    assert tags(cluster, made.candidates) == []
    jobs = Counter(faults.jobs_created(cluster, made.tenant.steps_namespace))
    assert len(jobs) == 2, jobs
    assert set(jobs.values()) == {1}, jobs
    uid = body["metadata"]["uid"]
    assert step_objects(cluster, made.tenant, uid, "secrets,configmaps") == []


@pytest.mark.parametrize("moment", ["started", "succeeded"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_around_a_steps_effect_repeats_nothing(
    image_build: Builder, bascule: Cluster, step: str, moment: str
) -> None:
    def ours(event: dict[str, Any]) -> bool:
        text = json.dumps(event)
        return event["type"].endswith(moment) and f'"{step}"' in text and build_uid[0] in text

    build_uid = ["not yet applied"]
    with faults.EventWatcher(bascule, ours, lambda: faults.sigkill(bascule, "worker")) as watcher:
        build = image_build("killed").with_test("greets", "cat", "/greeting").apply()
        build_uid[0] = build.until(lambda body: True, "there")["metadata"]["uid"]
        assert watcher.matched.wait(timeout=180), f"no audit event {moment} of step {step} was seen"

    _each_effect_once(build)


@pytest.mark.smoke
def test_operator_and_worker_killed_again_and_again_lose_and_repeat_nothing(
    image_build: Builder, bascule: Cluster
) -> None:
    build = image_build("hail").with_test("greets", "cat", "/greeting").apply()

    for component in ("operator", "worker", "operator", "worker", "operator"):
        assert faults.sigkill(bascule, component) > 0
        faults.wait_ready(bascule, component)

    _each_effect_once(build)


@pytest.mark.parametrize("step", ["build", "test-soak"])
def test_a_deletion_completes_although_operator_and_worker_die_during_it(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle, step: str
) -> None:
    build = image_build("dying").with_test("soak", "sleep", "3600").apply()
    body = build.until_step(step, "Running")

    build.delete()
    faults.sigkill(bascule, "worker")
    faults.sigkill(bascule, "operator")
    build.until_gone()

    assert tags(bascule, build.made.candidates) == []
    uid = body["metadata"]["uid"]
    assert step_objects(bascule, tenant, uid, "jobs,pods,secrets,configmaps") == []


def test_a_registry_that_is_away_for_a_minute_delays_and_breaks_nothing(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("away").with_test("wait", "sleep", "5").apply()
    build.until_step("test-wait", "Running")

    bascule.stop("registry")
    try:
        time.sleep(60)
        assert phase_of(build.get() or {}) == "Running"
    finally:
        bascule.start("registry")

    build.until_phase("Succeeded")


def test_temporal_away_at_the_start_is_said_and_waited_for(image_build: Builder, bascule: Cluster) -> None:
    made = image_build("early")
    bascule.stop("temporal")
    try:
        build = made.apply()
        body = build.until(
            lambda body: condition(body, "Ready").get("reason") == "TemporalUnavailable", "told that Temporal is away"
        )
        assert phase_of(body) == "Pending"
    finally:
        bascule.start("temporal")

    assert build.until_phase("Succeeded")["status"]["run"]["number"] == 1


def test_temporal_away_in_between_loses_nothing(image_build: Builder, bascule: Cluster) -> None:
    build = image_build("between").with_test("wait", "sleep", "10").apply()
    build.until_step("test-wait", "Running")

    bascule.kill("temporal")
    time.sleep(15)
    bascule.start("temporal")

    body = build.until_phase("Succeeded")
    assert body["status"]["run"]["number"] == 1


def test_a_node_drained_under_a_build_moves_the_step_and_one_candidate_results(
    image_build: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    slow = "ARG BASE\nFROM ${BASE}\nRUN sleep 20\nUSER 65532\n"
    build = image_build("drained").with_file("Containerfile", slow).apply()
    body = build.until_step("build", "Running")
    selector = f"bascule.dev/run={body['metadata']['uid']}.1"
    query = ["get", "pods", "-n", tenant.steps_namespace, "-l", selector, "-o", "jsonpath={.items[0].spec.nodeName}"]
    node = ""
    for _ in range(60):
        if node := bascule.kubectl(*query).strip():
            break
        time.sleep(0.5)
    assert node, "no pod of the build was scheduled"
    try:
        bascule.kubectl(
            "drain", node, "--pod-selector=bascule.dev/run", "--force", "--delete-emptydir-data", "--timeout=90s"
        )
        body = build.until_phase("Succeeded")
    finally:
        bascule.kubectl("uncordon", node)

    assert steps_of(body)["build"] == "Succeeded"
    assert tags(bascule, build.made.candidates) == []
    assert digest_of(bascule, f"{build.made.repository}:v1") == body["status"]["image"]["digest"]
