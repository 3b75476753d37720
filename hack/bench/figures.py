"""Arithmetic of the bench. Pure: from what was seen to what is reported."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STEP_EVENT = "dev.bascule.step.succeeded"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, rounded to milliseconds."""
    return {f"p{percent}_s": rounded(percentile(values, percent)) for percent in (50, 95, 99)} | {
        "max_s": rounded(max(values, default=math.nan))
    }


def rounded(value: float, digits: int = 3) -> float:
    return round(value, digits)


# What the API server's audit log says


@dataclass(frozen=True)
class Write:
    """One write that the API server carried out or refused."""

    request: str
    """Such as `patch imagebuilds/status`."""
    namespace: str
    name: str
    code: int


def writes(lines: Iterable[str], user: str) -> list[Write]:
    """The writes of one user among lines of an audit log; a line that was not written to its end is left out."""
    found = []
    for line in lines:
        if user not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("stage") != "ResponseComplete" or event["user"].get("username") != user:
            continue
        about = event.get("objectRef") or {}
        resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
        code = int((event.get("responseStatus") or {}).get("code", 0))
        found.append(Write(f"{event['verb']} {resource}", about.get("namespace", ""), about.get("name", ""), code))
    return found


def per_resource(found: Iterable[Write], resources: int) -> dict[str, float]:
    """Successful writes per resource, by request; what was refused counts as `… (409)`."""
    counts = Counter(write.request if write.code < 300 else f"{write.request} ({write.code})" for write in found)
    return {request: rounded(count / resources) for request, count in sorted(counts.items())}


def besides_visible(found: Iterable[Write], visible_changes: int, resources: int) -> float:
    """Writes of a resource and its status, per resource, that are not one for each visible change."""
    own = sum(write.request.startswith("patch imagebuilds") for write in found)
    return rounded((own - visible_changes) / resources)


# What a status shows


def visible(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """What people see of an ImageBuild: everything in its status but ids, stamps, counters and wording."""
    status = body.get("status") or {}
    run = status.get("run") or {}
    return (
        status.get("phase"),
        run.get("number"),
        tuple((step["name"], step.get("state"), step.get("attempts", 0)) for step in status.get("steps") or ()),
        tuple((c["type"], c["status"], c.get("reason")) for c in status.get("conditions") or ()),
        (status.get("waitingFor") or {}).get("gate"),
        (status.get("source") or {}).get("revision"),
        (status.get("image") or {}).get("digest"),
        (status.get("image") or {}).get("signature"),
        (status.get("image") or {}).get("reference"),
        len(status.get("history") or ()),
    )


# What the worker's audit log says


@dataclass(frozen=True)
class Finished:
    """An activity that succeeded."""

    uid: str
    step: str
    action: str
    at: float


def finished(lines: Iterable[str], epoch: Any) -> list[Finished]:
    """Activities that succeeded, from the worker's audit events. `epoch` turns a stamp into seconds."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["type"] == STEP_EVENT:
            data = event["data"]
            found.append(Finished(data["run"].partition("/")[0], data["step"], data["action"], epoch(event["time"])))
    return found


def step_ends(found: Iterable[Finished]) -> dict[tuple[str, str], float]:
    """When the last activity of each step ended, counterweights not counted: (uid, step) to seconds."""
    ends: dict[tuple[str, str], float] = {}
    for one in found:
        if one.action.startswith(("run.release", "run.stop", "image_build.remove", "image_build.restore")):
            continue
        key = (one.uid, one.step)
        ends[key] = max(one.at, ends.get(key, 0.0))
    return ends


# Floors


@dataclass(frozen=True)
class Floor:
    """What the machine needs for a burst at least."""

    temporal_s: float
    """As many raw workflows with as many activities: same server, same worker settings, nothing else."""
    api_s: float
    """As many raw writes, at the rate at which the API server took them."""

    @property
    def seconds(self) -> float:
        return max(self.temporal_s, self.api_s)

    @property
    def both(self) -> float:
        """One after the other: what it takes where both servers share the same few cores, as here."""
        return self.temporal_s + self.api_s

    @property
    def ceiling(self) -> str:
        """Which of the servers is the limit."""
        return "temporal" if self.temporal_s >= self.api_s else "kubernetes"


def ratio(floor: float, seconds: float) -> float:
    """1.0: as quick as the floor; 0.5: takes twice as long."""
    return rounded(floor / seconds) if seconds > 0 else math.nan


def metric(text: str, name: str, labels: Sequence[str]) -> dict[str, float]:
    """The values of one counter in Prometheus's text format, by the values of these labels."""
    found: defaultdict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if not line.startswith(f"{name}{{"):
            continue
        inside, _, value = line[len(name) + 1 :].rpartition("} ")
        pairs = dict(pair.split("=", 1) for pair in inside.split(","))
        found[" ".join(pairs[label].strip('"') for label in labels)] += float(value)
    return dict(found)


def gained(before: Mapping[str, float], after: Mapping[str, float], resources: int) -> dict[str, float]:
    """How much each counter rose, per resource."""
    rose = {name: rounded((after[name] - before.get(name, 0.0)) / resources) for name in sorted(after)}
    return {name: value for name, value in rose.items() if value}
