"""The pictures of a drill's report as SVG: its timeline, its recovery point, and the trend over the last drills. Pure.

Shapes and words differ, not colours alone. What tenants wrote goes through `text`, which cleans and escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from bascule_api.dr_drill_specs import Objectives
from bascule_api.dr_drill_status import DrillFigures, DrillStatus, PastDrill

WIDTH = 900
_LEFT, _RIGHT = 110, 30
_ROW, _BAR = 30, 16
_LANES = ("decide", "provision", "restore", "validate", "kept", "teardown")
_WORDS = {"decide": "decision", "kept": "kept to look at"}
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800)
"""Seconds between the marks of a time axis."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def text(value: object) -> str:
    """A tenant's text as content or as an attribute's value: no control characters, markup escaped."""
    return escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def span(seconds: float) -> str:
    """The two largest units of a length of time: `2m13s`, `3d4h`."""
    whole = max(0, round(seconds))
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return "".join(f"{number}{unit}" for number, unit in parts[first : first + 2] if number) or "0s"


def moment(when: datetime | None) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if when else ""


@dataclass(frozen=True)
class Lane:
    """One row of the timeline: times are seconds after the disaster, and may be negative."""

    name: str
    start: float
    end: float
    open: bool = False
    """Whether its end is not known."""


def lanes(drill: DrillStatus) -> list[Lane]:
    """The parts of the drill that began, in their order."""
    zero, last = drill.declared_at, _last(drill)
    found: list[Lane] = []
    for name in _LANES:
        phase = getattr(drill.timeline, "validate_" if name == "validate" else name)
        if phase is None or phase.started_at is None or zero is None or last is None:
            continue
        end = phase.finished_at or last
        start = (phase.started_at - zero).total_seconds()
        found.append(Lane(_WORDS.get(name, name), start, (end - zero).total_seconds(), phase.finished_at is None))
    return found


def _last(drill: DrillStatus) -> datetime | None:
    phases = (getattr(drill.timeline, "validate_" if name == "validate" else name) for name in _LANES)
    times = [time for phase in phases if phase for time in (phase.started_at, phase.finished_at) if time]
    times += [probe.passed_at for probe in drill.probes if probe.passed_at]
    return max(times, default=None)


def timeline(drill: DrillStatus, objectives: Objectives) -> str:
    """Phases as bars, passed probes as marks, objective and what was reached as lines. Empty before anything was."""
    rows = lanes(drill)
    if not rows or drill.declared_at is None:
        return ""
    passed = [
        (probe.name, (probe.passed_at - drill.declared_at).total_seconds(), probe.required)
        for probe in drill.probes
        if probe.passed_at
    ]
    waited = max(0, (drill.rto_gross_seconds or 0) - (drill.rto_seconds or 0))
    limit = objectives.rto.seconds + waited if objectives.rto else None
    ends = [row.end for row in rows] + [at for _, at, _ in passed]
    if limit is not None:
        ends.append(min(limit, 4 * max(ends)))
    scale = _Scale(min(0.0, *(row.start for row in rows)), max(1.0, *ends))
    height = 34 + _ROW * (len(rows) + bool(passed)) + 26
    parts = [*_axis(scale, height)]
    for place, row in enumerate(rows):
        parts += _lane(scale, row, 34 + _ROW * place)
    parts += _marks(scale, passed, 34 + _ROW * len(rows))
    if limit is not None:
        beyond = "" if limit <= scale.end else " →"
        parts += _line(scale.x(min(limit, scale.end)), height, "objective", f"RTO objective {objectives.rto}{beyond}")
    if drill.rto_gross_seconds is not None:
        met = limit is None or drill.rto_gross_seconds <= limit
        parts += _line(scale.x(drill.rto_gross_seconds), height, "good" if met else "bad", f"recovered {drill.rto}", 28)
    told = "; ".join(f"{row.name} {span(row.end - row.start)}" for row in rows)
    return _svg(height, f"Timeline: {told}", parts)


