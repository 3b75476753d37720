"""How the targets of a campaign stand: counts, pictures and names, as a status shows them, within the bounds of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bascule_api.base import ApiModel
from bascule_api.fleets import CELLS, Target, TargetPhase
from bascule_api.patch_campaign_status import (
    CELLS_LIMIT,
    FAILURES_LIMIT,
    IN_PROGRESS_LIMIT,
    NAMES_LIMIT,
    FailedTarget,
    PlanStatus,
    TargetInProgress,
    TargetsStatus,
    WaveState,
    WaveStatus,
)
from bascule_workers.patch_campaigns import Plan, TargetReport
from bascule_workers.plans import failures

_CELL_OF = {phase: cell for cell, phase in CELLS.items()}
_BY_WEIGHT = "FrRlvbpdca.SP"
"""Cells by how much they matter where one has to stand for several targets."""
OVER = frozenset({TargetPhase.PATCHED, TargetPhase.FAILED, TargetPhase.SKIPPED, TargetPhase.ROLLED_BACK})
"""Phases in which nothing goes on at a target, and nothing will by itself."""
_IDLE = OVER | {TargetPhase.PENDING}


@dataclass
class FleetWave:
    """A wave and how each of its targets stands."""

    name: str
    targets: list[Target]
    reports: list[TargetReport] = field(default_factory=list)
    state: WaveState = WaveState.PENDING
    started: int | None = None
    finished: int | None = None

    def __post_init__(self) -> None:
        if not self.reports:
            self.reports = [TargetReport(index=index, phase=TargetPhase.PENDING) for index in range(len(self.targets))]

    def count(self, *phases: TargetPhase) -> int:
        return sum(report.phase in phases for report in self.reports)

    def indices(self, *phases: TargetPhase) -> list[int]:
        """Targets in one of the phases, in their order."""
        return [report.index for report in self.reports if report.phase in phases]

    def update(self, reports: Iterable[TargetReport]) -> None:
        for report in reports:
            self.reports[report.index] = report

    def status(self) -> WaveStatus:
        return WaveStatus(
            name=self.name,
            state=self.state,
            total=len(self.targets),
            patched=self.count(TargetPhase.PATCHED, TargetPhase.SKIPPED),
            failed=self.count(TargetPhase.FAILED),
            started_at=_time(self.started),
            finished_at=_time(self.finished),
            names=[_short(target.name) for target in self.targets[:NAMES_LIMIT]],
            cells=cells([report.phase for report in self.reports]),
        )


class WaveSnapshot(ApiModel):
    """A wave, for the next execution of a run that continues as new."""

    state: WaveState
    started: int | None = None
    finished: int | None = None
    cells: str
    """A character for each target, however many."""
    notable: list[TargetReport] = []
    """Reports that say more than their phase."""


class FleetSnapshot(ApiModel):
    """A fleet, for the next execution of a run that continues as new."""

    plan: Plan
    waves: list[WaveSnapshot]


@dataclass
class Fleet:
    """All targets of a campaign, and how they stand."""

    plan: Plan
    waves: list[FleetWave]

    @classmethod
    def of(cls, plan: Plan) -> Fleet:
        return cls(plan, [FleetWave(wave.name, wave.targets) for wave in plan.waves])

    @classmethod
    def restored(cls, snapshot: FleetSnapshot) -> Fleet:
        fleet = cls.of(snapshot.plan)
        for wave, held in zip(fleet.waves, snapshot.waves, strict=True):
            wave.state, wave.started, wave.finished = held.state, held.started, held.finished
            wave.update(TargetReport(index=index, phase=CELLS[cell]) for index, cell in enumerate(held.cells))
            wave.update(held.notable)
        return fleet

    def snapshot(self) -> FleetSnapshot:
        return FleetSnapshot(plan=self.plan, waves=[_snapshot(wave) for wave in self.waves])

    def wave(self, name: str) -> FleetWave:
        return next(wave for wave in self.waves if wave.name == name)

    def count(self, *phases: TargetPhase) -> int:
        return sum(wave.count(*phases) for wave in self.waves)

    @property
    def total(self) -> int:
        return self.plan.total

    @property
    def failed(self) -> int:
        return self.count(TargetPhase.FAILED)

    @property
    def failing(self) -> int:
        """Targets that failed, with those that are still being taken back."""
        return sum(
            report.failed_in is not None or report.phase == TargetPhase.FAILED
            for wave in self.waves
            for report in wave.reports
        )

    def patched_names(self) -> list[str]:
        """Targets that this run patched and that stay patched."""
        return [
            target.name
            for wave in self.waves
            for target, report in zip(wave.targets, wave.reports, strict=True)
            if report.phase == TargetPhase.PATCHED
        ]

    def failures(self) -> list[tuple[str, TargetReport]]:
        return [
            (target.name, report)
            for wave in self.waves
            for target, report in zip(wave.targets, wave.reports, strict=True)
            if report.phase == TargetPhase.FAILED
        ]

    def plan_status(self) -> PlanStatus:
        return PlanStatus(digest=self.plan.digest, artifact=self.plan.artifact)

    def targets_status(self) -> TargetsStatus:
        patched = self.count(TargetPhase.PATCHED)
        skipped = len(self.plan.skipped) + self.count(TargetPhase.SKIPPED)
        rolled_back = self.count(TargetPhase.ROLLED_BACK)
        told = {"failed": self.failed, "rolled back": rolled_back}
        words = [f"{patched + skipped}/{self.total}", *(f"{count} {word}" for word, count in told.items() if count)]
        return TargetsStatus(
            total=self.total,
            patched=patched,
            failed=self.failed,
            skipped=skipped,
            rolled_back=rolled_back,
            summary=", ".join(words),
            in_progress=self._in_progress(),
            failures=[_failed(name, report) for name, report in self.failures()[:FAILURES_LIMIT]],
        )

    def _in_progress(self) -> list[TargetInProgress]:
        busy = [
            (report.since, wave.targets[report.index].name, report)
            for wave in self.waves
            for report in wave.reports
            if report.phase not in _IDLE
        ]
        # Those that are longest in their phase are what people look for.
        return [
            TargetInProgress(
                name=name, phase=report.phase, since=_time(report.since), message=failures.shortened(report.message)
            )
            for _, name, report in sorted(busy, key=lambda item: item[:2])[:IN_PROGRESS_LIMIT]
        ]


def _snapshot(wave: FleetWave) -> WaveSnapshot:
    plain = {TargetPhase.PENDING, TargetPhase.PATCHED}
    return WaveSnapshot(
        state=wave.state,
        started=wave.started,
        finished=wave.finished,
        cells="".join(_CELL_OF[report.phase] for report in wave.reports),
        notable=[report for report in wave.reports if report.phase not in plain],
    )


def _failed(name: str, report: TargetReport) -> FailedTarget:
    return FailedTarget(
        name=name,
        phase=report.failed_in or TargetPhase.FAILED,
        message=failures.shortened(report.message),
        rolled_back=report.rolled_back,
    )


def cells(phases: Sequence[TargetPhase], limit: int = CELLS_LIMIT) -> str:
    """A character per target; with more than `limit`, each stands for several and shows what matters most."""
    return _fewer("".join(_CELL_OF[phase] for phase in phases), limit)


def _fewer(picture: str, limit: int) -> str:
    if not limit:
        return ""
    each = -(-len(picture) // limit) or 1
    return "".join(min(picture[begin : begin + each], key=_BY_WEIGHT.index) for begin in range(0, len(picture), each))


def facts(fleet: Fleet, room: int) -> dict[str, Any]:
    """What the progress tells of the fleet, within `room` bytes as JSON. Counts stay exact, pictures shrink."""
    told: dict[str, Any] = {}
    for shorten in _SHORTENINGS:
        told = {
            "plan": fleet.plan_status().to_wire(),
            "targets": shorten.targets(fleet.targets_status()).to_wire(),
            "waves": [shorten.wave(wave.status()).to_wire() for wave in fleet.waves],
        }
        if len(json.dumps(told, ensure_ascii=False).encode()) <= room:
            return told
    return {"targets": told["targets"]} if room > 512 else {}


@dataclass(frozen=True)
class _Shortening:
    """How much is told."""

    in_flight: int
    failed: int
    message: int
    names: int
    name: int
    cells: int

    def targets(self, status: TargetsStatus) -> TargetsStatus:
        return status.model_copy(
            update={
                "in_progress": [self._item(item) for item in status.in_progress[: self.in_flight]],
                "failures": [self._item(item) for item in status.failures[: self.failed]],
            }
        )

    def _item(self, item: Any) -> Any:
        shorter = {"name": failures.shortened(item.name, self.name)} if len(item.name) > self.name else {}
        return item.model_copy(update={"message": failures.shortened(item.message, self.message), **shorter})

    def wave(self, status: WaveStatus) -> WaveStatus:
        return status.model_copy(
            update={
                "names": [failures.shortened(name, self.name) for name in status.names[: self.names]],
                "cells": _fewer(status.cells, self.cells),
            }
        )


_SHORTENINGS = (
    _Shortening(in_flight=10, failed=20, message=256, names=10, name=253, cells=256),
    _Shortening(in_flight=10, failed=20, message=120, names=10, name=80, cells=256),
    _Shortening(in_flight=10, failed=10, message=100, names=5, name=63, cells=128),
    _Shortening(in_flight=5, failed=5, message=80, names=2, name=63, cells=64),
    _Shortening(in_flight=3, failed=3, message=60, names=0, name=40, cells=32),
    _Shortening(in_flight=1, failed=1, message=40, names=0, name=40, cells=16),
    _Shortening(in_flight=0, failed=0, message=0, names=0, name=0, cells=0),
)


def _short(name: str) -> str:
    return failures.shortened(name)


def _time(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
