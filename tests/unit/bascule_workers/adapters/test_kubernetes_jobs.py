"""Jobs whose pods are refused, or known late: what is asked of the API server besides its watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_workers.adapters import kubernetes_jobs
from bascule_workers.adapters.api_server import ApiError
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.plans.outcomes import Failed, Running, Succeeded

JOB = {"metadata": {"name": "j", "namespace": "steps", "labels": {}}}
WHY = 'the pod is forbidden: violates PodSecurity "restricted:latest"'
EVENT = {"reason": "FailedCreate", "message": 'Error creating: pods "j-1" is' + WHY.removeprefix("the pod is")}


class PodlessApi:
    """An API server whose Job never gets a pod; the answers to lists of events come from a script."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        return self._job()

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        if not path.endswith("/events"):
            return {"metadata": {"resourceVersion": "1"}, "items": [self._job()] if path.endswith("/jobs") else []}
        self.asked.append(parameters)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"items": answer}

    async def watch(self, path: str, **parameters: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    def _job(self) -> dict[str, Any]:
        created = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"metadata": JOB["metadata"] | {"uid": "u", "creationTimestamp": created}, "status": {}}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_jobs, "NOTE_SETTLES_SECONDS", 0.05)
    monkeypatch.setattr(kubernetes_jobs, "LOOK_AGAIN_SECONDS", 0.05)


async def looked_at(api: PodlessApi, known_note: str, limit_seconds: float) -> Any:
    watch = PodWatch(api)  # type: ignore[arg-type]
    jobs = KubernetesJobs(api, watch)  # type: ignore[arg-type]
    outcome = await jobs.run(JOB, known_note=known_note, limit_seconds=limit_seconds)
    await watch.close()
    return outcome


async def test_what_the_events_say_is_told() -> None:
    api = PodlessApi([ApiError(403, "events is forbidden"), [], [EVENT]])
    assert await looked_at(api, "", 30) == Running(f"no pod can be made: {WHY}")
    assert api.asked[0]["fieldSelector"] == (
        "involvedObject.kind=Job,involvedObject.name=j,involvedObject.uid=u,type=Warning"
    )
    assert len(api.asked) == 3


async def test_what_is_known_already_is_not_asked_for_again() -> None:
    api = PodlessApi([[EVENT]])
    note = f"no pod can be made: {WHY}"
    assert await looked_at(api, note, 0.3) == Running(note)
    assert api.asked == []


POD = {
    "metadata": {
        "name": "j-1",
        "creationTimestamp": "2026-11-22T12:00:00Z",
        "labels": {"batch.kubernetes.io/job-name": "j", "bascule.dev/run": "r"},
        "ownerReferences": [{"uid": "u"}],
    }
}


def pod(phase: str, state: dict[str, Any]) -> dict[str, Any]:
    return POD | {"status": {"phase": phase, "containerStatuses": [{"name": "step", "state": state}]}}


def ended(code: int, report: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": report}}


class LateApi:
    """An API server whose watch of pods is behind that of Jobs: the Job is over, its pod seems to run, or not to be.

    Jobs that are deleted go on for one look more, as those do whose pods have to end.
    """

    def __init__(self, condition: str, seen: list[Any], there: list[Any]) -> None:
        self.condition, self.seen, self.there = condition, seen, there
        self.deleted = asyncio.Event()
        self.asked = 0

    def _job(self, version: int) -> dict[str, Any]:
        metadata = JOB["metadata"] | {"uid": "u", "labels": {"bascule.dev/run": "r"}, "resourceVersion": str(version)}
        conditions = [{"type": self.condition, "status": "True"}] if self.condition else []
        return {"metadata": metadata, "status": {"conditions": conditions}}

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        return self._job(1)

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        selector = parameters.get("labelSelector", "")
        if path.endswith("/pods"):
            fresh = selector == "batch.kubernetes.io/job-name=j"
            self.asked += fresh
            return {"metadata": {"resourceVersion": "5"}, "items": self.there if fresh else self.seen}
        if "=" in selector:
            return {"metadata": {"resourceVersion": "7"}, "items": [self._job(6)]}
        return {"metadata": {"resourceVersion": "5"}, "items": [] if not self.condition else [self._job(5)]}

    async def delete(self, path: str, **parameters: Any) -> None:
        self.deleted.set()

    async def watch(self, path: str, **parameters: Any) -> AsyncIterator[Any]:
        if path.endswith("/jobs"):
            await self.deleted.wait()
            await asyncio.sleep(0.2)
            yield "MODIFIED", self._job(8)
            await asyncio.sleep(0.2)
            yield "DELETED", self._job(9)
        await asyncio.Event().wait()


@pytest.mark.parametrize("seen", [[], [pod("Running", {"running": {}})]], ids=["unseen", "seen to run"])
@pytest.mark.parametrize(
    ("condition", "there", "outcome"),
    [
        pytest.param(
            "Complete",
            pod("Succeeded", ended(0, '{"results": {"rebootRequired": "true"}}')),
            Succeeded({"rebootRequired": "true"}),
            id="its results",
        ),
        pytest.param(
            "Failed",
            pod("Failed", ended(3, '{"message": "no space"}')),
            Failed("no space", 3, "j-1", "step"),
            id="its failure",
        ),
    ],
)
async def test_a_pod_that_is_known_late_is_asked_for_once(
    condition: str, there: dict[str, Any], outcome: Any, seen: list[Any]
) -> None:
    api = LateApi(condition, seen, [there])
    assert await looked_at(api, "", 30) == outcome  # type: ignore[arg-type]
    assert api.asked == 1


async def test_a_pod_that_is_known_to_have_ended_is_not_asked_for() -> None:
    api = LateApi("Complete", [pod("Succeeded", ended(0, "done"))], [])
    assert await looked_at(api, "", 30) == Succeeded({}, "done")  # type: ignore[arg-type]
    assert api.asked == 0


async def test_a_job_that_the_watch_has_not_shown_yet_is_waited_for_when_it_is_stopped() -> None:
    api = LateApi("", [], [])
    watch = PodWatch(api)  # type: ignore[arg-type]
    async with watch.view("steps"):
        stopping = asyncio.create_task(
            KubernetesJobs(api, watch).stop("steps", "r", finished_too=True, limit_seconds=30)  # type: ignore[arg-type]
        )
        await api.deleted.wait()
        await asyncio.sleep(0.1)
        assert not stopping.done()
        assert (await stopping).remaining == []
    await watch.close()
