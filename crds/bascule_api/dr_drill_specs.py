"""What a DRDrill asks for: the environment, the restore, what must hold then, and how fast."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import (
    ATOMIC,
    ApiModel,
    DnsLabel,
    Duration,
    LabelKey,
    LabelValue,
    ObjectName,
    Parameters,
    SecretReference,
    Timeout,
    rules,
)
from bascule_api.image_builds import GitSource
from bascule_api.runs import ApprovalSpec, ConfigMapReference, RunSpec

PROBES_LIMIT = 16


class Manifests(ApiModel):
    """Where the environment's manifests come from: every `*.yaml`, `*.yml` and `*.json` there, as a whole."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "has(self.git) != has(self.configMap)",
                "set exactly one of environment.manifests.git and environment.manifests.configMap",
            )
        )
    }
    git: GitSource | None = None
    """A folder of a commit of a git repository."""
    config_map: ConfigMapReference | None = None
    """The keys of a ConfigMap as files."""


class Isolation(StrEnum):
    """What a drill's pods can reach."""

    DENY_EGRESS = "DenyEgress"
    """The drill's own namespace and DNS, nothing else. Only the restore itself can reach where backups are. It is
    proven by a connection that must fail before anything is applied or restored."""
    NONE = "None"
    """Whatever the cluster's network lets them."""


class Environment(ApiModel):
    """The pilot light: what is there before anything is restored into it, in a namespace of the drill's own."""

    manifests: Manifests | None = None
    """What is applied. Namespaced objects of an allow-list of kinds, without `metadata.namespace`; validated as a whole
    before anything is applied. Those annotated `bascule.dev/apply: AfterRestore` are applied after the restore. Absent:
    the restore brings everything."""
    isolation: Isolation = Isolation.DENY_EGRESS
    """What the drill's pods can reach."""
    namespace_labels: Annotated[
        dict[LabelKey, LabelValue],
        Field(
            max_length=16,
            json_schema_extra=rules(
                (
                    "self.all(k, !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|bascule[.]dev)/'))",
                    "labels of kubernetes.io, k8s.io and bascule.dev are the platform's: leave them out",
                )
            ),
        ),
    ] = {}
    """Labels of the drill's namespace, besides those of the platform."""
    timeout: Timeout = Timeout("15m")
    """How long everything that was applied may take to become ready."""


class VeleroRestore(ApiModel):
    """A restore by Velero, into the drill's namespace."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.backup) != has(self.schedule)", "set exactly one of velero.backup and velero.schedule")
        )
    }
    backup: ObjectName | None = None
    """Name of a Backup in Velero's namespace."""
    schedule: ObjectName | None = None
    """Name of a Schedule in Velero's namespace: its newest completed Backup is taken."""
    included_namespaces: Annotated[list[DnsLabel], Field(min_length=1, max_length=1, json_schema_extra=ATOMIC)]
    """The namespace, one of the tenant's, whose backup is restored into the drill's."""


class Restore(ApiModel):
    """How the drill's data come back."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.procedure) != has(self.velero)", "set exactly one of restore.procedure and restore.velero"),
            (
                "!has(self.velero) || (!has(self.secretRef) && !has(self.environmentSecret))",
                "restore.secretRef and restore.environmentSecret are for a Procedure, not for Velero",
            ),
        )
    }
    procedure: ObjectName | None = None
    """A Procedure with the use `DRDrill/restore`; it reports the result `recoveryPoint`, an RFC 3339 time."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    secret_ref: SecretReference | None = None
    """Secret labelled `bascule.dev/use: backup`, which opens the place where the backup is; its keys are files at
    `/run/bascule/backup`."""
    environment_secret: ObjectName | None = None
    """A Secret of the drill's own namespace, from its manifests, whose keys are files at `/run/bascule/environment`:
    such as the password of the database to restore into."""
    velero: VeleroRestore | None = None
    """A restore by Velero."""
    timeout: Timeout | None = None
    """Limit of one attempt; default: the Procedure's, or 1h."""


class Disaster(ApiModel):
    """The disaster that is rehearsed."""

    declared_at: datetime | None = None
    """When it was declared; default: when the run was accepted. RTO and RPO count from there."""


