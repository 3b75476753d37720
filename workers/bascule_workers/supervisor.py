"""One Temporal worker per tenant, each in a task of its own that is started again when it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, ServiceClient
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from bascule_api import names
from bascule_api.tenants import TemporalSpec, Tenant
from bascule_codec import Keyring, data_converter
from bascule_telemetry import traces
from bascule_workers import metrics
from bascule_workers.activities.attestations import AttestationActivities
from bascule_workers.activities.gates import GateActivities
from bascule_workers.activities.image_builds import ImageBuildActivities, ImageBuildPorts
from bascule_workers.activities.patch_campaigns import CampaignPorts, PatchCampaignActivities
from bascule_workers.activities.patch_targets import PatchTargetActivities, PatchTargetPorts
from bascule_workers.activities.plan_keeping import PlanKeeper
from bascule_workers.activities.publications import PublicationActivities
from bascule_workers.activities.runs import RunActivities
from bascule_workers.adapters.temporal_records import TemporalRecords
from bascule_workers.decoding import UndecodableInputError, strict_about_inputs
from bascule_workers.interceptors import StepInterceptor
from bascule_workers.ports.audit import Audit
from bascule_workers.ports.policy import Policy
from bascule_workers.workflows.dr_drill_undos import DRDrillUndoWorkflow
from bascule_workers.workflows.dr_drills import DRDrillWorkflow
from bascule_workers.workflows.image_builds import ImageBuildUndoWorkflow, ImageBuildWorkflow
from bascule_workers.workflows.patch_batches import PatchBatchWorkflow
from bascule_workers.workflows.patch_campaign_undos import PatchCampaignUndoWorkflow
from bascule_workers.workflows.patch_campaigns import PatchCampaignWorkflow

WORKFLOWS: list[type] = [
    ImageBuildWorkflow,
    ImageBuildUndoWorkflow,
    PatchCampaignWorkflow,
    PatchBatchWorkflow,
    PatchCampaignUndoWorkflow,
    DRDrillWorkflow,
    DRDrillUndoWorkflow,
]
"""Every kind's workflow, and what takes it back."""
MAX_BACKOFF_SECONDS = 30.0
MAX_ACTIVITIES = 1000
"""Of one tenant, at the same time. Each is a coroutine that waits for a Job: what is bounded is not work but memory.
With fewer, a tenant's own waiting builds would keep its counterweights from running."""
_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

logger = logging.getLogger(__name__)


class TenantSource(Protocol):
    """Whom to serve."""

    changed: asyncio.Event

    def tenants(self) -> dict[str, Tenant]: ...


class Connections(Protocol):
    """Where the tenants' Temporal is."""

    async def connect(self, temporal: TemporalSpec) -> ServiceClient:
        """The connection for a tenant; tenants may share it."""

    def forget(self, temporal: TemporalSpec) -> None:
        """Have the next `connect` make another one."""

    async def until_outdated(self, temporal: TemporalSpec) -> None:
        """Return when the connection has to be replaced: the server demands other credentials by now."""


@dataclass(frozen=True)
class Equipment:
    """What every tenant's worker is made from."""

    connections: Connections
    keyring: Keyring
    ports: ImageBuildPorts
    policy: Callable[[Tenant], Policy]
    audit: Audit
    grace: timedelta
    identity: str
    targets: PatchTargetPorts | None = None
    """What activities at targets of campaigns need; None: this worker carries out none."""
    drills: Sequence[object] = ()
    """Holders of the activities of drills (`activities.dr_drills`); none: this worker carries out none."""
    runner: WorkflowRunner = field(default_factory=UnsandboxedWorkflowRunner)
    """Temporal's sandbox costs a third of the worker's processor time. What it finds, the tests find, which use it."""


