"""Leases that runs hold at their targets, from one activity to another that may be in another process."""

from __future__ import annotations

from collections import OrderedDict

from bascule_api import names
from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.errors import ApiUnavailableError

ANNOTATION_TARGET = names.LABEL_TARGET
REMEMBERED = 1_000
"""Leases whose uid is known here, so that giving them back takes one request."""


class KubernetesTargetLeases:
    """The port `TargetLeases`. Nobody renews them: a run's own undo gives back what the run could not."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._uids: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def acquire(self, namespace: str, target: str, run: str, resource: str) -> str:
        try:
            lease = await self._api.create(_path(namespace), _lease(namespace, target, run, resource))
        except ApiError as error:
            if error.status != 409:
                raise ApiUnavailableError(f"the API server refuses the Lease: {error.message}") from error
            found = await self._find(namespace, target)
            if found is None:
                raise ApiUnavailableError("the Lease went away while it was looked at") from None
            lease = found
        if _holder(lease) != run:
            return str((lease["metadata"].get("annotations") or {}).get(names.ANNOTATION_RESOURCE) or _holder(lease))
        self._remember((namespace, target, run), str(lease["metadata"]["uid"]))
        return ""

    async def release(self, namespace: str, target: str, run: str) -> bool:
        known = self._uids.pop((namespace, target, run), "")
        if known and await self._delete(namespace, target, known):
            return True
        lease = await self._find(namespace, target)
        if lease is None or _holder(lease) != run:
            return False
        return await self._delete(namespace, target, str(lease["metadata"]["uid"]))

    async def held(self, namespace: str, run: str) -> list[str]:
        listed = await self._api.metadata(_path(namespace), labelSelector=f"{names.LABEL_RUN}={run}")
        return sorted((item.get("annotations") or {}).get(ANNOTATION_TARGET, "") for item in listed)

    async def _find(self, namespace: str, target: str) -> JsonObject | None:
        return await self._api.find(f"{_path(namespace)}/{names.target_lease_name(target)}")

    async def _delete(self, namespace: str, target: str, uid: str) -> bool:
        """Whether it was this one that went; a lease of that name with another uid is somebody else's."""
        try:
            await self._api.delete(f"{_path(namespace)}/{names.target_lease_name(target)}", uid=uid)
        except ApiError as error:
            if error.status == 409:
                return False
            raise ApiUnavailableError(f"the API server refuses to delete the Lease: {error.message}") from error
        return True

    def _remember(self, key: tuple[str, str, str], uid: str) -> None:
        self._uids[key] = uid
        while len(self._uids) > REMEMBERED:
            self._uids.popitem(last=False)


def _path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _holder(lease: JsonObject) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _lease(namespace: str, target: str, run: str, resource: str) -> JsonObject:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": names.target_lease_name(target),
            "namespace": namespace,
            "labels": {names.LABEL_RUN: run, names.LABEL_TARGET: names.target_label(target)},
            "annotations": {ANNOTATION_TARGET: target, names.ANNOTATION_RESOURCE: resource},
        },
        "spec": {"holderIdentity": run},
    }
