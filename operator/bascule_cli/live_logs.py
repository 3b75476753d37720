"""Logs of the steps' pods, for those who may read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bascule_api import names
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode, NotFoundError
from bascule_cli.rights import Right

_PODS = "pods"
_WATCH_SECONDS = 240


@dataclass(frozen=True)
class StepPod:
    """The latest pod of a step."""

    namespace: str
    name: str
    body: Json

    @property
    def containers(self) -> list[str]:
        """Names in the order in which they run."""
        spec = self.body["spec"]
        return [str(item["name"]) for item in [*spec.get("initContainers", []), *spec["containers"]]]


def pod_of(cluster: Cluster, steps_namespace: str, uid: str, run: int, step: str, target: str = "") -> StepPod | None:
    """The pod of a step's latest attempt, at a target of a campaign if one is named; None when there is none.

    Raises ForbiddenError.
    """
    right = Right("list", _PODS, steps_namespace, group="")
    selector = f"{names.LABEL_RUN}={names.run_label(uid, run)},{names.LABEL_STEP}={step}"
    if target:
        selector += f",{names.LABEL_TARGET}={names.target_label(target)}"
    listed = cluster.request("GET", _path(steps_namespace), right, query={"labelSelector": selector})
    pods = sorted(listed["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return StepPod(steps_namespace, str(pods[-1]["metadata"]["name"]), pods[-1]) if pods else None


def lines(cluster: Cluster, pod: StepPod, *, follow: bool, tail: int | None) -> Iterator[bytes]:
    """What the containers wrote, one after the other; with `follow` as they write it, to the pod's end."""
    right = Right("get", "pods/log", pod.namespace, pod.name, group="")
    for container in pod.containers:
        if not _begun(cluster, pod, container, wait=follow):
            return
        query = {"container": container} | ({"follow": "true"} if follow else {})
        if tail is not None:
            query["tailLines"] = str(tail)
        try:
            yield from cluster.lines(f"{_path(pod.namespace)}/{pod.name}/log", right, query, None)
        except NotFoundError:
            return


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _begun(cluster: Cluster, pod: StepPod, container: str, *, wait: bool) -> bool:
    """Whether the container has written or may have; with `wait`, once it has, or never will."""
    right = Right("get", _PODS, pod.namespace, pod.name, group="")
    body = pod.body
    while True:
        if _has_begun(body, container):
            return True
        if not wait or body["status"].get("phase") in ("Succeeded", "Failed"):
            return False
        try:
            body = _next(cluster, pod, body, container)
        except NotFoundError:
            return False
        except CliError as error:
            if error.code is not ExitCode.TIMED_OUT:
                raise
            body = cluster.request("GET", f"{_path(pod.namespace)}/{pod.name}", right)


def _next(cluster: Cluster, pod: StepPod, body: Json, container: str) -> Json:
    """The pod as it is when something of interest has changed. Raises NotFoundError when it is gone."""
    right = Right("watch", _PODS, pod.namespace, group="")
    version = str(body["metadata"]["resourceVersion"])
    for event in cluster.watch_at(_path(pod.namespace), right, version, _WATCH_SECONDS, pod.name):
        if event["type"] == "DELETED":
            raise NotFoundError(f"the pod {pod.name} is gone")
        if event["type"] == "ERROR":
            break
        if event["type"] != "BOOKMARK":
            found: Json = event["object"]
            if _has_begun(found, container) or found["status"].get("phase") in ("Succeeded", "Failed"):
                return found
    raise CliError(ExitCode.TIMED_OUT, f"the pod {pod.name} does not begin")


def _has_begun(body: Json, container: str) -> bool:
    status = body.get("status", {})
    known = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return any(
        item["name"] == container and ("running" in item["state"] or "terminated" in item["state"]) for item in known
    )
