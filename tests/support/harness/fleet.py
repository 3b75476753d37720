"""Plays what Procedures of campaigns do on nodes that no kubelet serves, and remembers it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bascule_api import names
from bascule_workers.adapters.api_server import ApiServer

PATCH, ROLLBACK, REBOOT, VERIFY, GATE = "patch", "rollback", "reboot", "verify", "gate"
USES = (PATCH, ROLLBACK, REBOOT, VERIFY, GATE)
HOLD, HOLD_THEN_FAIL = "hold", "hold-then-fail"
"""What a patch does: it waits until it is let go on; and every one but the first of its run fails."""
Json = Mapping[str, Any]
_BLANK = (
    "machineID", "systemUUID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


def image(use: str) -> str:
    """A container's image says what it is for."""
    return f"example.com/{use}:1"


def use_of(pod: Json) -> str:
    """What a pod of a run does at a target or a gate; nothing for those of other kinds."""
    found = str(pod["spec"]["containers"][0]["image"]).removeprefix("example.com/").removesuffix(":1")
    return found if found in USES else ""


@dataclass(frozen=True)
class Deed:
    """Something that was carried out to its end."""

    run: str
    """`<uid>/<number>`"""
    use: str
    target: str


class PlayedFleet:
    """What was done where, by the uid of the resource that wanted it."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._deeds: defaultdict[str, list[Deed]] = defaultdict(list)

    def fails(self, pod: Json, behaviour: str) -> bool:
        """Whether this patch is one that fails."""
        mine = _deed(pod, "")
        others = (deed for deed in self._deeds[_uid(mine.run)] if deed.run == mine.run and deed.use == PATCH)
        return behaviour == HOLD_THEN_FAIL and any(deed.target != mine.target for deed in others)

    async def done(self, pod: Json, target: str) -> None:
        """The pod's container has ended well."""
        deed = _deed(pod, target)
        self._deeds[_uid(deed.run)].append(deed)
        if deed.use == REBOOT:
            await tell_node(self._api, target)

    def of(self, uid: str, use: str, number: int = 0) -> Counter[tuple[str, str]]:
        """How often it was carried out, by run and target; of all runs, or of one."""
        chosen = (deed for deed in self._deeds[uid] if deed.use == use)
        return Counter((deed.run, deed.target) for deed in chosen if not number or deed.run == f"{uid}/{number}")

    def patched(self, uid: str, number: int = 0) -> set[str]:
        """Targets whose patch stands, by any of the resource's runs, or by one of them."""
        standing: set[str] = set()
        for deed in self._deeds[uid]:
            if deed.use == PATCH and (not number or deed.run == f"{uid}/{number}"):
                standing.add(deed.target)
            elif deed.use == ROLLBACK:
                standing.discard(deed.target)
        return standing


async def tell_node(api: ApiServer, name: str) -> None:
    """Say what a kubelet would say of a node that has just booted."""
    stamp = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": stamp, "reason": "Said", "message": ""}
    info = dict.fromkeys(_BLANK, "") | {"bootID": uuid4().hex}
    status = {"conditions": [condition | {"lastTransitionTime": stamp}], "nodeInfo": info}
    await api.merge(f"/api/v1/nodes/{name}/status", {"status": status})


async def make_nodes(api: ApiServer, namespace: str, nodes: Mapping[str, bool], labels: Mapping[str, str]) -> None:
    """Ready nodes, each with a pod that a drain has to evict. The values say which a person has cordoned."""

    async def made(name: str, *, cordoned: bool) -> None:
        metadata = {"name": name, "labels": dict(labels)}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": cordoned}}
        await api.create("/api/v1/nodes", node)
        await tell_node(api, name)
        spec = {
            "nodeName": name, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "example.com/none"}], "tolerations": [{"operator": "Exists"}],
        }  # fmt: skip
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}
        await api.create(f"/api/v1/namespaces/{namespace}/pods", pod)

    await asyncio.gather(*(made(name, cordoned=cordoned) for name, cordoned in nodes.items()))


def _deed(pod: Json, target: str) -> Deed:
    environment = {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0].get("env", [])}
    run, _, number = str(pod["metadata"]["labels"][names.LABEL_RUN]).rpartition(".")
    return Deed(f"{run}/{number}", use_of(pod), target or environment.get("BASCULE_TARGET", ""))


def _uid(run: str) -> str:
    return run.partition("/")[0]
