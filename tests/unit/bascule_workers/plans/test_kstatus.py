"""Whether what a drill applied is ready, since when, and what is in its way."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_workers.plans.kstatus import Standing, standing_of, wants_pods
from tests.support.drill_manifests import Json, claim, config_map, deployment, job, stateful_set

T0, T1 = "2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z"
AT0, AT1 = 1795348800, 1795349100


def live(manifest: Json, generation: int = 1, **status: Any) -> Json:
    metadata = {**manifest["metadata"], "generation": generation, "creationTimestamp": T0}
    return {**manifest, "metadata": metadata, "status": status}


def condition(kind: str, status: str = "True", **fields: Any) -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": T1, **fields}


def pod(labels: Json, **status: Any) -> Json:
    return {"metadata": {"name": "web-1", "labels": labels}, "status": status}


def container(**state: Any) -> Json:
    return {"name": "web", "image": "example.com/web:1", "restartCount": 0, "state": {}} | state


READY = pod({"app": "web"}, conditions=[condition("Ready")])
PULLING = pod(
    {"app": "web"},
    containerStatuses=[container(state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off  pulling"}})],
)
CRASHING = pod(
    {"app": "web"},
    containerStatuses=[
        container(
            restartCount=3,
            state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            lastState={"terminated": {"exitCode": 2, "message": "no database"}},
        )
    ],
)
UNSCHEDULABLE = pod(
    {"app": "web"}, conditions=[condition("PodScheduled", "False", reason="Unschedulable", message="no memory")]
)
DONE = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
BEGUN = {"observedGeneration": 1, "replicas": 1}


@pytest.mark.parametrize(
    ("found", "pods", "standing"),
    [
        pytest.param(
            live(deployment(), **DONE, conditions=[condition("Available")]),
            [READY],
            Standing("Deployment/web", ready=True, at=AT1),
            id="all its pods are available",
        ),
        pytest.param(
            live(deployment(), generation=2, **DONE),
            [READY],
            Standing("Deployment/web", ready=False, message="its controller has not seen it yet"),
            id="what was available is of before a change",
        ),
        pytest.param(
            live(deployment()),
            [],
            Standing("Deployment/web", ready=False, message="its controller has not seen it yet"),
            id="nobody has looked at it",
        ),
        pytest.param(
            live(deployment(), **(DONE | {"replicas": 2})),
            [READY],
            Standing("Deployment/web", ready=False, message="1 of 1 pods are available"),
            id="an old pod is still there",
        ),
        pytest.param(
            live(deployment(replicas=0), observedGeneration=1, conditions=[condition("Available")]),
            [],
            Standing("Deployment/web", ready=True, at=AT1),
            id="none are wanted",
        ),
        pytest.param(
            live(deployment(), **BEGUN),
            [PULLING],
            Standing(
                "Deployment/web",
                ready=False,
                message="0 of 1 pods are available; Pod web-1: container web of example.com/web:1: ImagePullBackOff: "
                "Back-off pulling",
            ),
            id="an image cannot be pulled",
        ),
        pytest.param(
            live(deployment(), **BEGUN),
            [CRASHING],
            Standing(
                "Deployment/web",
                ready=False,
                message="0 of 1 pods are available; Pod web-1: container web of example.com/web:1 ended with exit code "
                "2, 3 restarts: no database",
            ),
            id="a container crashes",
        ),
        pytest.param(
            live(deployment(), **BEGUN),
            [UNSCHEDULABLE],
            Standing(
                "Deployment/web",
                ready=False,
                message="0 of 1 pods are available; Pod web-1: no node takes it: no memory",
            ),
            id="no node takes a pod",
        ),
        pytest.param(
            live(deployment(), **BEGUN),
            [pod({"app": "other"}, containerStatuses=CRASHING["status"]["containerStatuses"])],
            Standing("Deployment/web", ready=False, message="0 of 1 pods are available"),
            id="another's pod crashes",
        ),
        pytest.param(
            live(deployment(), **BEGUN, conditions=[condition("ReplicaFailure", message="exceeded quota")]),
            [],
            Standing("Deployment/web", ready=False, message="0 of 1 pods are available; exceeded quota"),
            id="its pods are refused",
        ),
        pytest.param(
            live(
                deployment(),
                **BEGUN,
                conditions=[condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")],
            ),
            [],
            Standing("Deployment/web", ready=False, failed=True, message="timed out"),
            id="it made no progress in time",
        ),
        pytest.param(
            live(stateful_set(), **DONE, currentRevision="a", updateRevision="a"),
            [pod({"app": "db"}, conditions=[condition("Ready")])],
            Standing("StatefulSet/db", ready=True, at=AT1),
            id="a StatefulSet is ready with its last pod",
        ),
        pytest.param(
            live(stateful_set(), **DONE, currentRevision="a", updateRevision="b"),
            [],
            Standing("StatefulSet/db", ready=False, message="1 of 1 pods are ready"),
            id="a StatefulSet that rolls out",
        ),
        pytest.param(
            live(job(), conditions=[condition("Complete")], completionTime=T1),
            [],
            Standing("Job/load", ready=True, at=AT1),
            id="a Job is ready when it is complete",
        ),
        pytest.param(
            live(job(completions=3), succeeded=1),
            [],
            Standing("Job/load", ready=False, message="1 of 3 completions"),
            id="a Job that goes on",
        ),
        pytest.param(
            live(job(), conditions=[condition("Failed", message="backoff limit")]),
            [pod({"batch.kubernetes.io/job-name": "load"}, containerStatuses=CRASHING["status"]["containerStatuses"])],
            Standing(
                "Job/load",
                ready=False,
                failed=True,
                message="backoff limit; Pod web-1: container web of example.com/web:1 ended with exit code 2, "
                "3 restarts: no database",
            ),
            id="a Job that failed",
        ),
        pytest.param(
            live(claim(), phase="Pending"),
            [],
            Standing("PersistentVolumeClaim/data", ready=True, message="not bound to a volume yet", at=AT0),
            id="a claim that waits for its first pod is no obstacle",
        ),
        pytest.param(
            live(claim(), phase="Lost"),
            [],
            Standing("PersistentVolumeClaim/data", ready=False, failed=True, message="its volume is lost"),
            id="a claim that lost its volume",
        ),
        pytest.param(live(config_map()), [], Standing("ConfigMap/settings", ready=True, at=AT0), id="a ConfigMap"),
        pytest.param(
            live(spoilt := config_map()) | {"metadata": {**spoilt["metadata"], "deletionTimestamp": T1}},
            [],
            Standing("ConfigMap/settings", ready=False, message="is being deleted"),
            id="what is being deleted",
        ),
    ],
)
def test_how_an_object_stands(found: Json, pods: list[Json], standing: Standing) -> None:
    assert standing_of(found, found, pods) == standing


def test_what_is_not_seen_yet_is_not_ready() -> None:
    assert standing_of(job(), None, []) == Standing("Job/load", ready=False, message="not there yet")


def test_what_has_no_pod_at_all_wants_pods() -> None:
    made = live(job()) | {"metadata": {"name": "load", "uid": "u1"}}
    of_another = {"metadata": {"name": "p", "ownerReferences": [{"uid": "u2"}]}}
    its_own = {"metadata": {"name": "p", "ownerReferences": [{"uid": "u1"}]}}
    assert wants_pods(made, [of_another])
    assert not wants_pods(made, [of_another, its_own])
    assert not wants_pods(None, [])
