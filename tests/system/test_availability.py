"""Two operators and two workers in the cluster: whichever is lost, the other goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE
from tests.support import faults
from tests.support.builds import ImageBuildBuilder, steps_of

Builder = Callable[[str], ImageBuildBuilder]


@contextmanager
def replicas(cluster: Cluster, component: str, count: int) -> Iterator[None]:
    """So many pods of the component, ready, within the block."""
    deployment = ["deployment", f"bascule-{component}", "-n", SYSTEM_NAMESPACE]
    before = cluster.kubectl("get", *deployment, "-o", "jsonpath={.spec.replicas}")
    cluster.kubectl("scale", *deployment, f"--replicas={count}")
    try:
        cluster.kubectl("rollout", "status", *deployment, "--timeout=120s")
        yield
    finally:
        cluster.kubectl("scale", *deployment, f"--replicas={before}")


def leader(cluster: Cluster) -> str:
    """The name of the pod that holds the Lease."""
    lease = cluster.kubectl("get", "lease", "bascule-operator", "-n", SYSTEM_NAMESPACE, "-o", "json")
    return str(json.loads(lease)["spec"].get("holderIdentity") or "")


def other_leader(cluster: Cluster, than: str) -> str:
    for _ in range(240):
        if (found := leader(cluster)) not in ("", than):
            return found
        time.sleep(0.5)
    raise AssertionError(f"nobody took over from {than}")


@pytest.mark.smoke
def test_the_second_operator_takes_over_from_a_leader_that_is_killed(image_build: Builder, bascule: Cluster) -> None:
    with replicas(bascule, "operator", 2):
        first = leader(bascule)
        build = image_build("handed-over").with_test("waits", "sleep", "20").apply()
        build.until_step("test-waits", "Running")
        assert faults.sigkill_pod(bascule, "operator", first) > 0
        second = other_leader(bascule, first)
        # One that was ready before: nothing had to be scheduled, pulled or started.
        assert second in [pod["metadata"]["name"] for pod in faults.pods(bascule, "operator")]
        body = build.until_phase("Succeeded")
        assert body["status"]["run"]["number"] == 1
        bascule.kubectl("delete", "pod", second, "-n", SYSTEM_NAMESPACE)
        assert other_leader(bascule, second) != first
        again = image_build("handed-over-again").apply()
        again.until_phase("Succeeded")


def test_the_second_worker_goes_on_with_what_the_first_was_doing(image_build: Builder, bascule: Cluster) -> None:
    with replicas(bascule, "worker", 2):
        build = image_build("carried-on").with_test("waits", "sleep", "30").apply()
        build.until_step("test-waits", "Running")
        names = [pod["metadata"]["name"] for pod in faults.pods(bascule, "worker")]
        assert len(names) == 2
        # Each in turn, so that whichever had the step lost it, and never both at once.
        assert faults.sigkill_pod(bascule, "worker", names[0]) > 0
        faults.wait_ready(bascule, "worker")
        bascule.kubectl("delete", "pod", names[1], "-n", SYSTEM_NAMESPACE)
        body = build.until_phase("Succeeded")
        assert body["status"]["run"]["number"] == 1
        assert set(steps_of(body).values()) == {"Succeeded"}
        jobs = faults.jobs_created(bascule, build.made.tenant.steps_namespace)
        assert len(jobs) == len(set(jobs)), "no step was carried out twice"