@dataclass(frozen=True)
class _Scale:
    start: float
    end: float

    def x(self, seconds: float) -> float:
        share = (seconds - self.start) / max(1e-9, self.end - self.start)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _axis(scale: _Scale, height: int) -> Iterable[str]:
    length = scale.end - scale.start
    step = next((step for step in _STEPS if length / step <= 9), _STEPS[-1] * (1 + int(length / _STEPS[-1] / 9)))
    first = -int(-scale.start // step) if scale.start < 0 else 0
    for number in range(first, int(scale.end // step) + 1):
        x = scale.x(number * step)
        word = "disaster" if number == 0 else f"{'+' if number > 0 else '−'}{span(abs(number) * step)}"
        yield f'<path class="grid" d="M{x} 30V{height - 22}"/>'
        yield f'<text class="soft small" x="{x}" y="{height - 6}" text-anchor="middle">{word}</text>'


def _lane(scale: _Scale, row: Lane, top: int) -> Iterable[str]:
    x, end = scale.x(row.start), scale.x(row.end)
    took = span(row.end - row.start) + (", not over" if row.open else "")
    yield f'<text x="{_LEFT - 10}" y="{top + 20}" text-anchor="end">{row.name}</text>'
    yield (
        f'<rect class="bar {row.name.split()[0]}" x="{x}" y="{top + 7}" width="{max(2.0, round(end - x, 1))}" '
        f'height="{_BAR}" rx="3"><title>{row.name}: {took}</title></rect>'
    )
    inside = end - x > 60
    place = f'x="{round((x + end) / 2, 1)}" text-anchor="middle" class="small onbar"' if inside else _beside(x, end)
    yield f'<text {place} y="{top + 19}">{took}</text>'


def _beside(x: float, end: float) -> str:
    right = end + 80 < WIDTH
    return f'x="{end + 6 if right else x - 6}" text-anchor="{"start" if right else "end"}" class="small soft"'


def _marks(scale: _Scale, passed: Sequence[tuple[str, float, bool]], top: int) -> Iterable[str]:
    if passed:
        yield f'<text x="{_LEFT - 10}" y="{top + 20}" text-anchor="end">probes</text>'
    for name, at, required in passed:
        x = scale.x(at)
        kind = "required" if required else "optional"
        yield (
            f'<path class="probe {kind}" d="M{x} {top + 7}l7 8-7 8-7-8z">'
            f"<title>{text(name)} passed after {span(at)} ({kind})</title></path>"
        )


def _line(x: float, height: int, kind: str, words: str, top: int = 14) -> Iterable[str]:
    anchor = "end" if x > WIDTH / 2 else "start"
    yield f'<path class="limit {kind}" d="M{x} {top - 8}V{height - 22}"/>'
    beside = x - 6 if anchor == "end" else x + 6
    yield f'<text class="small {kind}" x="{beside}" y="{top}" text-anchor="{anchor}">{words}</text>'


def recovery_point(drill: DrillStatus, objectives: Objectives) -> str:
    """How far before the disaster the recovered data end, beside what the objective allows."""
    if drill.rpo_seconds is None:
        return ""
    limit = objectives.rpo.seconds if objectives.rpo else None
    scale = _Scale(-1.15 * max(1, drill.rpo_seconds, limit or 0), 0.0)
    kind = "bad" if limit is not None and drill.rpo_seconds > limit else "good"
    x, end = scale.x(-drill.rpo_seconds), scale.x(0)
    parts = [
        f'<path class="grid" d="M{_LEFT} 38H{end}"/>',
        f'<rect class="bar {kind}" x="{x}" y="30" width="{max(2.0, round(end - x, 1))}" height="{_BAR}" rx="3">'
        f"<title>data of the last {span(drill.rpo_seconds)} are lost</title></rect>",
        f'<text class="small soft" x="{min(x, end - 64)}" y="66" text-anchor="end">recovery point</text>',
        f'<text class="small soft" x="{end}" y="66" text-anchor="end">disaster</text>',
        f'<text x="{_LEFT - 10}" y="43" text-anchor="end">lost data</text>',
    ]
    if limit is not None:
        parts += _line(scale.x(-limit), 74, "objective", f"RPO objective {objectives.rpo}")
    return _svg(74, f"Recovery point: {span(drill.rpo_seconds)} before the disaster", parts)


def trend(drills: Sequence[PastDrill], field: str, objective: int | None) -> str:
    """`rto_seconds` or `rpo_seconds` of the last drills, the oldest first. Empty with fewer than two that have it."""
    told = [(drill, getattr(drill, field)) for drill in drills]
    values = [value for _, value in told if value is not None]
    if len(values) < 2:
        return ""
    top = 1.15 * max(1, *values, objective or 0)
    step = (WIDTH - _LEFT - _RIGHT) / len(told)
    name = field.removesuffix("_seconds").upper()
    parts = [f'<path class="grid" d="M{_LEFT} 130H{WIDTH - _RIGHT}"/>']
    if objective is not None:
        y = round(130 - 110 * objective / top, 1)
        parts.append(f'<path class="limit objective" d="M{_LEFT} {y}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="small objective" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{span(objective)}</text>'
        )
    for place, (drill, value) in enumerate(told):
        x = round(_LEFT + step * (place + 0.5), 1)
        parts.append(f'<text class="small soft" x="{x}" y="146" text-anchor="middle">{drill.number}</text>')
        parts += _column(drill, value, x, top, name, wide=step, objective=objective)
    parts.append(f'<text class="small soft" x="{_LEFT - 8}" y="146" text-anchor="end">run</text>')
    words = ", ".join(f"run {drill.number}: {span(value) if value is not None else 'none'}" for drill, value in told)
    return _svg(152, f"{name} of the last drills: {words}", parts)


def _column(
    drill: DrillFigures, value: int | None, x: float, top: float, name: str, *, wide: float, objective: int | None
) -> Iterable[str]:
    if value is None:
        yield f'<text class="small warn" x="{x}" y="124" text-anchor="middle">×<title>no {name}</title></text>'
        return
    kind = "" if objective is None else "good" if value <= objective else "bad"
    y = round(130 - 110 * value / top, 1)
    half = round(min(14.0, wide / 3), 1)
    yield (
        f'<rect class="bar {kind}" x="{x - half}" y="{y}" width="{2 * half}" height="{max(1.0, round(130 - y, 1))}">'
        f"<title>{name} {span(value)}, {drill.verdict or 'no verdict'}</title></rect>"
    )
    yield f'<text class="small" x="{x}" y="{y - 4}" text-anchor="middle">{span(value)}</text>'


def _svg(height: int, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(label)}">'
        + "".join(parts)
        + "</svg>"
    )
