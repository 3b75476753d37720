"""DRDrill: plan → approval → provision → isolate → restore → probes → teardown (always) → report."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from bascule_api import revisions
from bascule_api.base import (
    ATOMIC,
    ApiModel,
    Column,
    Digest,
    DnsLabel,
    Duration,
    Kind,
    LabelKey,
    LabelValue,
    ObjectName,
    Parameters,
    Resource,
    SecretReference,
    ShortText,
    Timeout,
    rules,
)
from bascule_api.image_builds import GitSource
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunInput, RunResult, UndoInput
from bascule_api.runs import ApprovalSpec, ConfigMapReference, RunSpec, RunStatus

HISTORY_LIMIT = 20
"""Drills that are remembered with their figures."""
SEARCHED_LIMIT = 24
LEFT_LIMIT = 20
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


# Status


class DrillVerdict(StrEnum):
    """Whether the recovery reached its objectives."""

    MET = "Met"
    """All required probes passed, and RTO and RPO are within the objectives."""
    MISSED = "Missed"
    """A required probe did not pass, an objective was exceeded, or the restore failed."""
    INCONCLUSIVE = "Inconclusive"
    """It could not be told."""


class VerdictReason(StrEnum):
    """Why the verdict is what it is."""

    OBJECTIVES_MET = "ObjectivesMet"
    """All holds."""
    RTO_EXCEEDED = "RTOExceeded"
    """The recovery took longer than `objectives.rto`."""
    RPO_EXCEEDED = "RPOExceeded"
    """The recovered data are older than `objectives.rpo` allows."""
    PROBE_FAILED = "ProbeFailed"
    """A required probe did not pass in time."""
    RESTORE_FAILED = "RestoreFailed"
    """The restore failed."""
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    """What was applied did not become ready."""
    RECOVERY_POINT_UNKNOWN = "RecoveryPointUnknown"
    """`objectives.rpo` is set, and the restore reported no recovery point, or one after the disaster."""
    RECOVERY_POINT_CONTRADICTED = "RecoveryPointContradicted"
    """A probe saw data up to an earlier time than the restore claims: the RPO counts from what was seen, and exceeds
    the objective."""
    ISOLATION_NOT_ENFORCED = "IsolationNotEnforced"
    """A connection out of the drill's namespace got through: nothing was applied or restored."""
    NOT_MEASURED = "NotMeasured"
    """The run ended before it could be measured: cancelled, timed out, or ended in Temporal."""


Length = Annotated[str, StringConstraints(max_length=32)]
"""A time span for people, such as `4m12s`; empty where it is not known."""


class ProbeStatus(ApiModel):
    """How a probe ended."""

    name: Annotated[str, StringConstraints(max_length=40)]
    """Name of the probe."""
    required: bool = True
    """Whether the verdict hangs on it."""
    passed_at: datetime | None = None
    """When it passed, as the cluster saw it; absent when it did not."""
    message: ShortText = ""
    """What it saw last."""


class DrillPhase(ApiModel):
    """When a part of the drill began and ended, as servers recorded it."""

    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""


class Timeline(ApiModel):
    """When the parts of a drill were."""

    decide: DrillPhase | None = None
    """Waiting for an approval; absent where none is asked for."""
    provision: DrillPhase | None = None
    """The namespace, its isolation, and what is applied in it before the restore."""
    restore: DrillPhase | None = None
    """The restore, and what is applied after it."""
    validate_: Annotated[DrillPhase | None, Field(alias="validate")] = None
    """The probes."""
    kept: DrillPhase | None = None
    """The time for people to look at it, after a drill that did not meet its objectives."""
    teardown: DrillPhase | None = None
    """The namespace's deletion."""


class SearchedKind(ApiModel):
    """How much of a kind there was of the drill, before and after its teardown."""

    kind: Annotated[str, StringConstraints(max_length=63)]
    """`Pod`, `PersistentVolumeClaim`, `PersistentVolume`, `Namespace`, …"""
    before: Annotated[int, Field(ge=0)] = 0
    """Objects just before the teardown."""
    after: Annotated[int, Field(ge=0)] = 0
    """Objects after it."""


class DrillFigures(ApiModel):
    """What was measured. Times are whole seconds."""

    verdict: DrillVerdict | None = None
    """Whether the recovery reached its objectives; absent until it is known."""
    reason: VerdictReason | None = None
    """Why."""
    message: ShortText = ""
    """Why, for people."""
    rto: Length = ""
    """Recovery time, net of waiting for people, such as `4m12s`: what counts against `objectives.rto`."""
    rto_seconds: Annotated[int, Field(ge=0)] | None = None
    """The same in seconds."""
    rto_gross_seconds: Annotated[int, Field(ge=0)] | None = None
    """From the disaster to the last required probe's passing, waiting for people included."""
    rpo: Length = ""
    """Age of the recovered data at the time of the disaster, such as `7m`."""
    rpo_seconds: Annotated[int, Field(ge=0)] | None = None
    """The same in seconds."""
    recovery_point: datetime | None = None
    """Up to when the restore says to have brought back data."""
    report: Digest | None = None
    """Digest of the report, an OCI artifact of the Tenant's `spec.artifacts`."""

    @property
    def words(self) -> str:
        """In short: `Met: RTO 4m12s, RPO 7m`, or `Missed (RTOExceeded): RTO 21m`."""
        why = f" ({self.reason})" if self.reason and self.verdict is not DrillVerdict.MET else ""
        measured = ", ".join(f"{name} {value}" for name, value in (("RTO", self.rto), ("RPO", self.rpo)) if value)
        return f"{self.verdict or 'not measured'}{why}" + (f": {measured}" if measured else "")


