"""What a drill measured, and whether it met its objectives. Times are epoch seconds, lengths seconds; 0: not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bascule_api.base import Duration
from bascule_api.conditions import Phase
from bascule_api.dr_drill_specs import Objectives
from bascule_api.dr_drill_status import DrillFigures, DrillVerdict, VerdictReason
from bascule_api.failures import Failure, FailureType
from bascule_workers.plans.dr_drills import APPLY, APPLY_AFTER, PROVISION, RESTORE
from bascule_workers.plans.failures import listed, shortened

SKEW_SECONDS = 60
"""How much later than the run's own start a disaster may be declared: people's clocks are not the servers'."""

_RESTORE_FAILED = (
    FailureType.RESTORE_FAILED,
    FailureType.BACKUP_NOT_FOUND,
    FailureType.BACKUP_FORBIDDEN,
    FailureType.STEP_TIMED_OUT,
)
_ENVIRONMENT_STEPS = (PROVISION, APPLY, APPLY_AFTER)


@dataclass(frozen=True)
class ProbeOutcome:
    """How one probe ended."""

    name: str
    required: bool = True
    passed_at: int = 0
    """0: it did not pass."""
    data_as_of: int = 0
    message: str = ""


@dataclass(frozen=True)
class Measured:
    """All that a verdict hangs on."""

    phase: Phase
    """How the run's story came out: Succeeded, Failed or Cancelled."""
    started: int
    """Of the run, by Temporal's clock."""
    declared_at: int = 0
    """As the spec says; 0: the disaster is declared as the run starts."""
    waited: int = 0
    """For people."""
    objectives: Objectives = field(default_factory=Objectives)
    failure: Failure | None = None
    leak: str = ""
    """How a connection out of the drill's namespace got through."""
    recovery_point: int = 0
    probes: Sequence[ProbeOutcome] = ()

    @property
    def declared(self) -> int:
        return self.declared_at or self.started

    @property
    def data_as_of(self) -> int:
        """The earliest time up to which a probe that passed saw data."""
        return min((probe.data_as_of for probe in self.probes if probe.passed_at and probe.data_as_of), default=0)

    @property
    def recovered_to(self) -> int:
        """What the claim and what was seen have in common; 0 where nothing is claimed."""
        return min(self.recovery_point, self.data_as_of or self.recovery_point)

    @property
    def early(self) -> bool:
        """Whether the drill began before its disaster was declared."""
        return self.declared > self.started + SKEW_SECONDS

    @property
    def failed_probes(self) -> list[str]:
        return [probe.name for probe in self.probes if probe.required and not probe.passed_at]

    @property
    def rto_gross(self) -> int | None:
        """From the disaster to the last required probe's passing; None where that is not known."""
        passed = [probe.passed_at for probe in self.probes if probe.required]
        if self.phase != Phase.SUCCEEDED or not passed or not all(passed) or self.early:
            return None
        return max(0, max(passed) - self.declared)

    @property
    def rto(self) -> int | None:
        """The same, net of waiting for people."""
        return None if self.rto_gross is None else max(0, self.rto_gross - self.waited)

    @property
    def rpo(self) -> int | None:
        """Age of the recovered data at the time of the disaster; None where that is not known."""
        if not self.recovered_to or self.recovery_point > self.declared or self.early:
            return None
        return self.declared - self.recovered_to


def figures(measured: Measured) -> DrillFigures:
    """The verdict, why, and what was measured."""
    verdict, reason, message = judged(measured)
    rto, rpo = measured.rto, measured.rpo
    return DrillFigures(
        verdict=verdict,
        reason=reason,
        message=shortened(message, 256),
        rto="" if rto is None else str(Duration.of(rto)),
        rto_seconds=rto,
        rto_gross_seconds=measured.rto_gross,
        rpo="" if rpo is None else str(Duration.of(rpo)),
        rpo_seconds=rpo,
        recovery_point=moment(measured.recovery_point),
    )


def judged(measured: Measured) -> tuple[DrillVerdict, VerdictReason, str]:
    """What is certain to be missed comes before what cannot be told."""
    for judge in (_unfinished, _unisolated, _unvalidated, _premature, _missed, _unknown):
        if found := judge(measured):
            return found
    return DrillVerdict.MET, VerdictReason.OBJECTIVES_MET, _met(measured)


