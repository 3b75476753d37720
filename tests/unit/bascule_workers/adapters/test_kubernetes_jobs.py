"""A Job whose pods are refused: what its events say is asked for now and then, and told once."""

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
from bascule_workers.plans.outcomes import Running

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