@dataclass
class Serving:
    """A tenant's task."""

    tenant: Tenant
    task: asyncio.Task[None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Keeps one worker running for each tenant of a source."""

    def __init__(self, equipment: Equipment, source: TenantSource) -> None:
        self._equipment = equipment
        self._source = source
        self._serving: dict[str, Serving] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then let running activities end within the grace."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            self._source.changed.clear()
            await self._match(self._source.tenants())
            changed = asyncio.create_task(self._source.changed.wait())
            await asyncio.wait({stopping, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        await asyncio.gather(*(self._end(name) for name in list(self._serving)))

    async def _match(self, wanted: dict[str, Tenant]) -> None:
        """Start, stop and replace workers until they match the tenants."""
        outdated = [
            name
            for name, serving in self._serving.items()
            if name not in wanted or wanted[name].spec != serving.tenant.spec
        ]
        await asyncio.gather(*(self._end(name) for name in outdated))
        for name, tenant in wanted.items():
            if name not in self._serving:
                stop = asyncio.Event()
                self._serving[name] = Serving(tenant, asyncio.create_task(self._serve(tenant, stop)), stop)

    async def _end(self, name: str) -> None:
        serving = self._serving.pop(name)
        serving.stop.set()
        await serving.task

    async def _serve(self, tenant: Tenant, stop: asyncio.Event) -> None:
        """Run the tenant's worker; whatever breaks it disturbs nobody else."""
        failures = 0
        while not stop.is_set():
            try:
                await self._work(tenant, stop)
                failures = 0
            except Exception as error:  # noqa: BLE001 - one tenant's trouble, whatever it is, stays its own
                failures += 1
                metrics.TENANT_FAILURES.labels(tenant.metadata.name).inc()
                delay = min(MAX_BACKOFF_SECONDS, 2.0 ** min(failures - 1, 5))
                said = (str(error) or type(error).__name__).splitlines()[0]
                extra = {"tenant": tenant.metadata.name, "error": said}
                logger.warning("a tenant cannot be served; again in %.0f s", delay, extra=extra)
                try:
                    async with asyncio.timeout(delay):
                        await stop.wait()
                except TimeoutError:
                    pass

    async def _work(self, tenant: Tenant, stop: asyncio.Event) -> None:
        client = await self._client(tenant)
        worker = make_worker(client, tenant, self._equipment)
        extra = {"tenant": tenant.metadata.name, "temporal_namespace": tenant.temporal_namespace}
        logger.info("serving %s", worker.task_queue, extra=extra)
        running = asyncio.create_task(worker.run())
        stopped = asyncio.create_task(stop.wait())
        outdated = asyncio.create_task(self._equipment.connections.until_outdated(tenant.spec.temporal))
        metrics.TENANTS_SERVED.inc()
        try:
            await asyncio.wait({running, stopped, outdated}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await worker.shutdown()
            await running
        except Exception:
            # A worker that broke stays registered with its connection, and would shut out its successor.
            self._equipment.connections.forget(tenant.spec.temporal)
            raise
        finally:
            metrics.TENANTS_SERVED.dec()
            stopped.cancel()
            outdated.cancel()

    async def _client(self, tenant: Tenant) -> Client:
        """A client of the tenant's namespace. Raises RPCError while the namespace is not there."""
        service = await self._equipment.connections.connect(tenant.spec.temporal)
        namespace = tenant.temporal_namespace
        try:
            await service.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
        except RPCError as error:
            if error.status in _REFUSED:
                # Other credentials may be there by the next attempt.
                self._equipment.connections.forget(tenant.spec.temporal)
            raise
        converter = data_converter(self._equipment.keyring, namespace)
        return Client(service, namespace=namespace, data_converter=converter)


def make_worker(client: Client, tenant: Tenant, equipment: Equipment) -> Worker:
    """The Temporal worker of one tenant."""
    name = tenant.metadata.name
    runs = RunActivities(equipment.ports.objects, equipment.ports.steps)
    ports = equipment.ports
    builds = (ImageBuildActivities(ports), PublicationActivities(ports), AttestationActivities(ports))
    holders: list[object] = [runs, *builds, *equipment.drills]
    if equipment.targets is not None:
        targets = equipment.targets
        keeper = PlanKeeper(targets.tenants, targets.logs)
        campaigns = CampaignPorts(targets.nodes, targets.leases, targets.objects, TemporalRecords(client), keeper)
        holders += [PatchCampaignActivities(campaigns), PatchTargetActivities(targets), GateActivities(targets)]
    return Worker(
        strict_about_inputs(client),
        task_queue=names.task_queue(name),
        workflows=WORKFLOWS,
        activities=[method for holder in holders for method in activities_of(holder)],
        interceptors=[*traces.interceptors(), StepInterceptor(name, equipment.policy(tenant), equipment.audit)],
        workflow_runner=equipment.runner,
        identity=equipment.identity,
        max_concurrent_activities=MAX_ACTIVITIES,
        max_activities_per_second=float(tenant.spec.limits.activities_per_second),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=equipment.grace,
        # Input that does not decode fails the run; nothing else does, so that our bugs never pass for a failed run.
        workflow_failure_exception_types=[UndecodableInputError],
    )


def activities_of(holder: object) -> list[Callable[..., Any]]:
    """The methods of an object that are activities."""
    methods = (getattr(holder, name) for name in dir(type(holder)) if not name.startswith("_"))
    return [method for method in methods if hasattr(method, "__temporal_activity_definition")]
