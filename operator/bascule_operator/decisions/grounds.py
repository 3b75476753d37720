"""What a run may be started on: the tenant that claims its namespace, and the Procedures that its steps name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bascule_api import names
from bascule_api.base import ParameterValue
from bascule_api.conditions import ConditionStatus, ConditionType, Reason
from bascule_api.parameters import parameter_errors
from bascule_api.procedures import PinnedProcedure, Procedure, Use
from bascule_api.progress import TenantFacts
from bascule_api.tenants import StepsSpec, Tenant
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.views import Grounds, Problem


def tenant_facts(name: str, tenant: Tenant | None) -> TenantFacts:
    """What a run needs to know of its tenant; of one that is gone, what every tenant has unless it says otherwise."""
    return TenantFacts(
        name=name,
        steps_namespace=tenant.steps_namespace if tenant else names.steps_namespace(name),
        service_account=(tenant.spec.steps if tenant else StepsSpec()).service_account_name,
    )


@dataclass(frozen=True)
class Wants:
    """A Procedure that a spec names: where, for what, and with which parameters."""

    path: str
    use: Use
    procedure: str
    parameters: Mapping[str, ParameterValue]
    field: str = "procedure"
    """What the Procedure's name is called there."""


def find_grounds(
    namespace: str, wants: list[Wants], tenants: Mapping[str, Tenant], procedures: Mapping[str, Procedure]
) -> Grounds | Problem:
    """The grounds for a run in this namespace, or what is missing. What can never heal by itself comes first."""
    tenant = claiming(namespace, tenants)
    known: dict[str, PinnedProcedure] = {}
    missing: Problem | None = None
    for want in wants:
        found = pinned(want, tenant.metadata.name if isinstance(tenant, Tenant) else None, procedures)
        if isinstance(found, Problem):
            if found.final:
                return found
            missing = missing or found
        else:
            known |= found
    if isinstance(tenant, Problem):
        return tenant
    return missing or Grounds(tenant, known)


def claiming(namespace: str, tenants: Mapping[str, Tenant]) -> Tenant | Problem:
    """The one Tenant that claims the namespace and is ready for it."""
    claims = [tenant for tenant in tenants.values() if namespace in tenant.spec.namespaces]
    if not claims:
        return Problem(
            Reason.TENANT_NOT_FOUND,
            f"no Tenant claims the namespace {namespace}: add it to spec.namespaces of the Tenant that owns it",
        )
    if len(claims) > 1:
        rivals = ", ".join(sorted(tenant.metadata.name for tenant in claims))
        return Problem(
            Reason.TENANT_AMBIGUOUS,
            f"the namespace {namespace} is claimed by several Tenants ({rivals}): take it out of all but one",
        )
    return _ready(claims[0])


def _ready(tenant: Tenant) -> Tenant | Problem:
    name = tenant.metadata.name
    if tenant.metadata.deletion_timestamp is not None:
        return Problem(Reason.TENANT_NOT_READY, f"the Tenant {name} is being deleted: nothing starts any more")
    ready = find(tenant.status.conditions, ConditionType.READY) if tenant.status else None
    if ready is None:
        return Problem(Reason.TENANT_NOT_READY, f"the Tenant {name} is not ready yet")
    if ready.status is ConditionStatus.TRUE:
        return tenant
    reason = Reason.TENANT_NOT_READY
    if ready.reason == Reason.TEMPORAL_UNAVAILABLE:
        reason = Reason.TEMPORAL_UNAVAILABLE
    return Problem(reason, f"the Tenant {name} is not ready: {ready.message or ready.reason}")