class DrillStatus(DrillFigures):
    """How the current or last drill stands."""

    namespace: Annotated[str, StringConstraints(max_length=63)] = ""
    """The drill's namespace."""
    report_repository: ShortText = ""
    """Where the report is kept, the earlier ones as well unless the Tenant's `spec.artifacts` was changed."""
    declared_at: datetime | None = None
    """When the disaster was declared."""
    data_as_of: datetime | None = None
    """The earliest time up to which a probe saw data, where one tells."""
    timeline: Timeline = Timeline()
    """When its parts were."""
    probes: Annotated[list[ProbeStatus], Field(max_length=PROBES_LIMIT, json_schema_extra=ATOMIC)] = []
    """How the probes ended."""
    backup: ShortText = ""
    """What was restored, as the restore names it: a Velero Backup, or an artifact's digest."""
    searched: Annotated[list[SearchedKind], Field(max_length=SEARCHED_LIMIT, json_schema_extra=ATOMIC)] = []
    """The teardown's proof: what was searched for, and how much of it there was."""
    left: Annotated[list[ShortText], Field(max_length=LEFT_LIMIT, json_schema_extra=ATOMIC)] = []
    """What is still there, with what holds it."""


class PastDrill(DrillFigures):
    """A drill of the history."""

    number: Annotated[int, Field(ge=1)]
    """Number of the run."""
    finished_at: datetime | None = None
    """When the run ended."""


_LEANER = ((128, 20), (32, 10), (0, 5))
"""Characters of what is said of each probe and of each earlier drill, and how much of what is left is named."""


class DRDrillStatus(RunStatus):
    """How the drill stands."""

    drill: DrillStatus | None = None
    """How the current or last drill stands."""
    drills: Annotated[list[PastDrill], Field(max_length=HISTORY_LIMIT, json_schema_extra=ATOMIC)] = []
    """The figures of the last twenty drills, newest first."""

    def leaner(self, step: int) -> Self:
        words, left = _LEANER[step - 1]
        drill = self.drill
        if drill is not None:
            drill = drill.model_copy(
                update={
                    "message": drill.message[: max(words, 64)],
                    "probes": [probe.model_copy(update={"message": probe.message[:words]}) for probe in drill.probes],
                    "left": [item[: max(words, 64)] for item in drill.left[:left]],
                }
            )
        past = [known.model_copy(update={"message": known.message[:words]}) for known in self.drills]
        return self.model_copy(update={"drill": drill, "drills": past})

    @property
    def may_hold(self) -> bool:
        # The namespace, whatever it is called, and copies of keys.
        return self.drill is not None


class DRDrill(Resource):
    """A disaster recovery plan that is rehearsed: restored into a namespace of its own, probed, measured, and torn
    down."""

    spec: DRDrillSpec
    status: DRDrillStatus | None = None

    @property
    def revision(self) -> str:
        return revisions.revision(self.spec, REVISION_FIELDS)


REVISION_FIELDS = (
    "environment",
    "restore",
    "disaster",
    "approval",
    "probes",
    "objectives",
)


# Messages


class DRDrillInput(RunInput):
    """Input of the workflow `DRDrill`."""

    spec: DRDrillSpec
    procedures: dict[str, PinnedProcedure]
    """Pinned Procedures by name."""
    tenant_namespaces: list[str] = []
    """The Tenant's: whose backups it may restore."""
    quota: dict[str, str] = {}
    """`hard` of the ResourceQuota of the drill's namespace."""
    history: list[PastDrill] = []
    """Earlier drills, newest first: the report shows their trend."""


class DRDrillResult(RunResult):
    """What the workflow `DRDrill` found, as far as it came."""

    drill: DrillStatus | None = None

    @property
    def words(self) -> str:
        return self.drill.words if self.drill else super().words


class DRDrillUndoInput(UndoInput):
    """Input of the workflow `DRDrillUndo`: the drill's namespace (by the label `bascule.dev/run`), Velero's Restores of
    the run, its Jobs and its copies. There is nothing but releases."""


KIND = Kind(
    kind="DRDrill",
    plural="drdrills",
    short_names=("drd",),
    model=DRDrill,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Progress", ".status.progress.summary"),
        Column("Verdict", ".status.drill.verdict"),
        Column("RTO", ".status.drill.rto"),
        Column("RPO", ".status.drill.rpo"),
        Column("Waiting-For", ".status.waitingFor.kind"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Next", ".status.schedule.next", priority=1),
        Column("Run", ".status.run.number", "integer", priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Workflow", ".status.run.url", priority=1),
    ),
)
