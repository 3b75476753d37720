"""What is done at one target of a campaign."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

from bascule_workers.activities.common import JobRunner
from bascule_workers.activities.logs import LogKeeper
from bascule_workers.messages import Done, Left, NotYet
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
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.nodes import Nodes, TargetLeases
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants


@dataclass(frozen=True)
class PatchTargetPorts:
    """What is needed of the world at a target."""

    nodes: Nodes
    leases: TargetLeases
    steps: Steps
    objects: Objects
    tenants: Tenants
    logs: Logs
    job_settings: JobSettings


class PatchTargetActivities:
    """One method per phase; each may die before or after its effect and be repeated."""

    def __init__(self, ports: PatchTargetPorts) -> None:
        self._ports = ports
        logs = LogKeeper(ports.steps, ports.tenants, ports.logs)
        self._jobs = JobRunner(ports.steps, ports.objects, ports.job_settings, logs)

    @activity.defn(name="patch_target.acquire")
    async def acquire(self, request: AcquireRequest) -> Done[Acquired] | NotYet:
        """Take the target's Lease, then mark and cordon the node."""
        raise NotImplementedError

    @activity.defn(name="patch_target.drain")
    async def drain(self, request: DrainRequest) -> Done[Left] | NotYet:
        """Evict the node's pods and wait until they are gone."""
        raise NotImplementedError

    @activity.defn(name="patch_target.run_procedure")
    async def run_procedure(self, request: TargetJobRequest) -> Done[JobReport] | NotYet:
        """Carry a Procedure out at the target."""
        raise NotImplementedError

    @activity.defn(name="patch_target.rebooted")
    async def rebooted(self, request: BootRequest) -> Done[Left] | NotYet:
        """Wait until the node has another boot id, and is Ready."""
        raise NotImplementedError

    @activity.defn(name="patch_target.ready")
    async def ready(self, request: ReadyRequest) -> Done[Left] | NotYet:
        """Wait until the node is Ready."""
        raise NotImplementedError

    @activity.defn(name="patch_target.release")
    async def release(self, request: ReleaseTargetRequest) -> Done[Left] | NotYet:
        """Stop the target's Jobs, give the node back as it was found, and let the Lease go."""
        raise NotImplementedError
