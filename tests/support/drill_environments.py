"""Drills' environments for tests: the activities with the worker's own identity, and what they are asked."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import yaml

from bascule_api import names
from bascule_api.dr_drill_specs import Isolation, Manifests
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_api.runs import ConfigMapReference
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities, DrillEnvironmentPorts
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.drill_watch import DrillWatch
from bascule_workers.adapters.git_sources import CommandLineGit
from bascule_workers.adapters.kubernetes_drills import KubernetesDrills
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.kubernetes_objects import KubernetesObjects, KubernetesTenants
from bascule_workers.adapters.oci_logs import OciLogs
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.dr_drills import (
    ApplyRequest,
    ApplyStage,
    IsolationRequest,
    PlanDrillRequest,
    ProvisionRequest,
    TeardownRequest,
)
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.jobs import JobSettings
from hack.cluster.handle import Cluster
from hack.installation import SYSTEM_NAMESPACE, TenantHandle
from tests.support.requests import WORKER

T = TypeVar("T")
Json = dict[str, Any]
PATIENCE = 180.0


def worker_kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig with a token of the worker's ServiceAccount."""
    token = cluster.kubectl("create", "token", "bascule-worker", "-n", SYSTEM_NAMESPACE, "--duration=2h").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "worker-kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def as_worker(cluster: Cluster) -> AsyncIterator[ApiServer]:
    """The API server, asked as the worker."""
    with tempfile.TemporaryDirectory() as folder:
        api = await ApiServer.connect(str(worker_kubeconfig(cluster, Path(folder))))
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def environments(cluster: Cluster) -> AsyncIterator[DrillEnvironmentActivities]:
    """The activities, with the worker's identity and rights."""
    async with as_worker(cluster) as api:
        watch, pods, http = DrillWatch(api), PodWatch(api), RegistryHttp()
        ports = DrillEnvironmentPorts(
            spaces=KubernetesDrills(api, watch),
            objects=KubernetesObjects(api),
            git=CommandLineGit(),
            settings=SpaceSettings(SYSTEM_NAMESPACE, "bascule-ca"),
            steps=KubernetesJobs(api, pods),
            tenants=KubernetesTenants(api, SYSTEM_NAMESPACE),
            logs=OciLogs(http),
            job_settings=JobSettings(cluster.images["worker"], "bascule-ca"),
        )
        try:
            yield DrillEnvironmentActivities(ports)
        finally:
            await watch.close()
            await pods.close()
            await http.close()


@dataclass(frozen=True)
class ADrill:
    """One run of a tenant's drill, and its requests."""

    tenant: str
    namespace: str
    uid: str
    number: int = 1

    @classmethod
    def of(cls, tenant: TenantHandle) -> ADrill:
        return cls(tenant.name, tenant.namespace, str(uuid4()))

    @property
    def space(self) -> str:
        return names.drill_namespace(self.uid, self.number)

    def _common(self, step: str) -> Json:
        return {
            "run": RunIdentity(
                kind="DRDrill",
                namespace=self.namespace,
                name="db",
                uid=self.uid,
                number=self.number,
                revision="1-a",
                tenant=self.tenant,
            ),
            "tenant": TenantFacts(
                name=self.tenant, steps_namespace=f"bascule-steps-{self.tenant}", service_account="bascule-step"
            ),
            "step": step,
            "namespace": self.space,
        }

    def plan(self, config_map: str = "environment") -> PlanDrillRequest:
        manifests = Manifests(config_map=ConfigMapReference(name=config_map))
        return PlanDrillRequest(manifests=manifests, order="1-a", **self._common("plan"))

    def provision(self, isolation: Isolation = Isolation.DENY_EGRESS, **changes: Any) -> ProvisionRequest:
        quota = {"pods": "20", "requests.cpu": "4", "persistentvolumeclaims": "5"}
        values = {"isolation": isolation, "quota": quota, "namespace_labels": {"team": "db"}} | changes
        return ProvisionRequest(**values, **self._common("provision"))

    def isolated(self) -> IsolationRequest:
        return IsolationRequest(**self._common("isolate"))

    def apply(self, since: int, stage: ApplyStage = ApplyStage.BEFORE_RESTORE, seconds: int = 600) -> ApplyRequest:
        return ApplyRequest(stage=stage, since=since, timeout_seconds=seconds, **self._common("apply"))

    def teardown(self) -> TeardownRequest:
        return TeardownRequest(compensating=True, **self._common("teardown"))


async def done(activity: Any, request: Any) -> Any:
    """Ask again until it is done, as the workflow does. Returns the value."""
    async with asyncio.timeout(PATIENCE):
        while True:
            match await activity(request):
                case Done(value=value):
                    return value
                case NotYet() as waiting:
                    request = request.model_copy(update={"note": waiting.reason, "cursor": waiting.cursor})
                    await asyncio.sleep(min(waiting.again_after, 2))


def written_by(cluster: Cluster, user: str, since: str) -> list[Mapping[str, Any]]:
    """What the audit log says that somebody wrote since that time (RFC 3339), refused or not."""
    found = []
    for line in cluster.audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == user and entry["requestReceivedTimestamp"] >= since:
            found.append(entry)
    return found


def written_elsewhere(cluster: Cluster, tenant: TenantHandle, since: str) -> list[Mapping[str, Any]]:
    """What the worker wrote outside of namespaces of drills and of steps, for one tenant's drills.

    The worker serves other tests' tenants at the same time, whose campaigns patch nodes and evict pods: of those only
    what nobody may have written counts. Anything at all in the tenant's own namespace does.
    """
    written = written_by(cluster, WORKER, since)
    assert written, "the audit log says nothing of the worker"
    return [entry for entry in written if _elsewhere(entry["objectRef"], tenant)]


def _elsewhere(about: Mapping[str, Any], tenant: TenantHandle) -> bool:
    namespace, resource = about.get("namespace"), about["resource"]
    if resource == "namespaces":
        return not about.get("name", "bascule-drill-").startswith("bascule-drill-")
    if namespace is None:
        return resource not in ("nodes", "selfsubjectaccessreviews", "subjectaccessreviews")
    if namespace == tenant.namespace:
        return True
    by_others = resource == "leases" or about.get("subresource") == "eviction"
    return not by_others and not namespace.startswith(("bascule-drill-", "bascule-steps-"))
