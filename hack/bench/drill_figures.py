"""Arithmetic of the bench's drills. Pure: which part of a drill's time is its own work, and which is ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hack.bench.figures import rounded

PART_OF = {
    "run.prepare": "plan",
    "dr_drill.plan": "plan",
    "dr_drill.provision": "provision",
    "dr_drill.isolated": "isolate",
    "dr_drill.apply": "apply",
    "dr_drill.restore": "restore",
    "dr_drill.probe": "probes",
    "dr_drill.teardown": "teardown",
    "dr_drill.report": "report",
    "run.release_all": "release",
}
"""Activities by the part of the drill that they are; one comes after the other."""


@dataclass(frozen=True)
class Span:
    """A stretch of time, in seconds since the epoch."""

    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


@dataclass(frozen=True)
class Call:
    """One attempt of an activity, from its being scheduled until Temporal had its end."""

    activity: str
    span: Span


def calls(events: Iterable[Any]) -> list[Call]:
    """The activities of a history's events; one that has no end is left out."""
    scheduled: dict[int, tuple[str, float]] = {}
    found = []
    for event in events:
        at = event.event_time.ToNanoseconds() / 1e9
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            scheduled[event.event_id] = (name, at)
            continue
        for ending in ("completed", "failed", "timed_out", "canceled"):
            field = f"activity_task_{ending}_event_attributes"
            if event.HasField(field):
                name, begun = scheduled[getattr(event, field).scheduled_event_id]
                found.append(Call(name, Span(begun, at)))
    return found


def covered(whole: Span, spans: Iterable[Span]) -> float:
    """Seconds of the whole in which at least one of the spans was."""
    total, reached = 0.0, whole.begun
    for span in sorted(spans, key=lambda span: span.begun):
        begun, ended = max(span.begun, reached), min(span.ended, whole.ended)
        if ended > begun:
            total, reached = total + ended - begun, ended
    return total


def overhead(life: Span, own: Sequence[Span]) -> float:
    """A drill's time less that of its own work: its restore and its probes."""
    return life.seconds - covered(life, own)


def split(life: Span, made: Sequence[Call], own: Sequence[Span]) -> dict[str, float]:
    """The overhead by what it was spent on: each part without the drill's own work in it, the way to the first
    activity and from the last to the end that people see, and what lies between the parts."""
    shares = {}
    for part in dict.fromkeys(PART_OF.values()):
        of = [call.span for call in made if PART_OF.get(call.activity) == part]
        if of:
            whole = Span(min(span.begun for span in of), max(span.ended for span in of))
            shares[part] = overhead(whole, own)
    first, last = min(call.span.begun for call in made), max(call.span.ended for call in made)
    shares["begin"], shares["show"] = first - life.begun, life.ended - last
    shares["between"] = overhead(life, own) - sum(shares.values())
    return {name: rounded(seconds) for name, seconds in shares.items()}


def middle(many: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure the median (of an even number the lower one); one that some do not have is of the others."""
    found: dict[str, list[float]] = {}
    for one in many:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: sorted(values)[(len(values) - 1) // 2] for name, values in found.items()}


def bare_job(job: Mapping[str, Any], name: str, service_account: str) -> dict[str, Any]:
    """What a Job runs, as one that anybody might make: without labels, and with names of its own."""
    spec = {key: value for key, value in job["spec"].items() if key not in ("selector", "template", "manualSelector")}
    pod = dict(job["spec"]["template"]["spec"]) | {"serviceAccountName": service_account}
    pod.pop("serviceAccount", None)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {**spec, "template": {"spec": pod}},
    }
