"""What has to be true when a life has settled, whatever happened in it. Each returns what is wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from bascule_api import names
from tests.support.harness.gate import Kind
from tests.support.harness.scene import Json, Scene, settled, status_of

QUIET_SECONDS = 3.0
_PATIENCE = 30.0
_ENDED = {
    "Succeeded": (WorkflowExecutionStatus.COMPLETED,),
    "Failed": (WorkflowExecutionStatus.FAILED, WorkflowExecutionStatus.TERMINATED),
    "Cancelled": (WorkflowExecutionStatus.CANCELED,),
}


async def settled_for_good(scene: Scene) -> list[str]:
    """Wait until everything has settled and nobody writes any more; an edit in that time begins it anew."""
    while True:
        await scene.until_settled()
        if (wrong := await quiet(scene)) or await _over(scene, settled):
            return wrong


async def steady(scene: Scene, holds: Callable[[Json], bool], what: str) -> list[str]:
    """Wait until the resource stays like that and nobody writes any more. Returns what is wrong about its run.

    After this nothing of what happened before is on its way any more.
    """
    while True:
        await scene.until(holds, what)
        if wrong := await quiet(scene):
            return wrong
        if await _over(scene, holds):
            if scene.deleted:
                return []
            return _went_backwards(scene) + _twice(scene) + await _only_run(scene)


async def _over(scene: Scene, holds: Callable[[Json], bool]) -> bool:
    """End the stage if the resource is still as it should be, or somebody deleted it. No fault happens after that."""
    gate = scene.shard.gate
    stage = gate.stage
    gate.enter("")
    await scene.left_alone()
    if await scene.get() is None or scene.deleted or holds(scene.body):
        return True
    gate.enter(stage)
    return False


async def after_failure(scene: Scene) -> list[str]:
    """The run was ended by force: it counts as failed, and what it made was taken back."""
    status = status_of(scene.body)
    wrong = []
    if status.get("phase") != "Failed" or (status.get("failure") or {}).get("type") != "RunLost":
        wrong.append(f"the phase is {status.get('phase')}: {status.get('failure')}")
    if (status.get("compensation") or {}).get("state") not in ("Succeeded", "NothingToDo"):
        wrong.append(f"compensation: {status.get('compensation')}")
    return wrong + _went_backwards(scene) + await _open_runs(scene)


async def after_run(scene: Scene, tests: int = 2) -> list[str]:
    """The build is there and says that it succeeded. `tests`: Jobs that its test needed."""
    return await succeeded(scene) + _jobs(scene, tests) + _published(scene)


async def succeeded(scene: Scene) -> list[str]:
    """The resource says that its run succeeded, and Temporal tells the same."""
    body, status = scene.body, status_of(scene.body)
    wrong = []
    if status.get("phase") != "Succeeded":
        wrong.append(f"the phase is {status.get('phase')}: {status.get('failure')}")
    ready = next((item for item in status.get("conditions", []) if item["type"] == "Ready"), {})
    if ready.get("status") != "True" or ready.get("observedGeneration") != body["metadata"]["generation"]:
        wrong.append(f"Ready says {ready}")
    return wrong + await told(scene)


async def told(scene: Scene) -> list[str]:
    """What the status tells of runs is what Temporal tells, and no Job was made twice."""
    return await _runs(scene) + _twice(scene)


async def after_deletion(scene: Scene) -> list[str]:
    """The resource is gone, and nothing of its runs is left."""
    wrong = _went_backwards(scene) + await _open_runs(scene) + await _leftovers(scene) + await quiet(scene)
    return wrong + _audit(scene)


async def after_deletion_of_a_build(scene: Scene) -> list[str]:
    """The resource is gone, and nothing of its runs is left but what was published."""
    wrong = await after_deletion(scene) + _candidates(scene)
    versions = scene.shard.plane.chronicle.of(scene.uid)
    published = any(version.outcome == "Succeeded" for version in versions)
    always = scene.body["spec"].get("compensation", {}).get("onDelete") == "Always"
    if (always or not published) and (found := scene.shard.plane.tags(scene.repository)):
        wrong.append(f"tags are left: {found}")
    return wrong


async def until_nothing_is_left(scene: Scene, seconds: float = 60.0) -> None:
    """Wait until nothing of a resource that is gone is left. Raises AssertionError with what is."""
    deadline, wrong = time.monotonic() + seconds, ["never looked"]
    while wrong:
        assert time.monotonic() < deadline, wrong
        await asyncio.sleep(1)
        wrong = await _open_runs(scene) + await _leftovers(scene)


async def quiet(scene: Scene, seconds: float = QUIET_SECONDS) -> list[str]:
    """Nobody writes to the API server any more. The tenant's count of runs may follow within seconds."""
    gate, deadline = scene.shard.gate, time.monotonic() + _PATIENCE
    while time.monotonic() - gate.last_write < seconds:
        if time.monotonic() > deadline:
            return [f"never quiet: {gate.writes[-5:]}"]
        await asyncio.sleep(0.2)
    return []


