"""Pure planning of a PatchCampaign: its steps, what a run pins, batches, budgets, and requests at targets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from bascule_api import revisions
from bascule_api.fleets import Target, count_of
from bascule_api.gates import Gate
from bascule_api.patch_campaign_specs import BATCH_LIMIT, Mode, PatchCampaignSpec, PatchStep, Targets, Wave
from bascule_api.patch_campaign_status import Patched
from bascule_api.patch_campaigns import REVISION_FIELDS, PatchCampaignInput, PatchCampaignUndoInput
from bascule_api.procedures import PinnedProcedure
from bascule_workers.messages import SecretUse
from bascule_workers.patch_campaigns import GateRequest, HeldRequest, PlanRequest
from bascule_workers.plans import measurements

PLAN = "plan"
PATCH, ROLLBACK, VERIFY, REBOOT = "patch", "rollback", "verify", "reboot"
"""For what a Job is at a target."""
HISTORY_LIMIT = 1_000
"""Events of a campaign from which on the next wave gets a history of its own."""
BATCH_HISTORY_LIMIT = 3_500
"""Events of a batch from which on no target is begun: the rest is handed back, and gets a history of its own."""
REPORTS_LIMIT = 1_000
"""Reports of all batches of a wave, about: each is some six events of the campaign's history."""
LEAST_REPORTS = 8
"""Of each batch, about, however many there are."""
FIRST_REPORTS = 2
"""That a batch may make before anything has ended, besides the one that it is about to make."""
SMALL_BATCH = 10
"""Targets up to which a batch tells each phase of each of them: some twelve at each, if everything goes wrong there."""
REPORTS_OF_PHASE = 2
"""One of its beginning, and one of what comes into its way."""


def wave_step(wave: str) -> str:
    return f"wave-{wave}"


def steps(campaign: PatchCampaignInput) -> list[str]:
    """The names of the run's steps, in the order in which they begin."""
    waves = campaign.spec.waves if campaign.spec.mode == Mode.APPLY else []
    return [PLAN, *(wave_step(wave.name) for wave in waves)]


def common(campaign: PatchCampaignInput, step: str) -> dict[str, Any]:
    """What every request of the run begins with."""
    return {"run": campaign.run, "tenant": campaign.tenant, "step": step}


# What a run pins


def secret_uses(spec: PatchCampaignSpec) -> list[SecretUse]:
    """The Secrets that the spec names, and where their content would be sent."""
    uses = [use for index, gate in enumerate(spec.gates) if (use := _gate_secret(index, gate))]
    inventory = spec.targets.inventory
    if inventory and inventory.secret_ref:
        ssh = SecretUse(field="spec.targets.inventory.secretRef", name=inventory.secret_ref.name, use="ssh")
        return [ssh, *uses]
    return uses


def _gate_secret(index: int, gate: Gate) -> SecretUse | None:
    if gate.http and gate.http.secret_ref:
        name, kind, url = gate.http.secret_ref.name, "http", gate.http.url
    elif gate.prometheus and gate.prometheus.secret_ref:
        name, kind, url = gate.prometheus.secret_ref.name, "prometheus", gate.prometheus.address
    else:
        return None
    return SecretUse(field=f"spec.gates[{index}].{kind}", name=name, use="http", hosts=[urlsplit(url).netloc])


def gate_request(campaign: PatchCampaignInput, step: str, gate: Gate) -> GateRequest:
    index = campaign.spec.gates.index(gate)
    secret = _gate_secret(index, gate)
    procedure = campaign.procedures.get(gate.procedure.name) if gate.procedure else None
    return GateRequest(
        **common(campaign, step),
        gate=gate,
        header=secret.field if secret else "",
        procedure=procedure,
        timeout_seconds=measurements.longest(gate, procedure.spec.timeout if procedure else None),
    )


def order(spec: PatchCampaignSpec) -> str:
    """What the order of targets hangs on: the revision of the spec as it would be applied.

    So the plan that `mode: Plan` shows is the one that is carried out once the mode is `Apply`.
    """
    return revisions.revision(spec.model_copy(update={"mode": Mode.APPLY}), REVISION_FIELDS)


def plan_request(campaign: PatchCampaignInput) -> PlanRequest:
    spec = campaign.spec
    procedures = {ROLLBACK: spec.rollback, PATCH: spec.patch}
    return PlanRequest(
        **common(campaign, PLAN),
        nodes=spec.targets.nodes,
        inventory=spec.targets.inventory,
        node_selector=campaign.node_selector,
        order=order(spec),
        waves=spec.waves,
        procedures={name: procedure.hash for name, procedure in sorted(campaign.procedures.items())},
        continues=campaign.continues,
        files={use: step.files.name for use, step in procedures.items() if step and step.files},
        gates=spec.gates,
        windows=spec.windows,
    )


# Batches and budgets


def parallel(wave: Wave, total: int) -> int:
    """How many of a wave's targets are worked on at a time."""
    return max(1, count_of(wave.max_parallel, total))


