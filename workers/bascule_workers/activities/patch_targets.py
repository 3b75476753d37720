"""What is done at one target of a campaign."""

from __future__ import annotations

import time
from dataclasses import dataclass

from temporalio import activity

from bascule_api import names
from bascule_api.conditions import WaitKind
from bascule_api.failures import FailureType
from bascule_api.procedures import Placement
from bascule_workers.activities.common import WAIT_SECONDS, JobRunner
from bascule_workers.activities.draining import Draining
from bascule_workers.errors import (
    JobLostError,
    StepFailedError,
    TargetGoneError,
    TargetRefusedError,
    TargetTakenError,
    WorkerError,
)
from bascule_workers.messages import Done, Left, NotYet
from bascule_workers.patch_campaigns import (
    Acquired,
    AcquireRequest,
    BootRequest,
    DrainRequest,
    JobReport,
    ReadyRequest,
    ReleaseTargetRequest,
    StopTargetRequest,
    TargetJobRequest,
    TargetRequest,
)
from bascule_workers.plans import failures
from bascule_workers.plans import patch_targets as plans
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.nodes import Node, refusal
from bascule_workers.plans.outcomes import Running
from bascule_workers.plans.patch_campaigns import PATCH, ROLLBACK
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.nodes import Nodes, TargetLeases
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants

REBOOT = "reboot"
"""The use of the Procedure that reboots a target."""
LEASE_AGAIN_SECONDS = 15
"""How long to wait before a target that another run works on is looked at again."""
SIGNS_SECONDS = 60.0
"""How long after a Job's sudden end its node may take to be seen going down: a kubelet is missed after 50 s."""
STOP_SECONDS = 60.0
PATIENCE_SECONDS = 300
"""How long a target's Jobs are waited for before its node is released in spite of them."""


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
        self._jobs = JobRunner.of(ports)

    @activity.defn(name="patch_target.acquire")
    async def acquire(self, request: AcquireRequest) -> Done[Acquired] | NotYet:
        """Take the target's Lease, then mark and cordon the node. Raises TargetGoneError, TargetRefusedError."""
        run, resource = _run(request), f"{request.run.namespace}/{request.run.name}"
        namespace, name = request.tenant.steps_namespace, request.target.name
        # Asked before anything is taken; and again, by the write itself, with the version that was read.
        if request.node and (node := await self._ports.nodes.get(name)) and (problem := _refused(node, request)):
            await self._confirmed(request, problem)
        if holder := await self._ports.leases.acquire(namespace, name, run, resource):
            return _held_by(holder)
        if not request.node:
            return Done(value=Acquired())
        try:
            marked = await self._ports.nodes.mark(name, run, resource, request.node_selector)
        except TargetTakenError as error:
            return _held_by(error.holder)
        except TargetRefusedError:
            await self._ports.leases.release(namespace, name, run)
            raise
        if marked is None:
            await self._ports.leases.release(namespace, name, run)
            raise TargetGoneError(f"the node {name} is no longer there")
        return Done(value=Acquired(boot_id=marked.boot_id, cordoned=marked.cordoned_by == run))

    @activity.defn(name="patch_target.drain")
    async def drain(self, request: DrainRequest) -> Done[Left] | NotYet:
        """Evict the node's pods and wait until they are gone. Raises DrainBlockedError."""
        if not (request.node and request.drain.enabled):
            return Done(value=Left())
        node = await self._own_node(request)
        if not node.unschedulable:
            # Somebody uncordoned it: pods would come as fast as they go.
            resource = f"{request.run.namespace}/{request.run.name}"
            await self._ports.nodes.mark(node.name, _run(request), resource, request.node_selector)
        return await Draining(self._ports.nodes, request).result(WAIT_SECONDS)

    @activity.defn(name="patch_target.run_procedure")
    async def run_procedure(self, request: TargetJobRequest) -> Done[JobReport] | NotYet:
        """Carry a Procedure out at the target. Raises StepFailedError, StepTimedOutError, JobLostError."""
        node = await self._own_node(request) if request.node else None
        traits = plans.job_traits(request, node.addresses[0] if node and node.addresses else "")
        try:
            # Of a reboot it is enough that it was; a second one for what the first said would be one too many.
            reads = ("rebootRequired",) if request.use in (PATCH, ROLLBACK) else ()
            outcome = await self._jobs.run(request, FailureType.STEP_FAILED, traits, reads=reads)
        except (JobLostError, StepFailedError) as error:
            on_target = request.procedure.spec.placement == Placement.ON_TARGET
            if not (error.abrupt and on_target and request.boot_id):
                raise
            return await self._after_sudden_end(request, error)
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note)
        ended, log = outcome
        return Done(value=JobReport(results=dict(ended.results)), log=log.digest, message=ended.message or log.note)

    async def _after_sudden_end(self, request: TargetJobRequest, error: WorkerError) -> Done[JobReport] | NotYet:
        """A Job that something else ended: raises the error, unless its node was rebooted under it.

        That is what a Procedure that reboots is for. Any other may have been in the midst of its work.
        """
        nodes, name = self._ports.nodes, request.target.name

        def shows_signs(node: Node | None) -> bool:
            return node is None or not node.ready or node.boot_id != request.boot_id

        node = await nodes.until(name, shows_signs, SIGNS_SECONDS)
        if node is not None and not node.ready:
            node = await nodes.until(name, lambda node: node is None or node.ready, WAIT_SECONDS / 2)
        if node is None:
            raise TargetGoneError(f"the node {name} went away while the Procedure ran")
        if not node.ready:
            return NotYet(reason=f"the node {name} is not Ready since its Job ended: {failures.shortened(str(error))}")
        if node.boot_id == request.boot_id:
            raise error
        if request.use == REBOOT:
            return Done(value=JobReport())
        attempts = request.procedure.spec.retry.attempts
        if request.job_attempt >= attempts:
            raise StepFailedError(
                f"the node was rebooted while the Procedure ran, {attempts} times: let it report rebootRequired, end, "
                "and have the reboot begin after that"
            )
        raise JobLostError("the node was rebooted while the Procedure ran, which is therefore carried out again")

    @activity.defn(name="patch_target.rebooted")
    async def rebooted(self, request: BootRequest) -> Done[Left] | NotYet:
        """Wait until the node has another boot id, and is Ready."""
        await self._own_node(request)

        def is_back(node: Node | None) -> bool:
            return node is None or (node.ready and node.boot_id not in ("", request.boot_id))

        await self._ports.nodes.until(request.target.name, is_back, WAIT_SECONDS)
        node = await self._own_node(request)
        if is_back(node):
            return Done(value=Left())
        stage = "has not been rebooted yet" if node.boot_id == request.boot_id else "was rebooted and is not Ready yet"
        return NotYet(reason=f"the node {node.name} {stage}", waits_for=WaitKind.CHECK, subject=node.name)

    @activity.defn(name="patch_target.ready")
    async def ready(self, request: ReadyRequest) -> Done[Left] | NotYet:
        """Wait until the node is Ready."""
        if not request.node:
            return Done(value=Left())
        await self._own_node(request)
        await self._ports.nodes.until(request.target.name, lambda node: node is None or node.ready, WAIT_SECONDS)
        node = await self._own_node(request)
        if node.ready:
            return Done(value=Left())
        return NotYet(reason=f"the node {node.name} is not Ready", waits_for=WaitKind.CHECK, subject=node.name)

    @activity.defn(name="patch_target.stop")
    async def stop(self, request: StopTargetRequest) -> Done[Left] | NotYet:
        """Stop the target's Jobs that are at work, before something else is done there."""
        stopped = await self._ports.steps.stop(
            request.tenant.steps_namespace,
            _run(request),
            finished_too=request.finished_too,
            limit_seconds=STOP_SECONDS,
            target=names.target_label(request.target.name),
        )
        if stopped.remaining and await self._may_still_end(request):
            return NotYet(reason=f"waiting for {failures.listed(stopped.remaining)} to stop")
        return Done(value=Left(found=stopped.found))

    @activity.defn(name="patch_target.release")
    async def release(self, request: ReleaseTargetRequest) -> Done[Left] | NotYet:
        """Stop the target's Jobs, give the node back as it was found, and let the Lease go.

        Whatever the node has become since: a node of ours must never stay cordoned by us.
        """
        namespace, name, run = request.tenant.steps_namespace, request.target.name, _run(request)
        stopped = await self._ports.steps.stop(
            namespace,
            run,
            finished_too=not request.keep_jobs,
            limit_seconds=STOP_SECONDS,
            target=names.target_label(name),
        )
        if stopped.remaining and await self._may_still_end(request):
            return NotYet(reason=f"waiting for {failures.listed(stopped.remaining)} to stop")
        found = request.node and await self._ports.nodes.unmark(name, run)
        held = await self._ports.leases.release(namespace, name, run)
        left = [f"Pod/{namespace}/{pod} of {name}" for pod in stopped.remaining]
        return Done(value=Left(items=left, found=int(found) + int(held)))

    async def _may_still_end(self, request: TargetRequest) -> bool:
        """Whether what was stopped can be waited for: not on a node that does not answer, and not for ever."""
        if request.since and time.time() - request.since > PATIENCE_SECONDS:
            return False
        if not request.node:
            return True
        node = await self._ports.nodes.get(request.target.name)
        return node is not None and node.ready

    async def _own_node(self, request: TargetRequest) -> Node:
        """The node, if it may be patched and is the one that this run acquired.

        Raises TargetRefusedError, TargetGoneError.
        """
        node = await self._ports.nodes.get(request.target.name)
        if node is None or node.terminating or node.run != _run(request) or _refused(node, request):
            # The watch may be behind what another worker wrote: nothing is refused by its word alone.
            node = await self._ports.nodes.fresh(request.target.name)
        if node is None or node.terminating:
            raise TargetGoneError(f"the node {request.target.name} is no longer there")
        if problem := _refused(node, request):
            raise TargetRefusedError(problem)
        if node.run != _run(request):
            raise TargetGoneError(
                f"the node {node.name} is another one than was acquired: it was made again, or somebody took its label "
                f"{names.LABEL_RUN} away"
            )
        return node

    async def _confirmed(self, request: TargetRequest, problem: str) -> None:
        """Raises TargetRefusedError if the node as the API server has it is refused as well."""
        node = await self._ports.nodes.fresh(request.target.name)
        if node is not None and _refused(node, request):
            raise TargetRefusedError(problem)


def _run(request: TargetRequest) -> str:
    return names.run_label(request.run.uid, request.run.number)


def _refused(node: Node, request: TargetRequest) -> str:
    return refusal(node, request.node_selector)


def _held_by(holder: str) -> NotYet:
    return NotYet(
        reason=f"{holder} works on it", waits_for=WaitKind.LEASE, subject=holder, again_after=LEASE_AGAIN_SECONDS
    )