async def _executions(scene: Scene) -> list[Any]:
    client = await scene.shard.client()
    return [found async for found in client.list_workflows(f"{names.SEARCH_UID} = '{scene.uid}'")]


async def _batches(scene: Scene) -> list[str]:
    """Child workflows of its runs that are open."""
    client, parent = await scene.shard.client(), f"{scene.kind.lower()}/{scene.uid}/"
    query = f"WorkflowType = 'PatchBatch' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '{parent}'"
    return [found.id async for found in client.list_workflows(query)]


async def _runs(scene: Scene) -> list[str]:
    """One execution per number up to the last one, none open, and each as status and history tell it."""
    status = status_of(scene.body)
    found = [item for item in await _executions(scene) if "/undo/" not in item.id]
    numbers = Counter(item.id for item in found)
    run = status["run"]
    told = {past["number"]: past["phase"] for past in status.get("history", [])} | {run["number"]: run["outcome"]}
    expected = {names.workflow_id(scene.kind, scene.uid, number) for number in range(1, run["number"] + 1)}
    wrong = [f"executions {dict(numbers)}, told is run {run['number']}"] if set(numbers) - expected else []
    wrong += [f"{identity} ran {times} times" for identity, times in numbers.items() if times > 1]
    for item in found:
        number = int(item.id.rpartition("/")[2])
        if number in told and item.status not in _ENDED[told[number]]:
            wrong.append(f"run {number} is told as {told[number]} and Temporal says {item.status}")
    if names.workflow_id(scene.kind, scene.uid, run["number"]) not in numbers:
        wrong.append(f"Temporal does not know run {run['number']}: {dict(numbers)}")
    return wrong


async def _open_runs(scene: Scene) -> list[str]:
    # Visibility may be a moment late about a run that was open when its resource went.
    for _ in range(20):
        found = [item.id for item in await _executions(scene) if item.status is WorkflowExecutionStatus.RUNNING]
        found += await _batches(scene)
        if not found:
            return []
        await asyncio.sleep(0.25)
    return [f"still open: {found}"]


async def _only_run(scene: Scene) -> list[str]:
    """Exactly the run that the status tells is open."""
    told = (status_of(scene.body).get("run") or {}).get("workflowId")
    found: list[str] = []
    # Visibility may be a moment late.
    for _ in range(20):
        found = [item.id for item in await _executions(scene) if item.status is WorkflowExecutionStatus.RUNNING]
        if found == [told]:
            return []
        await asyncio.sleep(0.25)
    return [f"open in Temporal is {found}, told is {told}"]


def _twice(scene: Scene) -> list[str]:
    jobs = scene.shard.plane.kubelet.jobs_of(scene.uid)
    return [f"the Job {name} was made {times} times" for name, times in jobs.items() if times > 1]


def _jobs(scene: Scene, tests: int) -> list[str]:
    """Each step of the last run had one Job per try."""
    jobs = scene.shard.plane.kubelet.jobs_of(scene.uid)
    wrong = []
    number = status_of(scene.body)["run"]["number"]
    last = [name for name in jobs if name.startswith(f"{number}/")]
    if len(last) != 1 + tests:
        wrong.append(f"one Job for the build and {tests} for the test were wanted: {sorted(jobs)}")
    return wrong


