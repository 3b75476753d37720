"""Activities at targets on the real nodes, as the worker's own identity: what its Roles and the policies allow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from prometheus_client import REGISTRY

from bascule_api import names
from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import Drain
from bascule_api.procedures import PinnedProcedure
from bascule_workers.activities.patch_targets import PatchTargetActivities, PatchTargetPorts
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.adapters.kubernetes_objects import KubernetesObjects, KubernetesTenants
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.adapters.oci_logs import OciLogs
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.adapters.target_leases import KubernetesTargetLeases
from bascule_workers.messages import Done, NotYet
from bascule_workers.patch_campaigns import (
    Acquired,
    AcquireRequest,
    BootRequest,
    DrainRequest,
    JobReport,
    ReadyRequest,
    ReleaseTargetRequest,
    TargetJobRequest,
)
from bascule_workers.plans.jobs import JobSettings
from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support.runs import procedure

PATIENCE_SECONDS = 300.0


def worker_kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig of the worker's ServiceAccount."""
    token = cluster.kubectl("create", "token", "bascule-worker", "-n", SYSTEM_NAMESPACE, "--duration=2h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "worker.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


class WorkerProcess:
    """What one worker process holds: connections, watches and the activities. A second one is another process."""

    def __init__(self, api: ApiServer, cluster: Cluster) -> None:
        self._api, self._http = api, RegistryHttp()
        self._pods, self._nodes = PodWatch(api), NodeWatch(api)
        self.nodes = KubernetesNodes(api, self._nodes)
        self.leases = KubernetesTargetLeases(api)
        self.activities = PatchTargetActivities(
            PatchTargetPorts(
                nodes=self.nodes,
                leases=self.leases,
                steps=KubernetesJobs(api, self._pods),
                objects=KubernetesObjects(api),
                tenants=KubernetesTenants(api, SYSTEM_NAMESPACE),
                logs=OciLogs(self._http),
                job_settings=JobSettings(cluster.images["worker"], "bascule-ca"),
            )
        )

    @classmethod
    async def start(cls, kubeconfig: Path, cluster: Cluster) -> WorkerProcess:
        return cls(await ApiServer.connect(str(kubeconfig)), cluster)

    async def stop(self) -> None:
        await self._pods.close()
        await self._nodes.close()
        await self._http.close()
        await self._api.close()


def host_script(*words: str, **spec: Any) -> PinnedProcedure:
    """A Host Procedure whose container says these words to a shell."""
    template = spec.pop("template")
    container = template["container"] | {"command": ["sh", "-c", *words]}
    volumes = [{"name": "host", "hostPath": "/"}]
    mounts = [{"name": "host", "mountPath": "/host"}]
    fields = {"securityProfile": "Host", "placement": "OnTarget", "timeout": "5m"} | spec
    return procedure(
        "script",
        "PatchCampaign/patch",
        template=template | {"container": container | {"volumeMounts": mounts}, "volumes": volumes},
        **fields,
    )


@dataclass
class Campaign:
    """One run's requests about one target."""

    tenant: TenantHandle
    target: str
    selector: Mapping[str, str]
    uid: str = field(default_factory=lambda: str(uuid4()))
    name: str = "web-nodes"
    notes: list[str] = field(default_factory=list)
    """What every NotYet said."""

    @property
    def run(self) -> str:
        return names.run_label(self.uid, 1)

    def fields(self, **more: Any) -> dict[str, Any]:
        run = {
            "kind": "PatchCampaign",
            "namespace": self.tenant.namespace,
            "name": self.name,
            "uid": self.uid,
            "number": 1,
            "revision": "1-0000000000",
            "tenant": self.tenant.name,
        }
        tenant = {
            "name": self.tenant.name,
            "steps_namespace": self.tenant.steps_namespace,
            "service_account": "bascule-step",
        }
        return {
            "run": run,
            "tenant": tenant,
            "step": "wave-canary",
            "target": Target(name=self.target),
            "node_selector": dict(self.selector),
            "since": int(time.time()),
        } | more

    def acquire_request(self) -> AcquireRequest:
        return AcquireRequest(**self.fields())

    async def acquired(self, worker: WorkerProcess) -> Acquired:
        answer = await worker.activities.acquire(self.acquire_request())
        assert isinstance(answer, Done), answer
        return answer.value

    async def drained(self, worker: WorkerProcess, **drain: Any) -> int:
        """How many pods were evicted by the last attempt."""
        since, note = int(time.time()), ""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self.drain_once(worker, since, note, **drain)
                if isinstance(answer, Done):
                    return int(answer.value.found)
                note = answer.reason

    async def drain_once(self, worker: WorkerProcess, since: int = 0, note: str = "", **drain: Any) -> Any:
        fields = self.fields(note=note) | ({"since": since} if since else {})
        answer = await worker.activities.drain(DrainRequest(**fields, drain=Drain(**drain)))
        if isinstance(answer, NotYet):
            self.notes.append(answer.reason)
        return answer

    async def carried_out(self, worker: WorkerProcess, pinned: PinnedProcedure, **more: Any) -> JobReport:
        """What the Procedure reported in the end. Attempts rise as a workflow has them rise: by the caller."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await worker.activities.run_procedure(self.job_request(pinned, **more))
                if isinstance(answer, Done):
                    return answer.value
                self.notes.append(answer.reason)
                more["note"] = answer.reason

    def job_request(self, pinned: PinnedProcedure, **more: Any) -> TargetJobRequest:
        given = {"procedure": pinned, "parameters": {}, "timeout_seconds": 240, "use": "patch"}
        return TargetJobRequest(**self.fields(**(given | more)))

    async def rebooted(self, worker: WorkerProcess, boot_id: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not isinstance(await worker.activities.rebooted(BootRequest(**self.fields(boot_id=boot_id))), Done):
                pass

    async def ready(self, worker: WorkerProcess) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not isinstance(await worker.activities.ready(ReadyRequest(**self.fields())), Done):
                pass

    async def released(self, worker: WorkerProcess, **more: Any) -> Any:
        request = ReleaseTargetRequest(**self.fields(**more))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await worker.activities.release(request)
                if isinstance(answer, Done):
                    return answer.value
                self.notes.append(answer.reason)


@dataclass(frozen=True)
class Workloads:
    """Real pods in a namespace, pinned to a node as long as it takes some."""

    cluster: Cluster
    namespace: str

    def _applied(self, *documents: dict[str, Any]) -> None:
        text = "\n---\n".join(json.dumps(document) for document in documents)
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=text)

    def _pod(self, name: str, node: str, *, empty_dir: bool = False, preferred: bool = False) -> dict[str, Any]:
        mounts = [{"name": "data", "mountPath": "/data"}] if empty_dir else []
        spec: dict[str, Any] = {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": self.cluster.images["busybox"],
                    "command": ["sleep", "36000"],
                    "volumeMounts": mounts,
                    "securityContext": {"runAsUser": 65532},
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}] if empty_dir else [],
        }
        terms = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        if preferred:
            affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": terms}]}
        else:
            affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [terms]}}  # type: ignore[dict-item]
        spec["affinity"] = {"nodeAffinity": affinity}
        return {"metadata": {"labels": {"app": name, "test": self.namespace}}, "spec": spec}

    def deployment(self, name: str, node: str, replicas: int = 1, **options: Any) -> None:
        """Replicas that begin on the node, and go elsewhere when it takes none."""
        pod = self._pod(name, node, preferred=True, **options)
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod}
        self._applied({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        self.cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", self.namespace, "--timeout=120s")

    def daemon_set(self, name: str) -> None:
        pod = self._pod(name, "")
        del pod["spec"]["affinity"]
        spec = {"selector": {"matchLabels": {"app": name}}, "template": pod}
        self._applied({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": spec})
        self.cluster.kubectl("rollout", "status", f"daemonset/{name}", "-n", self.namespace, "--timeout=120s")

    def bare(self, name: str, node: str, **options: Any) -> None:
        pod = self._pod(name, node, **options)
        pod["metadata"]["name"] = name
        self._applied({"apiVersion": "v1", "kind": "Pod"} | pod)
        self.cluster.kubectl("wait", "pod", name, "-n", self.namespace, "--for=condition=Ready", "--timeout=120s")

    def budget(self, name: str, *, min_available: int) -> None:
        spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}}
        self._applied(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
        )
        counted = f"--for=jsonpath={{.status.desiredHealthy}}={min_available}"
        self.cluster.kubectl("wait", "pdb", name, "-n", self.namespace, counted, "--timeout=60s")

    def no_budget(self, name: str) -> None:
        self.cluster.kubectl("delete", "pdb", name, "-n", self.namespace)

    def on(self, node: str) -> list[str]:
        """Apps of the pods that run on the node and are not ending."""
        selector = ["--field-selector", f"spec.nodeName={node}", "-n", self.namespace, "-o", "json"]
        items = json.loads(self.cluster.kubectl("get", "pods", *selector))["items"]
        return sorted(
            item["metadata"]["labels"]["app"] for item in items if not item["metadata"].get("deletionTimestamp")
        )


@contextmanager
def api_requests(into: dict[str, int]) -> Iterator[None]:
    """Count the requests to the API server within the block, as `verb resource`."""
    before = _requests()
    yield
    for key, count in _requests().items():
        if count - before.get(key, 0):
            into[key] = int(count - before.get(key, 0))


def _requests() -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in REGISTRY.collect():
        if metric.name == "bascule_worker_api_requests":
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    key = f"{sample.labels['verb']} {sample.labels['resource']}"
                    found[key] = found.get(key, 0) + sample.value
    return found
