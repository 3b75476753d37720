"""What is special about DRDrills before they start: what they name, what is forbidden, and the inputs of their runs."""

from __future__ import annotations

from collections.abc import Mapping

from bascule_api.conditions import Reason
from bascule_api.dr_drill_specs import DRDrillSpec
from bascule_api.dr_drill_status import DRDrillStatus
from bascule_api.dr_drills import DRDrillInput, DRDrillUndoInput
from bascule_api.procedures import PinnedProcedure, Placement, Procedure, SecurityProfile, Use
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_api.runs import CompensationScope
from bascule_api.tenants import Tenant
from bascule_operator.decisions.grounds import Wants, tenant_facts
from bascule_operator.decisions.moves import StartUndo
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import Grounds, Problem

KIND = "DRDrill"


def wants(spec: DRDrillSpec) -> list[Wants]:
    """The Procedures that the spec names."""
    found = []
    if spec.restore.procedure is not None:
        restore = spec.restore
        found.append(Wants("spec.restore", Use.DR_DRILL_RESTORE, spec.restore.procedure, restore.parameters))
    for index, probe in enumerate(spec.probes):
        if probe.procedure is not None:
            path, name = f"spec.probes[{index}].procedure", probe.procedure.name
            found.append(Wants(path, Use.DR_DRILL_PROBE, name, probe.procedure.parameters, field="name"))
    return found


# What is wrong with the spec, whatever the cluster has


def refused(spec: DRDrillSpec) -> Problem | None:
    """What no run can be made of, and the schema cannot tell; None when there is nothing."""
    if spec.restore.velero is not None and spec.restore.parameters:
        told = "spec.restore.parameters: they are for a Procedure, and Velero restores: leave them out"
        return Problem(Reason.SPEC_INVALID, told, final=True)
    return None


# What this tenant may not have


def forbidden(spec: DRDrillSpec, grounds: Grounds) -> Problem | None:
    """What the tenant or the Procedures do not allow; None when all is allowed."""
    if told := _not_the_tenants(spec, grounds.tenant):
        return Problem(Reason.DRILLS_FORBIDDEN, told, final=True)
    told = _bound(spec, grounds.procedures)
    return Problem(Reason.PROCEDURE_FORBIDDEN, told, final=True) if told else None


def _not_the_tenants(spec: DRDrillSpec, tenant: Tenant) -> str:
    name = tenant.metadata.name
    if not tenant.spec.drills.enabled:
        return (
            f"the tenant {name} may not rehearse: the platform team can set spec.drills.enabled of the Tenant, which "
            "lets the worker make namespaces for its drills"
        )
    velero = spec.restore.velero
    others = sorted(set(velero.included_namespaces) - set(tenant.spec.namespaces)) if velero else []
    if others:
        return (
            f"spec.restore.velero.includedNamespaces: {', '.join(others)} is not of the tenant {name}, whose "
            f"namespaces are {', '.join(sorted(tenant.spec.namespaces))}"
        )
    return ""


def _bound(spec: DRDrillSpec, procedures: Mapping[str, PinnedProcedure]) -> str:
    """Procedures that want a node to run on: a drill's pods stay in its namespace."""
    for want in wants(spec):
        own = procedures[want.procedure].spec
        if own.placement is Placement.ON_TARGET or own.security_profile is SecurityProfile.HOST:
            return (
                f"{want.path}.{want.field}: the Procedure {want.procedure} runs on a node, and a drill has no target: "
                "name one with placement Anywhere"
            )
    return ""


# The inputs


def workflow_input(spec: DRDrillSpec, status: DRDrillStatus, run: RunIdentity, grounds: Grounds) -> DRDrillInput:
    """The input of the run's workflow."""
    tenant = grounds.tenant
    return DRDrillInput(
        run=run,
        tenant=tenant_facts(tenant.metadata.name, tenant),
        timeout_seconds=spec.timeout.seconds,
        compensation=spec.compensation,
        suspended=False,
        spec=spec,
        procedures=grounds.procedures,
        tenant_namespaces=tenant.spec.namespaces,
        quota=tenant.spec.drills.quota,
        history=status.drills,
    )


def undo_wants(subject: Subject, scope: CompensationScope | None, procedures: Mapping[str, Procedure]) -> set[str]:
    """Names of the Procedures that an undo rests on: none, since a drill is torn down whatever it restored."""
    return set()


def undo_input(
    subject: Subject, start: StartUndo, tenant: TenantFacts, procedures: Mapping[str, Procedure]
) -> DRDrillUndoInput:
    """The input of the undo workflow: it finds by labels what the run left."""
    return DRDrillUndoInput(
        run=start.identity,
        tenant=tenant,
        attempt=start.undo.attempt,
        timeout_seconds=start.timeout_seconds,
        undo=start.undo.scope is not CompensationScope.RELEASES,
        abandoned=start.abandoned,
        final=start.final,
    )
