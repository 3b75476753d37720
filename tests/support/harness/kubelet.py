"""Plays the nodes of a control plane that has none: takes every pod of a run, does what its step does, and says so.

The Job controller, the garbage collector and the API server around it are the real ones. A build pushes a small image,
with the registry's own API; a test does what its parameter `behaviour` says, and so does the patch of a campaign.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer
from bascule_workers.adapters.reflector import Reflector, whole
from bascule_workers.errors import WorkerError
from bascule_workers.plans.jobs import PREPARE
from bascule_workers.ports.registry import Repository
from tests.support.harness import fleet
from tests.support.images import Images

logger = logging.getLogger(__name__)
Json = Mapping[str, Any]


def uid_of(item: Json) -> str:
    """Objects of all namespaces are told apart by it."""
    return str(item["metadata"]["uid"])


class Kubelet:
    """Watches the pods of all runs. Counts the Jobs that ever were."""

    def __init__(self, api: ApiServer, images: Images, registry: str) -> None:
        self._api, self._images, self._registry = api, images, registry
        self._taken: set[str] = set()
        self._released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._tried: Counter[tuple[str, str]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.fleet = fleet.PlayedFleet(api)
        self.jobs: dict[str, set[str]] = {}
        """`<run label>/<Job's name>` to the uids that ever had that name."""
        self._pods = Reflector(api, "/api/v1/pods", self._changed, read=whole, key=uid_of, labels=names.LABEL_RUN)
        self._jobs = Reflector(
            api, "/apis/batch/v1/jobs", self._job_seen, read=whole, key=uid_of, labels=names.LABEL_RUN
        )

    async def run(self) -> None:
        await asyncio.gather(self._pods.run(), self._jobs.run())

    def release(self, uid: str) -> None:
        """Let the tests of a resource's runs go on that are held."""
        self._released[uid].set()

    def jobs_of(self, uid: str) -> dict[str, int]:
        """`<number>/<step>` to how many Jobs it had, for a resource's uid."""
        found: Counter[str] = Counter()
        for key, uids in self.jobs.items():
            run, _, name = key.partition("/")
            if run.startswith(f"{uid}."):
                found[f"{run.rpartition('.')[2]}/{name}"] += len(uids)
        return dict(found)

    def _job_seen(self, job: Json) -> None:
        metadata = job["metadata"]
        self.jobs.setdefault(f"{metadata['labels'][names.LABEL_RUN]}/{metadata['name']}", set()).add(metadata["uid"])

    def _changed(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._taken or pod["metadata"].get("deletionTimestamp") or pod["status"].get("phase") != "Pending":
            return
        self._taken.add(uid)
        task = asyncio.create_task(self._carry_out(pod))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, pod: Json) -> None:
        environment = {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0].get("env", [])}
        with suppress(ApiError, WorkerError):
            if fleet.use_of(pod):
                await self._at_target(pod, environment)
                return
            match environment.get("PARAM_BEHAVIOUR", "succeed"):
                case "hold":
                    await self._say(pod, "Running", None, {})
                case "held-then-fail-once" if self._first_time(pod):
                    await self._say(pod, "Running", None, {})
                    await self._released[pod["metadata"]["labels"][names.LABEL_RUN].partition(".")[0]].wait()
                    report = {"message": "not yet: the first time never works", "retryable": True}
                    await self._say(pod, "Failed", 1, report)
                case "fail-once" if self._first_time(pod):
                    report = {"message": "not yet: the first time never works", "retryable": True}
                    await self._say(pod, "Failed", 1, report)
                case _:
                    results = {}
                    if "BASCULE_IMAGE" not in environment:
                        results = {"digest": await self._build(environment)}
                    await self._say(pod, "Succeeded", 0, {"results": results})

    async def _at_target(self, pod: Json, environment: Json) -> None:
        """A Procedure of a campaign."""
        use, behaviour = fleet.use_of(pod), environment.get("PARAM_BEHAVIOUR", "succeed")
        if use == fleet.PATCH and behaviour != "succeed":
            await self._say(pod, "Running", None, {})
            await self._released[pod["metadata"]["labels"][names.LABEL_RUN].partition(".")[0]].wait()
        if use == fleet.PATCH and self.fleet.fails(pod, behaviour):
            await self._say(pod, "Failed", 1, {"message": "it does not work here", "retryable": False})
            return
        results = {"rebootRequired": "true"} if use == fleet.PATCH else {}
        if await self._say(pod, "Succeeded", 0, {"results": results}):
            await self.fleet.done(pod, environment.get("BASCULE_TARGET", ""))

    def _first_time(self, pod: Json) -> bool:
        labels = pod["metadata"]["labels"]
        key = (labels[names.LABEL_RUN], labels[names.LABEL_STEP])
        self._tried[key] += 1
        return self._tried[key] == 1

    async def _build(self, environment: Json) -> str:
        """Push the candidate; the same run makes the same image."""
        reference, run = environment["BASCULE_CANDIDATE"], environment["BASCULE_RUN"]
        name, _, tag = reference.rpartition(":")
        repository = Repository(f"{self._registry}/{name.partition('/')[2]}")
        return await self._images.push(repository, tag, content=run, annotations={names.IMAGE_RUN_ANNOTATION: run})

    async def _say(self, pod: Json, phase: str, code: int | None, report: Json) -> bool:
        """Write the pod's status as a kubelet does. Returns whether the pod was still there."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        done = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        state: dict[str, Any] = {"running": {"startedAt": now}}
        if code is not None:
            reason = "Error" if code else "Completed"
            state = {"terminated": {**done, "exitCode": code, "reason": reason, "message": json.dumps(report)}}
        status = {
            "phase": phase,
            "startTime": now,
            "conditions": [{"type": "Ready", "status": "False" if code is not None else "True"}],
            "initContainerStatuses": [_container(PREPARE, {"terminated": done})],
            "containerStatuses": [_container(pod["spec"]["containers"][0]["name"], state)],
        }
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        for _ in range(5):
            current = await self._api.find(path)
            if current is None or current["metadata"]["uid"] != metadata["uid"]:
                return False
            try:
                await self._api.replace(f"{path}/status", current | {"status": status})
            except ApiError as error:
                if error.status != 409:
                    raise
            else:
                return True
        return False


def _container(name: str, state: Json) -> dict[str, Any]:
    known = {"name": name, "image": "step", "imageID": "step", "restartCount": 0}
    return known | {"state": state, "ready": "running" in state}