def share_of_batch(free: int, wanted: int) -> int:
    """How many targets the next batch works on at a time, when so many more may be worked on; 0: none begins yet.

    It is none as long as only a few are free: many small batches would cost more than the wait for a larger one.
    """
    return min(free, BATCH_LIMIT) if free >= max(1, min(wanted, BATCH_LIMIT) // 2) else 0


def batch_size(share: int) -> int:
    """How many targets a batch has: whole rounds of its share, so that its last round is no smaller than the others."""
    return BATCH_LIMIT // share * share


def batch_input_campaign(campaign: PatchCampaignInput) -> PatchCampaignInput:
    """The campaign, as far as a batch needs it: each has its own copy in the history."""
    spec = campaign.spec
    wanted = {step.procedure for step in (spec.patch, spec.rollback) if step}
    if spec.verify and spec.verify.procedure:
        wanted.add(spec.verify.procedure)
    wanted |= {name for each in sorted(wanted) if (name := campaign.procedures[each].spec.reboot)}
    pinned = {name: procedure for name, procedure in campaign.procedures.items() if name in wanted}
    slim = spec.model_copy(update={"gates": [], "windows": [], "waves": spec.waves[:1]})
    return campaign.model_copy(update={"spec": slim, "procedures": pinned, "continues": []})


def without_rollback(campaign: PatchCampaignInput) -> PatchCampaignInput:
    """The campaign, for targets that are only released."""
    return campaign.model_copy(update={"spec": campaign.spec.model_copy(update={"rollback": None})})


def reports_of_batch(targets_of_wave: int) -> int:
    """About how many reports each batch of a wave may make, so that the campaign's history stays small."""
    batches = -(-targets_of_wave // BATCH_LIMIT) or 1
    return max(LEAST_REPORTS, REPORTS_LIMIT // batches)


def reports_so_far(targets: int, reports: int, over: int, phases: int) -> float:
    """How many reports a batch of so many targets may have made by now, of about `reports` in all.

    `over` of its targets are over, and `phases` have begun at all of them together. A wave has few small batches,
    however large it is: so these may tell each phase besides.
    """
    told = REPORTS_OF_PHASE * phases if targets <= SMALL_BATCH else 0
    return FIRST_REPORTS + told + reports * over / targets


def allowed_failures(spec: PatchCampaignSpec, total: int) -> int:
    """How many targets may fail. One more stops the campaign."""
    return count_of(spec.failure_policy.max_failures, total)


# Procedures at a target


def is_node(campaign: PatchCampaignInput) -> bool:
    """Whether its targets are nodes of this cluster; else they are hosts of an inventory."""
    return campaign.spec.targets.nodes is not None


def procedure_of(campaign: PatchCampaignInput, step: PatchStep) -> PinnedProcedure:
    return campaign.procedures[step.procedure]


def timeout_of(step: PatchStep, procedure: PinnedProcedure) -> int:
    """Seconds that one attempt may take."""
    return (step.timeout or procedure.spec.timeout).seconds


def reboot_of(campaign: PatchCampaignInput, procedure: PinnedProcedure) -> PinnedProcedure | None:
    """What reboots a target after this Procedure, if it names something."""
    return campaign.procedures.get(procedure.spec.reboot) if procedure.spec.reboot else None


def reference(campaign: PatchCampaignInput, target: Target) -> str:
    """What a person can look up."""
    return f"{'node' if is_node(campaign) else 'host'}/{target.name}"


REBOOT_SECONDS = 900
"""How long a node that its Procedure asked to reboot may take to come back."""
READY_SECONDS = 600
"""How long a node has to become Ready where the spec has no `verify`."""


# After a run's end


def undo_common(undo: PatchCampaignUndoInput, step: str) -> dict[str, Any]:
    return {"run": undo.run, "tenant": undo.tenant, "step": step}


def undo_campaign(undo: PatchCampaignUndoInput) -> PatchCampaignInput:
    """What batches need for taking back: no more than the record that the operator keeps."""
    effects = undo.effects
    rollback = effects.rollback if effects.rollback and effects.rollback.procedure in undo.procedures else None
    nothing = PatchStep(procedure="nothing")
    spec = PatchCampaignSpec(
        targets=effects.targets or Targets(),
        patch=effects.rollback or nothing,
        rollback=rollback if undo.undo else None,
        drain=effects.drain,
    )
    return PatchCampaignInput(
        run=undo.run,
        tenant=undo.tenant,
        timeout_seconds=undo.timeout_seconds,
        spec=spec,
        procedures=undo.procedures,
        node_selector=undo.node_selector,
    )


def undo_request(undo: PatchCampaignUndoInput, *, standing: bool) -> HeldRequest:
    """Look for what runs patched, or for what the run itself holds."""
    effects = undo.effects
    rollback = effects.rollback if undo.undo else None
    records = list(effects.standing)
    if undo.workflow_id and undo.workflow_id not in {record.workflow_id for record in records}:
        records.append(Patched(run=undo.run.number, workflow_id=undo.workflow_id, run_id=undo.workflow_run_id))
    return HeldRequest(
        **undo_common(undo, PLAN),
        targets=effects.targets,
        node_selector=undo.node_selector,
        records=records if standing else [],
        files={ROLLBACK: rollback.files.name} if rollback and rollback.files else {},
    )


def undo_secrets(undo: PatchCampaignUndoInput) -> list[SecretUse]:
    """The keys that a rollback logs in with, as they are now."""
    inventory = undo.effects.targets.inventory if undo.effects.targets else None
    if inventory is None or inventory.secret_ref is None:
        return []
    return [SecretUse(field="spec.targets.inventory.secretRef", name=inventory.secret_ref.name, use="ssh")]


def undo_problem(undo: PatchCampaignUndoInput) -> str:
    """Why nothing can be rolled back."""
    rollback = undo.effects.rollback
    if rollback is None:
        return "there is no rollback"
    return undo.unpinned.get(rollback.procedure, f"there is no Procedure {rollback.procedure}")