Judgement = tuple[DrillVerdict, VerdictReason, str] | None


def _unfinished(measured: Measured) -> Judgement:
    """The run did not come to its end."""
    failure = measured.failure
    if measured.phase == Phase.SUCCEEDED:
        return None
    if measured.phase == Phase.CANCELLED or failure is None:
        return DrillVerdict.INCONCLUSIVE, VerdictReason.NOT_MEASURED, "the run was cancelled"
    if failure.step == RESTORE and failure.type in _RESTORE_FAILED:
        return DrillVerdict.MISSED, VerdictReason.RESTORE_FAILED, f"the restore failed: {failure.message}"
    if failure.step in _ENVIRONMENT_STEPS and failure.type == FailureType.ENVIRONMENT_FAILED:
        told = f"the environment did not become ready: {failure.message}"
        return DrillVerdict.MISSED, VerdictReason.ENVIRONMENT_FAILED, told
    where = f"{failure.step}: " if failure.step else ""
    return DrillVerdict.INCONCLUSIVE, VerdictReason.NOT_MEASURED, f"{where}{failure.message}"


def _unisolated(measured: Measured) -> Judgement:
    if not measured.leak:
        return None
    told = f"nothing was applied or restored: {measured.leak}"
    return DrillVerdict.INCONCLUSIVE, VerdictReason.ISOLATION_NOT_ENFORCED, told


def _unvalidated(measured: Measured) -> Judgement:
    failed = measured.failed_probes
    if not failed:
        return None
    first = next(probe for probe in measured.probes if probe.name == failed[0])
    told = f"{listed(failed)} did not pass" + (f": {first.message}" if first.message else "")
    return DrillVerdict.MISSED, VerdictReason.PROBE_FAILED, told


def _premature(measured: Measured) -> Judgement:
    """The drill began before its disaster: no length of time from there says anything."""
    if not measured.early:
        return None
    declared, started = _text(measured.declared), _text(measured.started)
    told = f"disaster.declaredAt, {declared}, is after the drill's start at {started}"
    return DrillVerdict.INCONCLUSIVE, VerdictReason.NOT_MEASURED, told


def _missed(measured: Measured) -> Judgement:
    """An objective that was exceeded."""
    rto, rpo = measured.objectives.rto, measured.objectives.rpo
    late, old = _over(measured.rto, rto), _over(measured.rpo, rpo)
    told = [f"RTO {Duration.of(measured.rto or 0)} exceeds {rto}"] if late else []
    told += [f"RPO {Duration.of(measured.rpo or 0)} exceeds {rpo}"] if old else []
    if late:
        return DrillVerdict.MISSED, VerdictReason.RTO_EXCEEDED, "; ".join(told)
    if old and not _over(measured.declared - measured.recovery_point, rpo):
        seen = (
            f"a probe saw data up to {_text(measured.data_as_of)}, the restore claims {_text(measured.recovery_point)}"
        )
        return DrillVerdict.MISSED, VerdictReason.RECOVERY_POINT_CONTRADICTED, f"{told[0]}: {seen}"
    if old:
        return DrillVerdict.MISSED, VerdictReason.RPO_EXCEEDED, told[0]
    return None


def _unknown(measured: Measured) -> Judgement:
    """What an objective asks for cannot be told."""
    if measured.objectives.rpo is None or measured.rpo is not None:
        return None
    told = "the restore reported no recovery point"
    if measured.recovery_point:
        point, declared = _text(measured.recovery_point), _text(measured.declared)
        told = f"the recovery point, {point}, is after the disaster at {declared}: restore to a point in time before it"
    return DrillVerdict.INCONCLUSIVE, VerdictReason.RECOVERY_POINT_UNKNOWN, told


def _met(measured: Measured) -> str:
    parts = [
        f"{name} {Duration.of(value)}{f' of {objective}' if objective else ''}"
        for name, value, objective in (
            ("RTO", measured.rto, measured.objectives.rto),
            ("RPO", measured.rpo, measured.objectives.rpo),
        )
        if value is not None
    ]
    return ", ".join(parts)


def _over(value: int | None, objective: Duration | None) -> bool:
    return value is not None and objective is not None and value > objective.seconds


def moment(seconds: int) -> datetime | None:
    """The time; None for 0."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
