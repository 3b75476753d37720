"""What a PatchCampaign asks of the world as a whole: its plan, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from temporalio import activity

from bascule_api import names
from bascule_api.fleets import Inventory, NodeTargets, Target
from bascule_api.patch_campaign_specs import Targets
from bascule_api.patch_campaigns import PreviousRun
from bascule_workers.activities import gates
from bascule_workers.activities.plan_keeping import KeptPlan, PlanKeeper
from bascule_workers.errors import PlanRefusedError
from bascule_workers.messages import Done, NotYet, SourcePin, StepRequest
from bascule_workers.patch_campaigns import Held, HeldRequest, Plan, PlanRequest
from bascule_workers.plans import credentials, failures, inventories, patched, waves
from bascule_workers.plans.nodes import Node
from bascule_workers.plans.patched import PatchedNames
from bascule_workers.ports.nodes import Nodes, TargetLeases
from bascule_workers.ports.records import Records
from bascule_workers.ports.secrets import Objects

ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True)
class CampaignPorts:
    """What planning a campaign needs of the world."""

    nodes: Nodes
    leases: TargetLeases
    objects: Objects
    records: Records
    plans: PlanKeeper | None = None
    """Where whole plans are kept; None: nowhere."""


class PatchCampaignActivities:
    """Each may die before or after its effect and be repeated."""

    def __init__(self, ports: CampaignPorts) -> None:
        self._ports = ports

    @activity.defn(name="patch_campaign.plan")
    async def plan(self, request: PlanRequest) -> Done[Plan] | NotYet:
        """Fix which target is patched in which wave, and copy the files that Procedures get.

        Raises PlanRefusedError, ApiUnavailableError, TemporalUnavailableError.
        """
        if wrong := gates.problems(request.gates, request.windows):
            raise PlanRefusedError(failures.shortened("; ".join(wrong)))
        files = {use: await self._copied(request, use, name) for use, name in sorted(request.files.items())}
        targets = await self._targets(request, request.nodes, request.inventory, request.node_selector)
        if not targets:
            raise PlanRefusedError(_nothing(request))
        continued, note = await self._continued(request.continues)
        skipped = [target.name for target in targets if target.name in continued]
        plan = waves.plan(targets, request.waves, request.order, request.procedures, skipped)
        made = plan.model_copy(update={"files": files, "note": _joined(note, plan.note)})
        kept = await self._ports.plans.keep(request, made) if self._ports.plans else KeptPlan()
        made = made.model_copy(update={"artifact": kept.artifact, "note": _joined(made.note, kept.note)})
        return Done(value=made, message=failures.shortened(_joined(_told(made), made.note)))

    async def _copied(self, request: StepRequest, use: str, name: str) -> SourcePin:
        """The run's own copy of a ConfigMap; what was copied once stays as it is."""
        objects, steps_namespace = self._ports.objects, request.tenant.steps_namespace
        copy = await objects.config_map(steps_namespace, credentials.source_name(request.run, use))
        if copy is None:
            original = await objects.config_map(request.run.namespace, name)
            if original is None:
                raise PlanRefusedError(
                    f"spec.{use}.files names the ConfigMap {request.run.namespace}/{name}, which does not exist"
                )
            copy = credentials.run_config_map(request.run, request.tenant, original, use)
            await objects.create([copy])
        return SourcePin(revision=credentials.config_map_digest(copy), part=use)

    async def _targets(
        self,
        request: StepRequest,
        nodes: NodeTargets | None,
        inventory: Inventory | None,
        node_selector: Mapping[str, str],
    ) -> list[Target]:
        if nodes is not None:
            if not node_selector:
                raise PlanRefusedError("the Tenant may patch no nodes: the platform team sets its spec.nodeSelector")
            found = await self._ports.nodes.select(nodes.selector, node_selector)
            return [_target(node) for node in found if not node.control_plane]
        if inventory is None:
            return []
        reference = inventory.config_map
        held = await self._ports.objects.config_map(request.run.namespace, reference.name)
        where = f"spec.targets.inventory names the ConfigMap {request.run.namespace}/{reference.name}"
        if held is None:
            raise PlanRefusedError(f"{where}, which does not exist")
        text = (held.get("data") or {}).get(reference.key)
        if text is None:
            raise PlanRefusedError(f"{where}, which has no key {reference.key}")
        return inventories.hosts(text)

    async def _continued(self, runs: Sequence[PreviousRun]) -> tuple[PatchedNames, str]:
        """What the continued runs patched, and what people should know of that."""
        found, gone = PatchedNames(), []
        for run in runs:
            record = await self._ports.records.patched(run.workflow_id, run.run_id)
            if record is None:
                gone.append(f"run {run.number}")
            else:
                found |= patched.unpacked(record)
        if gone:
            return found, f"what {failures.listed(gone)} patched is patched again: there is no record of it any more"
        return found, f"goes on from run {runs[0].number}" if len(found) else ""

    @activity.defn(name="patch_campaign.held")
    async def held(self, request: HeldRequest) -> Done[Held] | NotYet:
        """What the run still holds: nodes with its label, and targets whose Lease is its own; and what was patched."""
        run = names.run_label(request.run.uid, request.run.number)
        marked = {node.name: _target(node) for node in await self._ports.nodes.marked(run)}
        leased = await self._ports.leases.held(request.tenant.steps_namespace, run)
        record, unknown = await self._recorded(request)
        known: dict[str, Target] = {}
        if request.targets is not None and (len(record) or leased):
            known, lost = await self._known(request, request.targets)
            unknown += lost if len(record) else []
        held = marked | {name: known.get(name, Target(name=name)) for name in leased if name not in marked}
        standing = [target for name, target in known.items() if name in record and name not in held]
        files = {use: await self._copied(request, use, name) for use, name in sorted(request.files.items())}
        found = [held[name] for name in sorted(held)]
        return Done(value=Held(held=found, patched=standing, unknown=unknown, files=files))

    async def _recorded(self, request: HeldRequest) -> tuple[PatchedNames, list[str]]:
        """What runs say that they patched; and of which nothing is known."""
        found, unknown = PatchedNames(), []
        for run in request.records:
            record = await self._ports.records.patched(run.workflow_id, run.run_id)
            if record is not None:
                found |= patched.unpacked(record)
            elif run.count:
                unknown.append(f"{run.count} targets of run {run.run}: Temporal has no record of them any more")
        return found, unknown

    async def _known(self, request: HeldRequest, targets: Targets) -> tuple[dict[str, Target], list[str]]:
        """The campaign's targets as they are now, by name; and why there are none."""
        try:
            found = await self._targets(request, targets.nodes, targets.inventory, request.node_selector)
        except PlanRefusedError as error:
            return {}, [f"what was patched is not found any more: {error}"]
        return {target.name: target for target in found}, []


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _target(node: Node) -> Target:
    return Target(name=node.name, zone=node.labels.get(ZONE, ""))


def _nothing(request: PlanRequest) -> str:
    if request.nodes is None:
        return "the inventory lists no host"
    within = ", ".join(f"{key}={value}" for key, value in sorted(request.node_selector.items()))
    return (
        "no node matches spec.targets.nodes.selector among those that the Tenant may patch "
        f"({within}); nodes of the control plane never do"
    )


def _told(plan: Plan) -> str:
    parts = [f"{wave.name}: {len(wave.targets)}" for wave in plan.waves]
    skipped = [f"skipped: {len(plan.skipped)}"] if plan.skipped else []
    return f"{plan.total} targets, " + ", ".join([*parts, *skipped])
