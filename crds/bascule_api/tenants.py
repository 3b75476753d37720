"""Tenant: owner of Kubernetes namespaces and of exactly one Temporal namespace."""

from __future__ import annotations

from dataclasses import dataclass
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
    """The operator registers it."""
    EXISTING = "Existing"
    """It is there already; nothing is registered, and what is missing is said with the commands."""


class Signing(ApiModel):
    """How the tenant's signatures are verified."""

    public_key: Annotated[str, StringConstraints(max_length=8192)]
    """PEM of the key that verifies this tenant's signatures."""


class Artifacts(ApiModel):
    """Where full logs, large results and reports go."""

    repository: Repository
    """Repository for them."""
    secret_ref: SecretReference | None = None
    """Secret with the registry's credentials."""
    keep_for: Duration = Duration("90d")
    """How long they are kept."""


class BuildCache(ApiModel):
    """Where builds keep layers for later builds of the same tenant."""

    repository: Repository
    """Layers go to `<repository>/<name of the Tenant>`, so that no two tenants share any. Builds push with the login of
    their `spec.publish.secretRef`, which should open this path to this tenant alone."""


class TemporalTls(ApiModel):
    """TLS to the tenant's Temporal."""

    server_name: Annotated[str, StringConstraints(max_length=253)] = ""
    """Name that the server's certificate must have; default: the address's host."""
    ca_secret_ref: SecretReference | None = None
    """Secret with the key `ca.crt`."""


@dataclass(frozen=True, order=True)
class TemporalAccess:
    """Which Secrets of the operator's namespace open a tenant's Temporal; none: the platform's credentials do."""

    credentials_secret: str = ""
    ca_secret: str = ""
    server_name: str = ""
    tls: bool = False


PLATFORM_ACCESS = TemporalAccess()
"""What every Tenant without credentials of its own has."""


class TemporalSpec(ApiModel):
    """The tenant's Temporal namespace. Secrets named here lie in the operator's namespace."""

    address: Annotated[str, StringConstraints(max_length=300)] = ""
    """host:port; empty: the platform's."""
    namespace: Annotated[str, StringConstraints(max_length=255, pattern=r"^([A-Za-z0-9][-A-Za-z0-9._]*)?$")] = ""
    """Empty: the Tenant's name."""
    retention: Duration = Duration("90d")
    """How long Temporal keeps closed workflows."""
    management: Management = Management.CREATE
    """Who makes the Temporal namespace."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with any of the keys `api-key` (an API key or a JWT), `tls.crt` and `tls.key`, `ca.crt`."""
    tls: TemporalTls | None = None
    """TLS to the tenant's Temporal. Without it TLS is used where the credentials need it."""

    @property
    def access(self) -> TemporalAccess:
        """How the tenant's Temporal is opened."""
        tls, secret = self.tls, self.credentials_secret_ref
        return TemporalAccess(
            credentials_secret=secret.name if secret else "",
            ca_secret=tls.ca_secret_ref.name if tls and tls.ca_secret_ref else "",
            server_name=tls.server_name if tls else "",
            tls=tls is not None,
        )


class Limits(ApiModel):
    """How much the tenant may have going on."""

    concurrent_runs: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Unfinished runs at a time."""
    activities_per_second: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Activities that start in a second."""


class DrillsSpec(ApiModel):
    """What the tenant's drills may use."""

    enabled: bool = False
    """Whether the tenant may rehearse: the worker then makes namespaces for its drills."""
    quota: Annotated[dict[str, Annotated[str, StringConstraints(max_length=32)]], Field(max_length=32)] = {
        "pods": "50",
        "requests.cpu": "8",
        "requests.memory": "16Gi",
        "requests.storage": "100Gi",
        "persistentvolumeclaims": "10",
    }
    """`hard` of the ResourceQuota of each drill's namespace. Services that reach out are never allowed."""


class StepsSpec(ApiModel):
    """Where the tenant's Jobs run."""

    namespace: DnsLabel | None = None
    """Default: `bascule-steps-<tenant>`."""
    service_account_name: DnsLabel = "bascule-step"
    """ServiceAccount of the steps' pods; it needs no rights."""


class TenantSpec(ApiModel):
    """What belongs to the tenant, and where its runs are carried out."""

    namespaces: Annotated[list[DnsLabel], Field(min_length=1, max_length=500, json_schema_extra=ATOMIC)]
    """Kubernetes namespaces whose resources belong to this tenant."""
    signing: Signing | None = None
    """How the tenant's signatures are verified."""
    artifacts: Artifacts | None = None
    """Where full logs, large results and reports go. Absent: only the end of a log is kept, in the status."""
    build_cache: BuildCache | None = None
    """Where builds keep layers for later ones. Absent: every build begins from its base images."""
    temporal: TemporalSpec = TemporalSpec()
    """The tenant's Temporal namespace."""
    limits: Limits = Limits()
    """How much the tenant may have going on."""
    steps: StepsSpec = StepsSpec()
    """Where the tenant's Jobs run."""
    drills: DrillsSpec = DrillsSpec()
    """What the tenant's drills may use."""
    node_selector: Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=16)] = {}
    """Labels of the nodes that the tenant may patch; none: no node. Another Tenant's must contradict them, or the
    younger of the two is not Ready. Nodes of the control plane never match."""


class TenantRuns(ApiModel):
    """The tenant's runs."""

    active: Annotated[int, Field(ge=0)] = 0
    """Runs that are not finished."""


class TenantStatus(ApiModel):
    """How the Tenant stands."""

    observed_generation: int = -1
    """Generation that this status speaks of; -1: never seen."""
    conditions: Annotated[list[Condition], Field(max_length=8, json_schema_extra=BY_TYPE)] = []
    """What holds of the Tenant: Ready."""
    runs: TenantRuns | None = None
    """The tenant's runs."""


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
