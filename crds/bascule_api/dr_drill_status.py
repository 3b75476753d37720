"""What is told of a DRDrill: the verdict and its figures, the timeline, the teardown's proof, and the drills before."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from bascule_api.base import ATOMIC, ApiModel, Digest, ShortText
from bascule_api.dr_drill_specs import PROBES_LIMIT
from bascule_api.runs import RunStatus

HISTORY_LIMIT = 20
"""Drills that are remembered with their figures."""
SEARCHED_LIMIT = 24
LEFT_LIMIT = 20


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