def pinned(
    want: Wants, tenant: str | None, procedures: Mapping[str, Procedure]
) -> dict[str, PinnedProcedure] | Problem:
    """The Procedure, and those that it names itself, by name. `tenant`: to whom it has to be offered."""
    path, procedure = f"{want.path}.{want.field}", procedures.get(want.procedure)
    if procedure is None:
        known = ", ".join(sorted(name for name, item in procedures.items() if want.use in item.spec.uses)) or "none"
        return Problem(
            Reason.PROCEDURE_NOT_FOUND,
            f"{path}: there is no Procedure {want.procedure}; for {want.use} there are: {known}",
        )
    if want.use not in procedure.spec.uses:
        uses = ", ".join(procedure.spec.uses)
        return Problem(
            Reason.PROCEDURE_FORBIDDEN,
            f"{path}: the Procedure {want.procedure} is not for {want.use}, but for {uses}",
            final=True,
        )
    if tenant is not None and not {"*", tenant} & set(procedure.spec.tenants):
        return Problem(
            Reason.PROCEDURE_FORBIDDEN,
            f"{path}: the Procedure {want.procedure} is not offered to the tenant {tenant}; "
            "the platform team can add it to the Procedure's spec.tenants",
            final=True,
        )
    errors = parameter_errors(procedure.spec.parameters, want.parameters)
    if errors:
        told = "; ".join(
            f"{want.path}.parameters{'.' + error.name if error.name else ''}: {error.message}" for error in errors[:5]
        )
        return Problem(Reason.PARAMETERS_INVALID, told, final=True)
    own = {want.procedure: PinnedProcedure.of(procedure)}
    for companion in (_undo(procedure, procedures), _reboot(procedure, procedures)):
        if isinstance(companion, Problem):
            return companion
        own |= {item.name: item for item in companion}
    return own


def _undo(procedure: Procedure, procedures: Mapping[str, Procedure]) -> list[PinnedProcedure] | Problem:
    """The Procedure that takes back what this one makes elsewhere: the platform's choice, so no tenant is asked."""
    name, wanted = procedure.spec.undo, procedure.metadata.name
    if name is None:
        return []
    found = pinned_undo(name, f"spec.undo of the Procedure {wanted}", procedures)
    return found if isinstance(found, Problem) else [found]


def _reboot(procedure: Procedure, procedures: Mapping[str, Procedure]) -> list[PinnedProcedure] | Problem:
    """The Procedure that reboots a target after this one: the platform's choice, so no tenant is asked."""
    name, wanted = procedure.spec.reboot, procedure.metadata.name
    if name is None:
        return []
    named = f"the Procedure {name}, which spec.reboot of the Procedure {wanted} names,"
    found = procedures.get(name)
    if found is None:
        return Problem(Reason.PROCEDURE_NOT_FOUND, f"{named} does not exist: create it")
    if Use.PATCH_CAMPAIGN_REBOOT not in found.spec.uses:
        return Problem(
            Reason.PROCEDURE_FORBIDDEN, f"{named} cannot reboot: it needs the use {Use.PATCH_CAMPAIGN_REBOOT}"
        )
    if any(item.required and item.default is None for item in found.spec.parameters):
        return Problem(Reason.PROCEDURE_FORBIDDEN, f"{named} needs parameters, and is given none")
    return [PinnedProcedure.of(found)]


def pinned_undo(name: str, named_by: str, procedures: Mapping[str, Procedure]) -> PinnedProcedure | Problem:
    """The Procedure that deletes what builds make elsewhere, if it is there and fit for it."""
    undo = procedures.get(name)
    if undo is None:
        told = f"there is no Procedure {name}, which {named_by} names: create it"
        return Problem(Reason.PROCEDURE_NOT_FOUND, told)
    if Use.IMAGE_BUILD_UNDO not in undo.spec.uses or "artifacts" not in {item.name for item in undo.spec.parameters}:
        told = (
            f"the Procedure {name}, which {named_by} names, cannot take back what builds make elsewhere: "
            f"it needs the use {Use.IMAGE_BUILD_UNDO} and a parameter artifacts"
        )
        return Problem(Reason.PROCEDURE_FORBIDDEN, told)
    return PinnedProcedure.of(undo)
