"""What `Steps` promises, on Kubernetes Jobs of the real cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from bascule_api import names
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.errors import StepFailedError
from bascule_workers.plans.outcomes import Failed, Lost, Running, Succeeded, TimedOut
from hack.cluster.handle import Cluster

PATIENCE = 90.0


@pytest.fixture
async def steps(api: ApiServer) -> AsyncIterator[KubernetesJobs]:
    watch = PodWatch(api)
    yield KubernetesJobs(api, watch)
    await watch.close()


def job(cluster: Cluster, namespace: str, *command: str, **changes: Any) -> dict[str, Any]:
    """A Job as `render_job` makes them, of the smallest image that there is."""
    labels = {names.LABEL_RUN: f"{namespace}.1", names.LABEL_STEP: "smoke", names.LABEL_SPEC_HASH: "1"}
    container = {
        "name": "step",
        "image": changes.pop("image", cluster.images["busybox"]),
        "command": list(command),
        "terminationMessagePath": "/tmp/message",
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "securityContext": {"runAsUser": 65532},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"j-{uuid4().hex[:8]}",
            "namespace": namespace,
            "labels": labels | changes.pop("labels", {}),
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
        | changes,
    }


async def test_results_come_back_and_a_repeated_call_adopts_the_job(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    report = json.dumps({"results": {"digest": "sha256:1"}, "message": "well done"})
    made = job(cluster, namespace, "sh", "-c", f"echo '{report}' > /tmp/message")

    outcomes = [await steps.run(made, known_note="", limit_seconds=PATIENCE) for _ in range(2)]

    assert outcomes == [Succeeded({"digest": "sha256:1"}, "well done")] * 2
    assert len(json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]) == 1


async def test_a_job_of_that_name_that_is_not_ours_is_left_alone(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    made = job(cluster, namespace, "true")
    await steps.run(made, known_note="", limit_seconds=PATIENCE)
    made["metadata"]["labels"][names.LABEL_SPEC_HASH] = "2"
    with pytest.raises(StepFailedError, match="is not this step's"):
        await steps.run(made, known_note="", limit_seconds=PATIENCE)


async def test_an_exit_code_and_the_last_lines_are_told(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    made = job(cluster, namespace, "sh", "-c", "echo port 8080 is silent >&2; exit 3")

    outcome = await steps.run(made, known_note="", limit_seconds=PATIENCE)

    assert isinstance(outcome, Failed)
    assert (outcome.exit_code, outcome.container) == (3, "step")
    assert "port 8080 is silent" in await steps.log_tail(namespace, outcome.pod, outcome.container)
    assert await steps.log_tail(namespace, "no-such-pod", "step") == ""


async def test_waiting_ends_and_can_be_taken_up_again(cluster: Cluster, namespace: str, steps: KubernetesJobs) -> None:
    made = job(cluster, namespace, "sleep", "8")
    assert await steps.run(made, known_note="", limit_seconds=2) == Running()
    assert isinstance(await steps.run(made, known_note="", limit_seconds=PATIENCE), Succeeded)


async def test_a_step_that_takes_too_long_is_told(cluster: Cluster, namespace: str, steps: KubernetesJobs) -> None:
    made = job(cluster, namespace, "sleep", "60", activeDeadlineSeconds=5)
    assert isinstance(await steps.run(made, known_note="", limit_seconds=PATIENCE), TimedOut)


async def test_an_image_that_cannot_be_pulled_is_told_once(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    made = job(cluster, namespace, "true", image=f"{cluster.registry}/no/such:image")
    outcome = await steps.run(made, known_note="", limit_seconds=PATIENCE)
    assert isinstance(outcome, Running)
    assert "no/such:image" in outcome.note
    assert isinstance(await steps.run(made, known_note=outcome.note, limit_seconds=1), Running)


async def test_pods_that_are_refused_are_told(cluster: Cluster, namespace: str, steps: KubernetesJobs) -> None:
    cluster.kubectl("create", "quota", "none", "-n", namespace, "--hard=pods=0")
    made = job(cluster, namespace, "true")
    outcome = await steps.run(made, known_note="", limit_seconds=PATIENCE)
    assert isinstance(outcome, Running)
    assert outcome.note.startswith("no pod can be made: the pod is forbidden: exceeded quota: none")
    assert await steps.run(made, known_note=outcome.note, limit_seconds=1) == outcome


async def test_a_deleted_pod_is_a_lost_job(cluster: Cluster, namespace: str, steps: KubernetesJobs) -> None:
    made = job(cluster, namespace, "sleep", "60")
    waiting = asyncio.create_task(steps.run(made, known_note="", limit_seconds=PATIENCE))
    selector = f"batch.kubernetes.io/job-name={made['metadata']['name']}"
    for _ in range(200):
        if "Running" in cluster.kubectl("get", "pods", "-n", namespace, "-l", selector):
            break
        await asyncio.sleep(0.2)
    await asyncio.to_thread(cluster.kubectl, "delete", "pods", "-n", namespace, "-l", selector)
    assert isinstance(await waiting, Lost)


async def test_a_deleted_job_is_lost(cluster: Cluster, namespace: str, steps: KubernetesJobs) -> None:
    made = job(cluster, namespace, "sleep", "60")
    await steps.run(made, known_note="", limit_seconds=1)
    waiting = asyncio.create_task(steps.run(made, known_note="", limit_seconds=PATIENCE))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(cluster.kubectl, "delete", "job", made["metadata"]["name"], "-n", namespace)
    assert isinstance(await waiting, Lost)


async def test_stopping_deletes_what_runs_and_waits_for_its_end(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    over, running = job(cluster, namespace, "true"), job(cluster, namespace, "sleep", "60")
    await steps.run(over, known_note="", limit_seconds=PATIENCE)
    await steps.run(running, known_note="", limit_seconds=1)

    run = running["metadata"]["labels"][names.LABEL_RUN]
    assert (await steps.stop(namespace, run, finished_too=False, limit_seconds=PATIENCE)).remaining == []
    assert [item["metadata"]["name"] for item in _jobs(cluster, namespace)] == [over["metadata"]["name"]]

    assert (await steps.stop(namespace, run, finished_too=True, limit_seconds=PATIENCE)).remaining == []
    assert _jobs(cluster, namespace) == []
    assert (await steps.stop(namespace, run, finished_too=True, limit_seconds=PATIENCE)).remaining == []


async def test_jobs_are_seen_by_one_watch_and_never_asked_for_one_by_one(
    cluster: Cluster, namespace: str, steps: KubernetesJobs
) -> None:
    made = [job(cluster, namespace, "sleep", "3") for _ in range(5)]
    outcomes = await asyncio.gather(*(steps.run(one, known_note="", limit_seconds=PATIENCE) for one in made))
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)


def _jobs(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "jobs", "-n", namespace, "-o", "json"))["items"]
    return items
