"""The policy in the process: a tenant's worker acts for that tenant, in what belongs to it, and for nobody else."""

from __future__ import annotations

from bascule_api.tenants import Tenant
from bascule_workers.errors import PolicyDeniedError
from bascule_workers.ports.policy import Question


class SameTenantPolicy:
    """The port `Policy`."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    async def authorize(self, question: Question) -> None:
        name, given = self._tenant.metadata.name, question.request.tenant
        if not (question.tenant == name == given.name == question.request.run.tenant):
            raise PolicyDeniedError(f"{question.action} for the tenant {given.name} was asked of a worker of {name}")
        if given.steps_namespace != self._tenant.steps_namespace:
            raise PolicyDeniedError(f"{given.steps_namespace} is not the steps namespace of {name}")
        if given.service_account != self._tenant.spec.steps.service_account_name:
            raise PolicyDeniedError(f"{given.service_account} is not the service account of {name}'s steps")
        # What a tenant did in a namespace that it has lost since must still be taken back.
        if not question.request.compensating and question.request.run.namespace not in self._tenant.spec.namespaces:
            raise PolicyDeniedError(f"the namespace {question.request.run.namespace} does not belong to {name}")