def _published(scene: Scene) -> list[str]:
    """The tag is at the status's digest, with one signature; images of runs that did not succeed are not there."""
    plane, status = scene.shard.plane, status_of(scene.body)
    digest = (status.get("image") or {}).get("digest")
    tags, manifests = plane.tags(scene.repository), plane.manifests(scene.repository)
    wrong = [f"v1 is at {tags.get('v1')}, told is {digest}"] if tags.get("v1") != digest else []
    succeeded = {past["number"] for past in status.get("history", []) if past["phase"] == "Succeeded"}
    images = [item["annotations"][names.IMAGE_RUN_ANNOTATION] for item in manifests.values() if _is_image(item)]
    expected = {names.run_of(scene.uid, number) for number in succeeded | {status["run"]["number"]}}
    if Counter(images) != Counter(expected):
        wrong.append(f"images of {images} are published, expected {sorted(expected)}")
    signatures = [item["subject"]["digest"] for item in manifests.values() if "subject" in item]
    if signatures.count(digest) != 1:
        wrong.append(f"{digest} has {signatures.count(digest)} signatures")
    return wrong + _candidates(scene)


def _listed(manifest: Json) -> set[str]:
    """What an index refers to."""
    return {item["digest"] for item in manifest.get("manifests", [])}


def _candidates(scene: Scene) -> list[str]:
    """Nothing is left where candidates lie, but what nobody can find, or what came when all was over.

    cosign uploads a signature and then enters it into the list of the image's; one that dies in between leaves a
    signature behind of which no tag, no list and no image knows. Registries collect those as garbage. And a registry
    has no way to refuse what a worker sent that was stopped, replaced and woken up.
    """
    plane, gate, repository = scene.shard.plane, scene.shard.gate, f"{scene.repository}-candidates"
    found = plane.manifests(repository)
    listed = set().union(*map(_listed, found.values()))
    known = listed | set(plane.tags(repository).values())
    orphans = {digest for digest, item in found.items() if "subject" in item and item["subject"]["digest"] not in found}
    if any(point.bank == "registry" and gate.faults[point] is Kind.LATE for point in gate.fired):
        lists = {digest for digest, item in found.items() if "manifests" in item and _listed(item) <= orphans}
        known -= lists | orphans
        orphans |= lists
    left = [digest for digest in found if digest in known or digest not in orphans]
    return [f"candidates are left: {sorted(left)}"] if left else []


def _audit(scene: Scene) -> list[str]:
    """An audit event that is told again has the same id, and the same id has the same content but for its time.

    Whether one is missing cannot be said yet: what a dying process did not write is nowhere else.
    """
    told: dict[str, Json] = {}
    wrong = []
    for line in scene.shard.worker.log.read_text(errors="replace").splitlines():
        if not line.startswith('{"specversion"') or f'/{scene.name}"' not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut off by a SIGKILL
        event.pop("time")
        if told.setdefault(event["id"], event) != event:
            wrong.append(f"two audit events have one id: {told[event['id']]} and {event}")
    return wrong


def _is_image(manifest: Json) -> bool:
    return names.IMAGE_RUN_ANNOTATION in (manifest.get("annotations") or {}) and "subject" not in manifest


def _went_backwards(scene: Scene) -> list[str]:
    return scene.shard.plane.chronicle.regressions(scene.uid)


async def _leftovers(scene: Scene) -> list[str]:
    """Objects of its runs among the steps; Jobs that are over stay readable for an hour after a success."""
    plane, found = scene.shard.plane, []
    for group, kind in (("api/v1", "secrets"), ("api/v1", "configmaps"), ("apis/batch/v1", "jobs"), ("api/v1", "pods")):
        path = f"/{group}/namespaces/{scene.shard.steps_namespace}/{kind}"
        listed = await plane.kube.request("GET", path, resource="test", query={"labelSelector": names.LABEL_RUN})
        found += [
            f"{kind}/{item['metadata']['name']}"
            for item in listed["items"]
            if item["metadata"]["labels"][names.LABEL_RUN].startswith(scene.uid) and not _may_stay(item)
        ]
    return [f"left among the steps: {found}"] if found else []


def _may_stay(item: Json) -> bool:
    status = item.get("status") or {}
    done = any(entry["type"] in ("Complete", "Failed") for entry in status.get("conditions") or [])
    return (done and "ttlSecondsAfterFinished" in item["spec"]) or status.get("phase") in ("Succeeded", "Failed")
