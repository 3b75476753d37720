"""What is special about PatchCampaigns before they start: what they name, what is refused, and the run's input."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bascule_api.conditions import Phase, Reason
from bascule_api.fleets import NodeTargets
from bascule_api.patch_campaign_specs import KEPT_LIMIT, PatchCampaignSpec, PatchStep
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_api.patch_campaigns import PatchCampaignInput, PreviousRun
from bascule_api.procedures import PinnedProcedure, Placement, SecurityProfile, Use
from bascule_api.progress import RunIdentity
from bascule_api.tenants import Tenant
from bascule_operator.decisions.grounds import Wants, tenant_facts
from bascule_operator.decisions.selectors import CONTROL_PLANE, asks_for, contradiction
from bascule_operator.decisions.views import Grounds, Problem

KIND = "PatchCampaign"


def wants(spec: PatchCampaignSpec) -> list[Wants]:
    """The Procedures that the spec names."""
    found = [Wants("spec.patch", Use.PATCH_CAMPAIGN_PATCH, spec.patch.procedure, spec.patch.parameters)]
    if spec.rollback is not None:
        rollback = spec.rollback
        found.append(Wants("spec.rollback", Use.PATCH_CAMPAIGN_ROLLBACK, rollback.procedure, rollback.parameters))
    if spec.verify is not None and spec.verify.procedure is not None:
        verify = spec.verify
        found.append(Wants("spec.verify", Use.PATCH_CAMPAIGN_VERIFY, spec.verify.procedure, verify.parameters))
    for index, gate in enumerate(spec.gates):
        if gate.procedure is not None:
            path, name = f"spec.gates[{index}].procedure", gate.procedure.name
            found.append(Wants(path, Use.PATCH_CAMPAIGN_GATE, name, gate.procedure.parameters, field="name"))
    return found


# What is wrong with the spec, whatever the cluster has


def refused(spec: PatchCampaignSpec) -> Problem | None:
    """What no run can be made of, as far as it shows without the targets; None when there is nothing."""
    told = _falling(spec) or _nowhere(spec) or _too_large(spec)
    return Problem(Reason.SPEC_INVALID, told, final=True) if told else None


def _falling(spec: PatchCampaignSpec) -> str:
    """Waves that do not rise. A number and a percentage can only be compared once the targets are known."""
    sized = [(index, wave.size) for index, wave in enumerate(spec.waves) if wave.size is not None]
    counts = [(index, size) for index, size in sized if isinstance(size, int)]
    shares = [(index, int(size.removesuffix("%"))) for index, size in sized if isinstance(size, str)]
    for unit, rising in (("", counts), ("%", shares)):
        for (_, before), (index, size) in pairwise(rising):
            if size <= before:
                return (
                    f"spec.waves[{index}].size: {size}{unit} is not more than {before}{unit} of a wave before: "
                    "sizes are cumulative shares of all targets and rise from wave to wave"
                )
    return ""


def _nowhere(spec: PatchCampaignSpec) -> str:
    for index, window in enumerate(spec.windows):
        if not _is_time_zone(window.time_zone):
            return (
                f"spec.windows[{index}].timeZone: {window.time_zone} is no time zone: use an IANA name, "
                "such as Europe/Berlin"
            )
    return ""


@cache
def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # The name of a folder of the time zone database, such as Europe, is an OSError.
        return False
    return True


def _too_large(spec: PatchCampaignSpec) -> str:
    """What the status keeps for undoing has its limit there."""
    kept = [spec.targets.to_wire(), spec.rollback.to_wire() if spec.rollback else {}, spec.drain.to_wire()]
    size = sum(len(json.dumps(item).encode()) for item in kept)
    if size <= KEPT_LIMIT:
        return ""
    return (
        f"spec.targets, spec.drain and spec.rollback together have {size} bytes as JSON; the limit is {KEPT_LIMIT}, "
        "since the status keeps them for undoing: select by fewer labels, and give the rollback its files by "
        "spec.rollback.files"
    )


# What this tenant may not have


def forbidden(spec: PatchCampaignSpec, grounds: Grounds) -> Problem | None:
    """What the tenant or the Procedures do not allow; None when all is allowed."""
    told = _not_the_tenants(spec.targets.nodes, grounds.tenant) if spec.targets.nodes else ""
    if told:
        return Problem(Reason.TARGETS_FORBIDDEN, told, final=True)
    told = _files(spec, grounds.procedures) or _misplaced(spec, grounds.procedures)
    return Problem(Reason.PROCEDURE_FORBIDDEN, told, final=True) if told else None


def _not_the_tenants(nodes: NodeTargets, tenant: Tenant) -> str:
    name, within = tenant.metadata.name, tenant.spec.node_selector
    if not within:
        return (
            f"spec.targets.nodes: the tenant {name} may patch no nodes: the platform team can name the labels of those "
            "that it may in spec.nodeSelector of the Tenant"
        )
    label = asks_for(nodes.selector, CONTROL_PLANE) or next((key for key in CONTROL_PLANE if key in within), "")
    if label:
        return f"spec.targets.nodes: {label} is on nodes of the control plane, which no campaign touches"
    told = contradiction(nodes.selector, within)
    if told:
        nodes_of = ", ".join(f"{key}={value}" for key, value in sorted(within.items()))
        return f"spec.targets.nodes.selector: {told}, but the tenant {name} may patch nodes with {nodes_of} only"
    return ""


def _files(spec: PatchCampaignSpec, procedures: dict[str, PinnedProcedure]) -> str:
    for path, step in (("spec.patch", spec.patch), ("spec.rollback", spec.rollback)):
        if step is not None and (told := host_files(step, procedures[step.procedure])):
            return f"{path}.files: {told}"
    return ""


def host_files(step: PatchStep, procedure: PinnedProcedure) -> str:
    """Why the step's files may not be used; empty when they may."""
    if step.files is None or procedure.spec.security_profile is not SecurityProfile.HOST:
        return ""
    return (
        f"the Procedure {procedure.name} has the securityProfile Host, and takes no files of a tenant: leave them "
        "out, or name a Procedure that reaches the target without host access"
    )