class HttpProbe(ApiModel):
    """A request to a Service of the drill's namespace."""

    service: DnsLabel
    """Name of a Service in the drill's namespace."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """Its port."""
    scheme: Annotated[str, StringConstraints(pattern=r"^https?$", max_length=5)] = "http"
    """`http` or `https`; certificates are not verified: the drill's names are not those that they were made for."""
    path: Annotated[str, StringConstraints(pattern=r"^/\S*$", max_length=512)] = "/"
    """Path on the Service."""
    success_condition: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """A CEL expression over `status`, `body` (text) and `json`; default: `status >= 200 && status < 300`."""


class TcpProbe(ApiModel):
    """A connection to a Service of the drill's namespace."""

    service: DnsLabel
    """Name of a Service in the drill's namespace."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """Its port."""


class ProcedureProbe(ApiModel):
    """A Procedure whose end is the verdict."""

    name: ObjectName
    """A Procedure with the use `DRDrill/probe`: exit code 0 passes. It finds the recovery point that the restore
    reported in `BASCULE_RECOVERY_POINT`, and may report the result `dataAsOf`: the time up to which it saw data."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    environment_secret: ObjectName | None = None
    """As in `restore`."""


class Probe(ApiModel):
    """What has to hold of what was restored, asked from inside the drill's network."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "[has(self.http), has(self.tcp), has(self.procedure)].filter(x, x).size() == 1",
                "set exactly one of http, tcp and procedure",
            )
        )
    }
    name: Annotated[DnsLabel, StringConstraints(max_length=40)]
    """Name of the probe, unique in the list; its step is `probe-<name>`."""
    http: HttpProbe | None = None
    """A request to a Service."""
    tcp: TcpProbe | None = None
    """A connection to a Service."""
    procedure: ProcedureProbe | None = None
    """A Procedure whose end is the verdict."""
    timeout: Timeout = Timeout("5m")
    """How long the probe has to pass."""
    interval: Timeout = Timeout("5s")
    """How long to wait before it is tried again."""
    success_threshold: Annotated[int, Field(ge=1, le=100)] = 1
    """How often in a row it has to pass."""
    required: bool = True
    """Whether the drill misses its objectives when it does not pass."""


class Objectives(ApiModel):
    """What the recovery has to reach."""

    rto: Timeout | None = None
    """Recovery time objective: from the disaster to the last required probe's passing, net of waiting for people."""
    rpo: Timeout | None = None
    """Recovery point objective: how old the recovered data may be at the time of the disaster."""


class DRDrillSpec(RunSpec):
    """What to provision, what to restore into it, what must hold then, and how fast."""

    model_config = RunSpec.model_config | {
        "json_schema_extra": rules(
            (
                "self.probes.map(p, p.name).all(n, self.probes.filter(p, p.name == n).size() == 1)",
                "the names of probes must differ",
            ),
            (
                "self.probes.exists(p, !has(p.required) || p.required)",
                "at least one probe must be required: without it nothing tells that the recovery is over",
            ),
            (
                "!has(self.schedule) || !has(self.disaster) || !has(self.disaster.declaredAt)",
                "disaster.declaredAt is a moment: leave it out together with a schedule",
            ),
            (
                "has(self.environment.manifests) || has(self.restore.velero)",
                "set environment.manifests: a Procedure restores into what is there",
            ),
        )
    }
    environment: Environment
    """The pilot light."""
    restore: Restore
    """How the data come back."""
    disaster: Disaster = Disaster()
    """The disaster that is rehearsed."""
    approval: ApprovalSpec = ApprovalSpec()
    """Whether a person has to agree before anything is provisioned; that time counts for the gross RTO only."""
    probes: Annotated[
        list[Probe],
        Field(
            min_length=1,
            max_length=PROBES_LIMIT,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """What has to hold of what was restored; all are asked at the same time."""
    objectives: Objectives = Objectives()
    """What the recovery has to reach."""
    keep_for: Duration = Duration("0s")
    """How long the namespace stays for people to look at when the drill did not meet its objectives. Deletion and
    cancellation end it."""
