"""How a Job fares, as Kubernetes tells it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bascule_api.failures import FailureType
from bascule_workers.plans.outcomes import (
    Failed,
    Lost,
    Outcome,
    Running,
    Succeeded,
    TimedOut,
    outcome_of,
    refusal_of_pods,
    story,
    untold,
    wants_pod,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}


def job(condition: str = "", reason: str = "", **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", "reason": reason}] if condition else []
    return {"metadata": {"name": "j"} | metadata, "status": {"conditions": conditions}}


def pod(state: dict[str, Any] | None = None, init: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "creationTimestamp": "2026-11-22T11:50:00Z"} | status.pop("metadata", {})
    containers = {
        "initContainerStatuses": [{"name": "bascule-prepare", "image": "tools", "state": init or {}}],
        "containerStatuses": [{"name": "step", "image": "app:1", "state": state or {}}],
    }
    return {"metadata": metadata, "status": {"startTime": "2026-11-22T11:59:00Z"} | containers | status}


def ended(code: int, message: str = "", reason: str = "") -> dict[str, Any]:
    return {
        "terminated": {"exitCode": code, "message": message, "reason": reason or ("Error" if code else "Completed")}
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "no such image"}}


@pytest.mark.parametrize(
    ("given", "pods", "outcome"),
    [
        pytest.param(job(), [], Running(), id="no pod yet"),
        pytest.param(job(), [pod({"running": {}})], Running(), id="it runs"),
        pytest.param(
            job("Complete"),
            [pod(ended(0, json.dumps({"results": {"digest": "sha256:1"}, "message": "well"})))],
            Succeeded({"digest": "sha256:1"}, "well"),
            id="results are read from the termination message",
        ),
        pytest.param(job("Complete"), [pod(ended(0, "just text"))], Succeeded({}, "just text"), id="or it is a text"),
        pytest.param(
            job("Complete"), [pod(ended(0, '["no", "object"]'))], Succeeded({}, '["no", "object"]'), id="or a list"
        ),
        pytest.param(job("Complete"), [], Succeeded(), id="complete, and its pod is gone"),
        pytest.param(
            job("Failed", "BackoffLimitExceeded"),
            [pod(ended(3))],
            Failed("exit code 3", 3, "p", "step"),
            id="an exit code",
        ),
        pytest.param(
            job("Failed", "BackoffLimitExceeded"),
            [pod(ended(137, reason="OOMKilled"))],
            Failed("exit code 137 (OOMKilled)", 137, "p", "step"),
            id="out of memory",
        ),
        pytest.param(
            job("Failed", "BackoffLimitExceeded"),
            [pod(init=ended(1, json.dumps({"failure": "SourceNotFound", "message": "no folder", "retryable": False})))],
            Failed("no folder", 1, "p", "bascule-prepare", FailureType.SOURCE_NOT_FOUND),
            id="preparing failed, and says how",
        ),
        pytest.param(
            job("Failed", "BackoffLimitExceeded"),
            [pod(ended(1, json.dumps({"failure": "Nonsense", "message": "m"})))],
            Failed("m", 1, "p", "step"),
            id="a failure type that there is not",
        ),
        pytest.param(
            job("Failed", "PodFailurePolicy"),
            [pod(ended(143), conditions=[DISRUPTED])],
            Lost("its pod was disrupted: Eviction API: evicting"),
            id="evicted",
        ),
        pytest.param(
            job("Failed", "BackoffLimitExceeded"),
            [pod(ended(143), metadata={"deletionTimestamp": "2026-11-22T12:00:00Z"})],
            Lost("its pod was disrupted: deleted"),
            id="its pod was deleted",
        ),
        pytest.param(job("Failed", "BackoffLimitExceeded"), [], Lost("its pod is gone"), id="its pod is gone"),
        pytest.param(job("Failed", "DeadlineExceeded"), [pod(ended(137))], TimedOut("p", "step"), id="too long"),
        pytest.param(
            job("FailureTarget", "DeadlineExceeded"),
            [pod({"running": {}})],
            TimedOut("p", "step"),
            id="too long, and its pod is still there to be asked for its log",
        ),
        pytest.param(job(deletionTimestamp="x"), [], Lost("the Job was deleted"), id="the Job is being deleted"),
        pytest.param(
            job(),
            [pod(waiting("ImagePullBackOff"))],
            Running("ImagePullBackOff of app:1: no such image"),
            id="an image that cannot be pulled is told",
        ),
        pytest.param(
            job(),
            [pod(waiting("ImagePullBackOff"), startTime="2026-11-22T11:50:00Z")],
            Failed("ImagePullBackOff of app:1: no such image", pod="p", retryable=True),
            id="and given up after a while",
        ),
        pytest.param(
            job(),
            [pod(waiting("InvalidImageName"))],
            Failed("InvalidImageName of app:1: no such image", pod="p"),
            id="an image whose name is wrong is given up at once",
        ),
        pytest.param(
            job(),
            [
                pod(
                    conditions=[
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
                    ]
                )
            ],
            Running("no node takes the pod: full"),
            id="unschedulable",
        ),
        pytest.param(
            job(),
            [pod({"running": {}}, metadata={"deletionTimestamp": "2026-11-22T11:50:00Z"})],
            Lost("its node does not answer"),
            id="its node is lost",
        ),
        pytest.param(
            job("Complete"),
            [
                pod(ended(1), metadata={"name": "old", "creationTimestamp": "2026-11-22T11:00:00Z"}),
                pod(ended(0, '{"results": {"a": "b"}}')),
            ],
            Succeeded({"a": "b"}, ""),
            id="of several pods the newest counts",
        ),
    ],
)
def test_outcomes(given: dict[str, Any], pods: list[dict[str, Any]], outcome: Outcome) -> None:
    assert outcome_of(given, pods, NOW) == outcome


@pytest.mark.parametrize(
    ("results", "told"),
    [
        pytest.param({}, "stopped", id="nothing"),
        pytest.param({"artifacts": "[]"}, "stopped", id="an empty list"),
        pytest.param({"digest": "stopped"}, "stopped", id="what the message says itself"),
        pytest.param(
            {"artifacts": '[{"id": "ami-1"}]'},
            'stopped (artifacts: [{"id": "ami-1"}])',
            id="made elsewhere",
        ),
    ],
)
def test_a_failure_tells_what_its_container_reports(results: dict[str, str], told: str) -> None:
    assert story(Failed("stopped", results=results)) == told


def event(message: str, at: str = "2026-11-22T11:59:00Z", **changes: Any) -> dict[str, Any]:
    return {"reason": "FailedCreate", "message": message, "lastTimestamp": at} | changes


FORBIDDEN = 'Error creating: pods "j-abcde" is forbidden: violates PodSecurity "restricted:latest": hostPID=true'


@pytest.mark.parametrize(
    ("events", "told"),
    [
        pytest.param([], "", id="no event"),
        pytest.param([event("x", reason="BackoffLimitExceeded")], "", id="an event of something else"),
        pytest.param([event("")], "", id="an event without a message"),
        pytest.param(
            [event(FORBIDDEN)],
            'no pod can be made: the pod is forbidden: violates PodSecurity "restricted:latest": hostPID=true',
            id="the name of the attempt is left out",
        ),
        pytest.param(
            [event("new", "2026-11-22T11:59:30Z"), event("old"), event("odd", at="", eventTime=None)],
            "no pod can be made: new",
            id="the last one counts",
        ),
    ],
)
def test_why_no_pod_can_be_made_say_the_events_of_the_job(events: list[dict[str, Any]], told: str) -> None:
    assert refusal_of_pods(events) == told


@pytest.mark.parametrize(
    ("created", "pods", "asked"),
    [
        pytest.param("2026-11-22T11:59:55Z", [], False, id="it is too early"),
        pytest.param("2026-11-22T11:59:30Z", [], True, id="a pod is due"),
        pytest.param("2026-11-22T11:59:30Z", [pod()], False, id="it has one"),
    ],
)
def test_a_job_without_a_pod_is_looked_into_after_a_while(created: str, pods: list[Any], asked: bool) -> None:
    assert wants_pod(job(creationTimestamp=created), pods, NOW) is asked


@pytest.mark.parametrize(
    ("ended_well", "declared", "names"),
    [
        pytest.param(Succeeded(), ["changes", "rebootRequired"], ["rebootRequired"], id="its pod is gone"),
        pytest.param(Succeeded({}, pod="p"), ["rebootRequired"], [], id="it was asked, and said nothing"),
        pytest.param(Succeeded(), ["changes"], [], id="nobody reads what it declares"),
        pytest.param(Succeeded(), [], [], id="it declares nothing"),
    ],
)
def test_what_a_pod_reported_that_is_gone_nobody_knows(
    ended_well: Succeeded, declared: list[str], names: list[str]
) -> None:
    assert untold(ended_well, declared, ("rebootRequired",)) == names


@pytest.mark.parametrize("pods", [pytest.param([pod(ended(0))], id="with its pod"), pytest.param([], id="without")])
def test_a_complete_job_tells_when_it_began_and_ended(pods: list[dict[str, Any]]) -> None:
    given = job("Complete")
    given["status"] |= {"startTime": "2026-11-22T11:50:00Z", "completionTime": "2026-11-22T11:50:07Z"}
    found = outcome_of(given, pods, NOW)
    assert isinstance(found, Succeeded)
    assert (found.finished - found.started, found.started) == (7, 1_795_348_200)
