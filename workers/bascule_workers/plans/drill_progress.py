"""How a drill stands: what its status shows, within the bounds of one. Times are epoch seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bascule_api.dr_drill_specs import PROBES_LIMIT
from bascule_api.dr_drill_status import (
    LEFT_LIMIT,
    SEARCHED_LIMIT,
    DrillFigures,
    DrillPhase,
    DrillStatus,
    ProbeStatus,
    SearchedKind,
    Timeline,
)
from bascule_workers.plans.dr_drills import LATEST
from bascule_workers.plans.drill_verdicts import ProbeOutcome, moment
from bascule_workers.plans.failures import shortened

TEXT = 256


def known(seconds: int) -> int:
    """A time that was reported; 0 where it is none that anybody could write."""
    return seconds if 0 < seconds <= LATEST else 0


@dataclass
class Span:
    """When a part of the drill was; 0: not yet."""

    started: int = 0
    finished: int = 0


@dataclass
class DrillRecord:
    """How a drill stands."""

    namespace: str
    declared: int
    spans: dict[str, Span] = field(default_factory=dict)
    """By the names of Timeline's fields."""
    recovery_point: int = 0
    backup: str = ""
    leak: str = ""
    order: Sequence[str] = ()
    """Names of the probes, as the spec has them."""
    probes: dict[str, ProbeOutcome] = field(default_factory=dict)
    """Those that have ended, by name."""
    searched: list[SearchedKind] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    figures: DrillFigures | None = None
    unkept: str = ""
    """Why the namespace could not be kept for people."""
    report: str = ""
    report_repository: str = ""

    def begins(self, part: str, at: int) -> None:
        self.spans.setdefault(part, Span(started=at))

    def ends(self, part: str, at: int, *, began: int = 0) -> None:
        """`began`: what is known better by now."""
        span = self.spans.setdefault(part, Span(started=at))
        span.started = began or span.started
        span.finished = max(at, span.started)

    def status(self) -> DrillStatus:
        seen = [probe.data_as_of for probe in self.probes.values() if probe.passed_at and probe.data_as_of]
        figures = self.figures or DrillFigures(recovery_point=moment(self.recovery_point))
        message = shortened(f"not kept: {self.unkept}; {figures.message}") if self.unkept else figures.message
        return DrillStatus(
            **figures.model_copy(update={"report": self.report or None, "message": message}).model_dump(),
            report_repository=self.report_repository,
            namespace=self.namespace,
            declared_at=moment(self.declared),
            data_as_of=moment(min(seen, default=0)),
            timeline=Timeline.model_validate({part: _phase(span) for part, span in self.spans.items()}),
            probes=[_probe(self.probes[name]) for name in self.order if name in self.probes][:PROBES_LIMIT],
            backup=shortened(self.backup, TEXT),
            searched=self.searched[:SEARCHED_LIMIT],
            left=[shortened(item, TEXT) for item in self.left[:LEFT_LIMIT]],
        )


def _phase(span: Span) -> Mapping[str, Any]:
    return DrillPhase(started_at=moment(span.started), finished_at=moment(span.finished)).model_dump()


def _probe(probe: ProbeOutcome) -> ProbeStatus:
    return ProbeStatus(
        name=probe.name,
        required=probe.required,
        passed_at=moment(probe.passed_at),
        message=shortened(probe.message, TEXT),
    )


def facts(status: DrillStatus, room: int) -> dict[str, Any]:
    """What the progress tells of the drill, within `room` bytes as JSON. Figures stay, what is told of them shrinks."""
    for text, left, searched in ((TEXT, LEFT_LIMIT, SEARCHED_LIMIT), (64, 5, SEARCHED_LIMIT), (48, 2, 0), (0, 0, 0)):
        shorter = {
            "message": shortened(status.message, text or 48),
            "backup": shortened(status.backup, text or 48),
            "probes": [probe.model_copy(update={"message": shortened(probe.message, text)}) for probe in status.probes]
            if text
            else [],
            "left": [shortened(item, text) for item in status.left[:left]],
            "searched": status.searched[:searched],
        }
        told = {"drill": status.model_copy(update=shorter).to_wire()}
        if len(json.dumps(told, ensure_ascii=False).encode()) <= room:
            return told
    return {}
