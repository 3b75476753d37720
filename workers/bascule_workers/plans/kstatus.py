"""Whether applied objects are ready, by what they say of themselves, as kstatus reads it. Pure.

Source of the rules: sigs.k8s.io/cli-utils, pkg/kstatus, `README.md`; a Job counts when it is complete, not when it has
begun, and pods tell why something does not get ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

RESTARTS_TOLD = 2
"""From how many restarts on a container counts as crash-looping, in what people are told."""
_CANNOT_START = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """How an applied object stands, by kstatus."""

    name: str
    """`Deployment/web`."""
    ready: bool
    failed: bool = False
    """Whether it says itself that it will not become ready."""
    message: str = ""
    at: int = 0
    """When it became ready, by its own conditions, in epoch seconds."""


def standing_of(applied: Json, live: Json | None, around: Sequence[Json]) -> Standing:
    """How an object stands. `live`: as the API server has it; None: not yet seen. `around`: the namespace's pods."""
    kind, name = applied["kind"], f"{applied['kind']}/{applied['metadata']['name']}"
    if live is None:
        return Standing(name, ready=False, message="not there yet")
    if live["metadata"].get("deletionTimestamp"):
        return Standing(name, ready=False, message="is being deleted")
    status, spec = live.get("status") or {}, live.get("spec") or {}
    if "observedGeneration" in status and status["observedGeneration"] < live["metadata"].get("generation", 0):
        return Standing(name, ready=False, message="its controller has not seen it yet")
    match kind:
        case "Deployment":
            return _deployment(name, live, spec, status, around)
        case "StatefulSet":
            return _stateful_set(name, live, spec, status, around)
        case "Job":
            return _job(name, live, status, around)
        case "PersistentVolumeClaim":
            return _claim(name, live, status)
        case _:
            return Standing(name, ready=True, at=epoch(live["metadata"].get("creationTimestamp")))


def epoch(stamp: Any) -> int:
    """A server's time in epoch seconds; 0: none."""
    return int(datetime.fromisoformat(str(stamp)).timestamp()) if stamp else 0


def _conditions(status: Json) -> dict[str, Json]:
    return {entry["type"]: entry for entry in status.get("conditions") or []}