def _misplaced(spec: PatchCampaignSpec, procedures: dict[str, PinnedProcedure]) -> str:
    """Procedures that want a node to run on, where there is none."""
    at_targets = [wanted for wanted in wants(spec) if wanted.use is not Use.PATCH_CAMPAIGN_GATE]
    at_gates = [wanted for wanted in wants(spec) if wanted.use is Use.PATCH_CAMPAIGN_GATE]
    on_hosts = _bound(at_targets, procedures) if spec.targets.inventory else None
    if on_hosts:
        return f"{on_hosts}, and hosts of an inventory are no nodes of this cluster: name one with placement Anywhere"
    at_gate = _bound(at_gates, procedures)
    return f"{at_gate}, and a gate has no target: name one with placement Anywhere" if at_gate else ""


def _bound(wanted: Iterable[Wants], procedures: dict[str, PinnedProcedure]) -> str:
    for want in wanted:
        own = procedures[want.procedure]
        named = [own, *([procedures[own.spec.reboot]] if own.spec.reboot else [])]
        for name, spec in ((item.name, item.spec) for item in named):
            if spec.placement is Placement.ON_TARGET or spec.security_profile is SecurityProfile.HOST:
                return f"{want.path}: the Procedure {name} runs on a node"
    return ""


# The input


def workflow_input(
    spec: PatchCampaignSpec, status: PatchCampaignStatus, run: RunIdentity, grounds: Grounds
) -> PatchCampaignInput:
    """The input of the run's workflow."""
    return PatchCampaignInput(
        run=run,
        tenant=tenant_facts(grounds.tenant.metadata.name, grounds.tenant),
        timeout_seconds=spec.timeout.seconds,
        compensation=spec.compensation,
        suspended=False,
        spec=spec,
        procedures=grounds.procedures,
        node_selector=grounds.tenant.spec.node_selector,
        continues=continued(status, run.revision),
    )


def continued(status: PatchCampaignStatus, revision: str) -> list[PreviousRun]:
    """The runs that one of this revision continues, the latest first.

    Back to the last that succeeded, or was of another revision: what those had patched is to be patched again.
    """
    standing = {patched.run: patched for patched in status.effects.standing} if status.effects else {}
    found = []
    for past in status.history:
        if past.revision != revision or past.phase is Phase.SUCCEEDED:
            break
        if patched := standing.get(past.number):
            found.append(PreviousRun(number=patched.run, workflow_id=patched.workflow_id, run_id=patched.run_id))
    return found
