"""Tenant: owner of Kubernetes namespaces and of exactly one Temporal namespace."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api import names
from bascule_api.base import (
    ATOMIC,
    BY_TYPE,
    ApiModel,
    Column,
    DnsLabel,
    Duration,
    Kind,
    Repository,
    Resource,
    SecretReference,
    rules,
)
from bascule_api.conditions import Condition

MAX_NAME_LENGTH = 40
"""Of a Tenant's name: namespaces are named after it, with something before it."""


class Management(StrEnum):
    """Who makes the Temporal namespace."""

    CREATE = "Create"
    EXISTING = "Existing"


class Signing(ApiModel):
    public_key: Annotated[str, StringConstraints(max_length=8192)]
    """PEM of the key that verifies this tenant's signatures."""


class Artifacts(ApiModel):
    """Where full logs, large results and reports go."""

    repository: Repository
    secret_ref: SecretReference | None = None
    keep_for: Duration = Duration("90d")


class TemporalTls(ApiModel):
    server_name: Annotated[str, StringConstraints(max_length=253)] = ""
    ca_secret_ref: SecretReference | None = None


class TemporalSpec(ApiModel):
    """The tenant's Temporal namespace. Secrets named here lie in the operator's namespace."""

    address: Annotated[str, StringConstraints(max_length=300)] = ""
    """host:port; empty: the platform's."""
    namespace: Annotated[str, StringConstraints(max_length=255, pattern=r"^([A-Za-z0-9][-A-Za-z0-9._]*)?$")] = ""
    """Empty: the Tenant's name."""
    retention: Duration = Duration("90d")
    management: Management = Management.CREATE
    credentials_secret_ref: SecretReference | None = None
    tls: TemporalTls | None = None


class Limits(ApiModel):
    concurrent_runs: Annotated[int, Field(ge=1, le=10_000)] = 50
    activities_per_second: Annotated[int, Field(ge=1, le=10_000)] = 100


class StepsSpec(ApiModel):
    """Where the tenant's Jobs run."""

    namespace: DnsLabel | None = None
    """Default: `bascule-steps-<tenant>`."""
    service_account_name: DnsLabel = "bascule-step"


class TenantSpec(ApiModel):
    namespaces: Annotated[list[DnsLabel], Field(min_length=1, max_length=500, json_schema_extra=ATOMIC)]
    """Kubernetes namespaces whose resources belong to this tenant."""
    signing: Signing | None = None
    artifacts: Artifacts | None = None
    temporal: TemporalSpec = TemporalSpec()
    limits: Limits = Limits()
    steps: StepsSpec = StepsSpec()
    node_selector: Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=16)] = {}
    """The nodes that the tenant may patch."""


class TenantRuns(ApiModel):
    active: Annotated[int, Field(ge=0)] = 0


class TenantStatus(ApiModel):
    observed_generation: int = -1
    conditions: Annotated[list[Condition], Field(max_length=8, json_schema_extra=BY_TYPE)] = []
    runs: TenantRuns | None = None


class Tenant(Resource):
    """Owner of Kubernetes namespaces and of exactly one Temporal namespace."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                f"the name of a Tenant has at most {MAX_NAME_LENGTH} characters",
            ),
            (
                "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                "the name of a Tenant consists of a-z, 0-9 and -, since namespaces and queues are named after it",
            ),
        )
    }
    spec: TenantSpec
    status: TenantStatus | None = None

    @property
    def temporal_namespace(self) -> str:
        return self.spec.temporal.namespace or self.metadata.name

    @property
    def steps_namespace(self) -> str:
        return self.spec.steps.namespace or names.steps_namespace(self.metadata.name)


KIND = Kind(
    kind="Tenant",
    plural="tenants",
    short_names=(),
    model=Tenant,
    namespaced=False,
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Namespaces", ".spec.namespaces"),
        Column("Active", ".status.runs.active", "integer"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
