"""Nodes and pods for the tests of the port `Nodes`: in the fake, and as objects of the real API server.

The real ones have no kubelet. What a kubelet would say of them, the test says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.plans.nodes import Node, PodOnNode
from bascule_workers.ports.nodes import Nodes
from hack.cluster.handle import Cluster
from tests.support.fake_nodes import FakeNodes

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@dataclass
class FakeFleet:
    nodes: FakeNodes

    @property
    def port(self) -> Nodes:
        return self.nodes

    async def node(self, name: str, labels: Mapping[str, str], boot_id: str = "boot-1") -> None:
        control_plane = CONTROL_PLANE in labels
        self.nodes.put(Node(name, labels=dict(labels), ready=True, boot_id=boot_id, control_plane=control_plane))

    async def change(self, name: str, **fields: Any) -> None:
        """`unschedulable`, `ready` or `boot_id`, as somebody else changes them."""
        self.nodes.put(replace(self.nodes.nodes[name], **fields))

    async def remove(self, name: str) -> None:
        self.nodes.drop(name)

    async def pod(self, node: str, name: str, **facts: Any) -> str:
        """A pod of the node that runs; its reference."""
        self.nodes.pods[node].append(PodOnNode("fleet", name, uuid4().hex, **facts))
        self.nodes.tell()
        return f"fleet/{name}"

    async def guard(self, *pods: str) -> None:
        """A budget that lets none of the pods go."""
        self.nodes.budgets |= dict.fromkeys(pods, "The disruption budget web needs 1 healthy pods and has 1 currently")

    async def guard_twice(self, pod: str) -> None:
        self.nodes.budgets[pod] = "This pod has more than one PodDisruptionBudget"

    async def delete_pod(self, reference: str) -> None:
        for pods in self.nodes.pods.values():
            pods[:] = [pod for pod in pods if pod.reference != reference]
        self.nodes.tell()


@dataclass
class RealFleet:
    port: KubernetesNodes
    api: ApiServer
    cluster: Cluster
    namespace: str

    async def _kubectl(self, *arguments: str, document: Mapping[str, Any] | None = None) -> str:
        text = json.dumps(document) if document else None
        return await asyncio.to_thread(self.cluster.kubectl, *arguments, input=text)

    async def node(self, name: str, labels: Mapping[str, str], boot_id: str = "boot-1") -> None:
        metadata = {"name": name, "labels": dict(labels)}
        # Its pods are ours alone: nothing of the cluster is to be scheduled there, nor evicted for its silence.
        await self.api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        await self._told(name, ready=True, boot_id=boot_id)

    async def change(self, name: str, **fields: Any) -> None:
        if "unschedulable" in fields:
            await self.api.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": fields.pop("unschedulable")}})
        if fields:
            await self._told(name, **fields)

    async def _told(self, name: str, *, ready: bool | None = None, boot_id: str = "") -> None:
        status: dict[str, Any] = {}
        if ready is not None:
            stamp = "2026-01-01T00:00:00Z"
            condition = {"type": "Ready", "status": str(ready), "lastHeartbeatTime": stamp, "reason": "Said"}
            status["conditions"] = [condition | {"lastTransitionTime": stamp, "message": ""}]
        if boot_id:
            empty = dict.fromkeys(("machineID", "systemUUID", "kernelVersion", "osImage", "kubeProxyVersion"), "")
            empty |= dict.fromkeys(("containerRuntimeVersion", "kubeletVersion", "operatingSystem", "architecture"), "")
            status["nodeInfo"] = empty | {"bootID": boot_id}
        await self.api.merge(f"/api/v1/nodes/{name}/status", {"status": status})

    async def remove(self, name: str) -> None:
        await self.api.delete(f"/api/v1/nodes/{name}")

    async def pod(self, node: str, name: str, **facts: Any) -> str:
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace, "labels": facts.get("labels", {})}
        if owner := facts.get("owner_kind"):
            reference = {"apiVersion": "apps/v1", "kind": owner, "name": "web", "uid": uuid4().hex, "controller": True}
            metadata["ownerReferences"] = [reference]
            # The garbage collector would take a pod whose owner there never was.
            metadata["finalizers"] = []
        volumes = [{"name": "data", "emptyDir": {}}] if facts.get("empty_dir") else []
        spec = {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "example.com/none"}],
            "volumes": volumes,
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        made = await self.api.create(path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        phase = "Succeeded" if facts.get("finished") else "Running"
        condition = {"type": "Ready", "status": "True"}
        await self.api.merge(f"{path}/{name}/status", {"status": {"phase": phase, "conditions": [condition]}})
        return f"{made['metadata']['namespace']}/{name}"

    async def guard(self, *pods: str) -> None:
        await self._budget("web", *pods)

    async def guard_twice(self, pod: str) -> None:
        await self._budget("one", pod)
        await self._budget("two", pod)

    async def _budget(self, name: str, *pods: str) -> None:
        for pod in pods:
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod.partition('/')[2]}"
            await self.api.merge(path, {"metadata": {"labels": {"budget": "yes"}}})
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        spec = {"minAvailable": len(pods), "selector": {"matchLabels": {"budget": "yes"}}}
        await self.api.create(
            path, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
        )
        for _ in range(300):
            found = await self.api.get(f"{path}/{name}")
            if (found.get("status") or {}).get("currentHealthy") == len(pods):
                return
            await asyncio.sleep(0.2)
        raise AssertionError("the budget counts no pods")

    async def delete_pod(self, reference: str) -> None:
        await self.api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{reference.partition('/')[2]}")