def _is_true(condition: Json | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _wanted(spec: Json) -> int:
    replicas = spec.get("replicas")
    return 1 if replicas is None else int(replicas)


def _deployment(name: str, live: Json, spec: Json, status: Json, around: Sequence[Json]) -> Standing:
    conditions, wanted = _conditions(status), _wanted(spec)
    pods = _selected(around, spec)
    progressing = conditions.get("Progressing")
    if progressing and progressing.get("reason") == "ProgressDeadlineExceeded":
        told = _joined(str(progressing.get("message") or "made no progress in time"), pod_trouble(pods))
        return Standing(name, ready=False, failed=True, message=told)
    if "observedGeneration" not in status:
        return Standing(name, ready=False, message="its controller has not seen it yet")
    updated, available = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    ready = int(status.get("readyReplicas") or 0)
    if min(updated, available, ready) >= wanted and int(status.get("replicas") or 0) <= wanted:
        at = epoch((conditions.get("Available") or {}).get("lastTransitionTime"))
        return Standing(name, ready=True, at=max(at, _last_ready(pods)) or _created(live))
    refused = conditions.get("ReplicaFailure")
    trouble = str((refused or {}).get("message") or "") if _is_true(refused) else pod_trouble(pods)
    return Standing(name, ready=False, message=_joined(f"{available} of {wanted} pods are available", trouble))


def _stateful_set(name: str, live: Json, spec: Json, status: Json, around: Sequence[Json]) -> Standing:
    wanted, pods = _wanted(spec), _selected(around, spec)
    if "observedGeneration" not in status:
        return Standing(name, ready=False, message="its controller has not seen it yet")
    ready, available = int(status.get("readyReplicas") or 0), int(status.get("availableReplicas") or 0)
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    current = bool(partition) or status.get("currentRevision") == status.get("updateRevision")
    if ready >= wanted and available >= wanted and current and int(status.get("replicas") or 0) == wanted:
        # It has no condition of its own: its pods have.
        return Standing(name, ready=True, at=_last_ready(pods) or _created(live))
    return Standing(name, ready=False, message=_joined(f"{ready} of {wanted} pods are ready", pod_trouble(pods)))


def _job(name: str, live: Json, status: Json, around: Sequence[Json]) -> Standing:
    conditions = _conditions(status)
    label = live["metadata"]["name"]
    pods = [pod for pod in around if _labels(pod).get("batch.kubernetes.io/job-name") == label]
    if _is_true(complete := conditions.get("Complete")):
        at = status.get("completionTime") or (complete or {}).get("lastTransitionTime")
        return Standing(name, ready=True, at=epoch(at))
    if _is_true(failed := conditions.get("Failed")):
        said = str((failed or {}).get("message") or (failed or {}).get("reason") or "failed")
        return Standing(name, ready=False, failed=True, message=_joined(said, pod_trouble(pods)))
    succeeded = int(status.get("succeeded") or 0)
    wanted = (live.get("spec") or {}).get("completions")
    words = f"{succeeded} of {wanted} completions" if wanted else "not complete yet"
    return Standing(name, ready=False, message=_joined(words, pod_trouble(pods)))


def _claim(name: str, live: Json, status: Json) -> Standing:
    phase = status.get("phase")
    if phase == "Lost":
        return Standing(name, ready=False, failed=True, message="its volume is lost")
    # One whose class waits for a consumer is bound with its first pod, which other objects' readiness shows; whether it
    # does so is the class's to say, so that an unbound claim is no obstacle: a pod that cannot have it is one.
    return Standing(
        name,
        ready=True,
        message="" if phase == "Bound" else "not bound to a volume yet",
        at=_created(live),
    )


# Pods


def wants_pods(live: Json | None, pods: Iterable[Json]) -> bool:
    """Whether something should have pods, and has none at all."""
    if live is None:
        return False
    owned = (reference.get("uid") for pod in pods for reference in pod["metadata"].get("ownerReferences") or [])
    return live["metadata"].get("uid") not in owned


def pod_trouble(pods: Iterable[Json]) -> str:
    """What is in the way of the first pod that is not well; or nothing."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if told := _trouble(pod):
            return f"Pod {pod['metadata']['name']}: {told}"
    return ""


def _trouble(pod: Json) -> str:
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if told := _container_trouble(container):
            return told
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"no node takes it: {condition.get('message', '')}"
    if status.get("phase") == "Failed":
        return str(status.get("message") or status.get("reason") or "failed")
    return ""


def _container_trouble(container: Json) -> str:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    restarts = int(container.get("restartCount") or 0)
    what = f"container {container.get('name')} of {container.get('image')}"
    if waiting.get("reason") in _CANNOT_START:
        if last:
            return f"{what} ended with exit code {last.get('exitCode')}, {restarts} restarts{_said(last)}"
        return f"{what}: {waiting['reason']}{_said(waiting)}"
    if ended and ended.get("exitCode"):
        return f"{what} ended with exit code {ended['exitCode']}{_said(ended)}"
    if restarts >= RESTARTS_TOLD and last.get("exitCode"):
        return f"{what} ended with exit code {last['exitCode']}, {restarts} restarts{_said(last)}"
    return ""


def _said(state: Json) -> str:
    message = " ".join(str(state.get("message") or "").split())
    return f": {message[:200]}" if message else ""


def _selected(pods: Iterable[Json], spec: Json) -> list[Json]:
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    return [pod for pod in pods if wanted and all(_labels(pod).get(key) == value for key, value in wanted.items())]


def _last_ready(pods: Iterable[Json]) -> int:
    """When the last of the pods became ready."""
    found = [_conditions(pod.get("status") or {}).get("Ready") for pod in pods]
    return max((epoch((entry or {}).get("lastTransitionTime")) for entry in found if _is_true(entry)), default=0)


def _created(live: Json) -> int:
    return epoch(live["metadata"].get("creationTimestamp"))


def _labels(item: Json) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def _joined(words: str, trouble: str) -> str:
    return f"{words}; {trouble}" if trouble else words
