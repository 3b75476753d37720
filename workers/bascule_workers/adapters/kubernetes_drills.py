"""Drills' namespaces as the API server serves them: applied server-side, watched while something is to become ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.adapters.drill_watch import DrillWatch, SpaceView
from bascule_workers.adapters.reflector import PAGE
from bascule_workers.errors import ApiUnavailableError, DrillNamespaceTakenError, EnvironmentFailedError
from bascule_workers.plans import manifests
from bascule_workers.plans.kstatus import Standing, epoch, standing_of, wants_pods
from bascule_workers.plans.outcomes import refusal_of_pods
from bascule_workers.ports.drills import Counted, Ending, Ensured, Objects

MANAGER = "bascule-worker"
_NAMESPACES = "/api/v1/namespaces"
_VOLUMES = "/api/v1/persistentvolumes"
_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "RoleBinding": "rolebindings",
}
SEARCHED = {
    "Pod": ("v1", "pods"),
    "Job": ("batch/v1", "jobs"),
    "Deployment": ("apps/v1", "deployments"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "Service": ("v1", "services"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "ConfigMap": ("v1", "configmaps"),
    "Secret": ("v1", "secrets"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "LimitRange": ("v1", "limitranges"),
}
"""Kinds of the namespace that are counted before and after."""
_OWN_FINALIZERS = (
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "batch.kubernetes.io/job-tracking",
    "foregroundDeletion",
    "orphan",
)
"""Finalizers that the cluster itself takes away."""
_HOLDS = (
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
    "NamespaceDeletionContentFailure",
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
)
_UNTYPED = "failed to create typed patch object"
HELD_SHOWN = 10
EVENTS_AT_A_LOOK = 20
_MUTE = ("StatefulSet", "Job")
"""Kinds that do not say themselves why they get no pods."""
NO_RIGHT = "the worker may not {what}: is the chart's value drills.enabled set?"


class KubernetesDrills:
    """The port `DrillSpaces`."""

    def __init__(self, api: ApiServer, watch: DrillWatch) -> None:
        self._api = api
        self._watch = watch

    async def ensure(self, namespace: str, objects: Objects, run: str) -> Ensured:
        space, binding, *furniture = objects
        try:
            found = await self._made(_NAMESPACES, namespace, space)
        except ApiUnavailableError as error:
            if error.status == 403:
                return Ensured(NO_RIGHT.format(what="make namespaces") + f" ({error})")
            raise
        if _labels(found).get(names.LABEL_RUN) != run:
            raise DrillNamespaceTakenError(
                f"there is a namespace {namespace} that is not this run's: it is left as it is"
            )
        if found["metadata"].get("deletionTimestamp"):
            raise DrillNamespaceTakenError(f"the namespace {namespace} is being deleted")
        try:
            bound = await self._bound(namespace, binding)
            made = [await self._api.apply(_path(item, namespace), item, manager=MANAGER) for item in furniture]
        except ApiUnavailableError as error:
            if error.status == 403:
                # A RoleBinding takes a moment to be heard of.
                return Ensured(f"the worker has no rights in its namespace {namespace} yet ({error})")
            raise
        except ApiError as error:
            raise EnvironmentFailedError(
                f"the API server refuses what the platform puts into {namespace}: {error}"
            ) from None
        return Ensured(at=max(_created(item) for item in (found, bound, *made)))

    async def _made(self, path: str, name: str, body: Mapping[str, Any]) -> JsonObject:
        """The object, made now or before."""
        try:
            return await self._api.create(path, body)
        except ApiError as error:
            if error.status != 409:
                raise EnvironmentFailedError(f"the API server refuses {body['kind']}/{name}: {error.message}") from None
        found = await self._api.find(f"{path}/{name}")
        if found is None:
            raise ApiUnavailableError(f"{body['kind']}/{name} went away while it was looked at")
        return found

    async def _bound(self, namespace: str, binding: Mapping[str, Any]) -> JsonObject:
        """The worker's RoleBinding. It cannot be read before it holds, and nobody else may make one."""
        try:
            return await self._api.create(_path(binding, namespace).rpartition("/")[0], binding)
        except ApiError as error:
            if error.status != 409:
                raise
        return {"metadata": {}}

    async def apply(self, namespace: str, objects: Objects) -> None:
        for item in objects:
            what = f"{item['kind']}/{item['metadata']['name']}"
            try:
                await self._api.apply(_path(item, namespace), item, manager=MANAGER)
            except ApiError as error:
                raise EnvironmentFailedError(f"the API server refuses {what}: {_short(error.message)}") from None
            except ApiUnavailableError as error:
                if _UNTYPED in str(error):
                    # An answer of 500, for a field that the kind does not have.
                    raise EnvironmentFailedError(f"the API server refuses {what}: {_short(str(error))}") from None
                if error.status == 403 and "exceeded quota" in str(error):
                    remedy = "Tenant.spec.drills.quota bounds what drills may have"
                    raise EnvironmentFailedError(f"{what}: {_short(str(error))}; {remedy}") from None
                raise

    async def standing(self, namespace: str, objects: Objects) -> list[Standing]:
        async with self._watch.view(namespace) as view:
            wanted = {item["kind"]: _path(item, namespace).rpartition("/")[0] for item in objects}
            await view.follow(wanted)
            view.looked()
            found = [
                standing_of(item, view.live(item["kind"], item["metadata"]["name"]), view.pods()) for item in objects
            ]
            return [await self._explained(namespace, view, item) for item in found]

    async def _explained(self, namespace: str, view: SpaceView, standing: Standing) -> Standing:
        """With the reason why no pod can be made, where the object itself does not know it: its controller's events do.

        One small list now and then, and only while something that wants pods has none.
        """
        kind, _, name = standing.name.partition("/")
        if standing.ready or standing.failed or kind not in _MUTE or not wants_pods(view.live(kind, name), view.pods()):
            return standing
        told = await view.told_once(standing.name, lambda: self._refusal(namespace, kind, name))
        return replace(standing, message=f"{standing.message}; {told}") if told else standing

    async def _refusal(self, namespace: str, kind: str, name: str) -> str:
        selector = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
        try:
            listed = await self._api.get(
                f"{_NAMESPACES}/{namespace}/events", fieldSelector=selector, limit=EVENTS_AT_A_LOOK
            )
        except (ApiError, ApiUnavailableError):
            # What is in the way is told if it can be; the object itself is waited for all the same.
            return ""
        return refusal_of_pods(listed["items"] or [])

    async def until_changed(self, namespace: str, limit_seconds: float) -> None:
        async with self._watch.view(namespace) as view:
            await view.changed(limit_seconds)

    async def count(self, namespace: str, run: str) -> Counted:
        found = await self._api.find(f"{_NAMESPACES}/{namespace}")
        there = found is not None and _labels(found).get(names.LABEL_RUN) == run
        kinds, held = {"Namespace": int(there)}, []
        for kind, (version, plural) in SEARCHED.items():
            listed = await self._metadata(_folder(version, namespace, plural)) if there else []
            kinds[kind] = len(listed)
            held += [told for item in listed if (told := _holder(kind, item))]
        volumes = await self._volumes(namespace) if there or found is None else []
        kinds["PersistentVolume"] = len(volumes)
        return Counted(kinds, tuple(held[:HELD_SHOWN]), tuple(volumes))

    async def _volumes(self, namespace: str) -> list[str]:
        """PersistentVolumes that a claim of the namespace has, or had."""
        found: list[str] = []
        page: dict[str, str] = {}
        while True:
            answer = await self._api.get(_VOLUMES, limit=PAGE, **page)
            found += [item["metadata"]["name"] for item in answer["items"] or [] if _claimed_in(item) == namespace]
            if not (following := answer["metadata"].get("continue")):
                return found
            page = {"continue": following}

    async def _metadata(self, path: str) -> list[JsonObject]:
        """The metadata of all that is there; nothing where the worker has no rights (any more)."""
        found: list[JsonObject] = []
        page: dict[str, str] = {}
        while True:
            try:
                answer, following = await self._api.metadata_page(path, limit=PAGE, **page)
            except ApiUnavailableError as error:
                if error.status == 403:
                    return found
                raise
            found += answer
            if not following:
                return found
            page = {"continue": following}

    async def of_run(self, run: str) -> list[str]:
        listed = await self._api.metadata(_NAMESPACES, labelSelector=f"{names.LABEL_RUN}={run},{names.LABEL_DRILL_OF}")
        return sorted(item["name"] for item in listed)

    async def delete(self, namespace: str, run: str) -> Ending:
        path = f"{_NAMESPACES}/{namespace}"
        found = await self._api.find(path)
        if found is None or _labels(found).get(names.LABEL_RUN) != run:
            return Ending(gone=True)
        if not found["metadata"].get("deletionTimestamp"):
            try:
                await self._api.delete(path, uid=found["metadata"]["uid"])
            except ApiError as error:
                # Another one of that name by now, or one that is being deleted already.
                if error.status != 409:
                    raise ApiUnavailableError(f"the API server does not delete {namespace}: {error}") from error
            found = await self._api.find(path)
            if found is None or _labels(found).get(names.LABEL_RUN) != run:
                return Ending(gone=True)
        return Ending(gone=False, held_by=_held_by(found), deleted=epoch(found["metadata"].get("deletionTimestamp")))


def _path(item: Mapping[str, Any], namespace: str) -> str:
    kind = item["kind"]
    plural = _PLURALS.get(kind) or manifests.plural(kind)
    return f"{_folder(item['apiVersion'], namespace, plural)}/{item['metadata']['name']}"


def _folder(version: str, namespace: str, plural: str) -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}"


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def _created(item: Mapping[str, Any]) -> int:
    return epoch(item["metadata"].get("creationTimestamp"))


def _claimed_in(volume: Mapping[str, Any]) -> str:
    return str(((volume.get("spec") or {}).get("claimRef") or {}).get("namespace", ""))


def _holder(kind: str, metadata: Mapping[str, Any]) -> str:
    foreign = [name for name in metadata.get("finalizers") or [] if name not in _OWN_FINALIZERS]
    return f"{kind}/{metadata['name']}: {', '.join(foreign)}" if foreign else ""


def _held_by(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    conditions: Sequence[Mapping[str, Any]] = (namespace.get("status") or {}).get("conditions") or []
    return tuple(
        _short(str(entry.get("message")))
        for entry in conditions
        if entry.get("type") in _HOLDS and entry.get("status") == "True"
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 400 else f"{text[:399]}…"
