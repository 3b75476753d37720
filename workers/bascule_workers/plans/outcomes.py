"""How a Job fares, read from it and its pods."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bascule_api.failures import FailureType
from bascule_workers.plans.jobs import PREPARE

PULL_PATIENCE_SECONDS = 180
"""How long an image that cannot be pulled is waited for."""
NO_POD = "no pod can be made: "
"""How a note begins that tells why the Job controller makes no pod."""
NO_POD_SECONDS = 10.0
"""How long a Job may be without any pod before it is asked why."""
TERMINATION_PATIENCE_SECONDS = 90
"""How long after its deletion a pod on a node that does not answer still counts."""

_POD_NAME = re.compile(r'pods "[^"]*"')
_NEVER = ("InvalidImageName", "ErrImageNeverPull")
_CANNOT_START = (
    *_NEVER,
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)


@dataclass(frozen=True)
class Running:
    """Not over. `note` says what is in its way, or nothing; `pod` is the one that runs, if one does."""

    note: str = ""
    pod: str = field(default="", compare=False)


@dataclass(frozen=True)
class Succeeded:
    results: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    pod: str = field(default="", compare=False)
    """Nothing where it was gone before it could be asked what it reported."""
    started: int = field(default=0, compare=False)
    finished: int = field(default=0, compare=False)
    """When the Job began and was complete, as its controller recorded it, in epoch seconds."""


@dataclass(frozen=True)
class Failed:
    """A container ended with an error, or can never start."""

    message: str
    exit_code: int | None = None
    pod: str = ""
    container: str = ""
    kind: FailureType | None = None
    """What the container itself says that it is."""
    retryable: bool = False
    """Whether the container says that trying again may help."""
    results: Mapping[str, str] = field(default_factory=dict)
    """What the container reports although it failed, such as what it made elsewhere."""
    abrupt: bool = False
    """Whether somebody else ended it, by a signal, without a word of its own."""


@dataclass(frozen=True)
class TimedOut:
    pod: str = ""
    container: str = ""


@dataclass(frozen=True)
class Lost:
    """The platform took the pod away."""

    reason: str


Outcome = Running | Succeeded | Failed | TimedOut | Lost


def outcome_of(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: datetime) -> Outcome:
    """How the Job fares. `pods` are the Job's own."""
    pod = _newest(pods)
    conditions = {entry["type"]: entry for entry in (job.get("status") or {}).get("conditions") or []}
    if _is_true(conditions.get("Complete")):
        return _succeeded(job["status"], pod)
    if _is_true(failed := conditions.get("Failed")):
        return _failed(failed or {}, pod)
    # Told before the pod is gone: then its log can still be read.
    if _is_true(target := conditions.get("FailureTarget")) and (target or {}).get("reason") == "DeadlineExceeded":
        return _failed(target or {}, pod)
    if job["metadata"].get("deletionTimestamp"):
        return Lost("the Job was deleted")
    return _under_way(pod, now)


def is_ahead(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the Job is over, and its pod as it is known is not: then what is known of the pod is old.

    Jobs and pods come by two watches, and either may be behind.
    """
    pod = _newest(pods)
    return is_over(job) and (pod is None or pod["status"].get("phase") not in ("Succeeded", "Failed"))


def _newest(pods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def wants_pod(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: datetime) -> bool:
    """Whether the Job should have had a pod by now, and has none."""
    return not list(pods) and (_age(job["metadata"].get("creationTimestamp"), now) or 0.0) >= NO_POD_SECONDS


def refusal_of_pods(events: Iterable[Mapping[str, Any]]) -> str:
    """Why the Job controller can make no pod, by the last of a Job's events that says so; or nothing."""
    told = [event for event in events if event.get("reason") == "FailedCreate" and event.get("message")]
    if not told:
        return ""
    message = str(max(told, key=_last_seen)["message"]).removeprefix("Error creating: ")
    # Each attempt has another name, which tells nothing.
    return NO_POD + _POD_NAME.sub("the pod", message, count=1)


def _last_seen(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    stamps = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(stamp) for stamp in stamps if stamp), "")


def story(failed: Failed) -> str:
    """The failure for people, with results that it does not tell itself: somebody may have to take them back."""
    told = [f"{name}: {value}" for name, value in failed.results.items() if value not in ("", "[]", *_words(failed))]
    return f"{failed.message} ({'; '.join(told)})" if told else failed.message


def _words(failed: Failed) -> list[str]:
    return [value for value in failed.results.values() if value in failed.message]


def is_over(job: Mapping[str, Any]) -> bool:
    """Whether nothing of the Job runs or will."""
    entries = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] in ("Complete", "Failed") and _is_true(entry) for entry in entries)


def _is_true(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _succeeded(status: Mapping[str, Any], pod: Mapping[str, Any] | None) -> Outcome:
    started, finished = epoch(status.get("startTime")), epoch(status.get("completionTime"))
    if pod is None:
        # Its pod was removed since. What a step made is looked up where it is, not taken from its word alone; who needs
        # to know more asks `untold`.
        return Succeeded(started=started, finished=finished)
    report = _report(_terminated(pod, main=True))
    return Succeeded(
        {str(key): str(value) for key, value in _results(report).items()},
        str(report.get("message", "")),
        pod["metadata"]["name"],
        started,
        finished,
    )


def untold(ended: Succeeded, declared: Iterable[str], read: Collection[str]) -> list[str]:
    """Results that are read, and that the Procedure declares, of which nobody knows what they were: the pod that
    reported them is gone.
    """
    return [] if ended.pod else [name for name in declared if name in read]


def epoch(stamp: Any) -> int:
    """A time of the API server's in whole epoch seconds; 0 for none."""
    return int(datetime.fromisoformat(str(stamp)).timestamp()) if stamp else 0


def _failed(condition: Mapping[str, Any], pod: Mapping[str, Any] | None) -> Outcome:
    name, container = (pod["metadata"]["name"], _last_container(pod)) if pod else ("", "")
    match condition.get("reason"):
        case "DeadlineExceeded":
            return TimedOut(name, container)
        case "PodFailurePolicy":
            return Lost(f"its pod was disrupted: {_disruption(pod) or condition.get('message', '')}")
    if pod is None:
        return Lost("its pod is gone")
    return _container_failed(pod) or Lost(str(pod["status"].get("reason") or "its pod ended without a container's end"))


def _container_failed(pod: Mapping[str, Any]) -> Outcome | None:
    """The first container that ended with an error; None when it was the platform that ended it."""
    if _disruption(pod) or pod["metadata"].get("deletionTimestamp"):
        return Lost(f"its pod was disrupted: {_disruption(pod) or 'deleted'}")
    for status in _container_statuses(pod):
        ended = (status.get("state") or {}).get("terminated")
        if not ended or ended.get("exitCode") == 0:
            continue
        report = _report(ended)
        cause = "" if ended.get("reason") in (None, "", "Error", "Completed") else f" ({ended['reason']})"
        return Failed(
            message=str(report.get("message") or "") or f"exit code {ended.get('exitCode')}{cause}",
            exit_code=ended.get("exitCode"),
            pod=pod["metadata"]["name"],
            container=status["name"],
            kind=_failure_type(report.get("failure")),
            retryable=report.get("retryable") is True,
            results={str(key): str(value) for key, value in _results(report).items()},
            abrupt=_is_abrupt(ended),
        )
    return None


def _is_abrupt(ended: Mapping[str, Any]) -> bool:
    """Whether the container was ended by a signal that nobody of its own pod sent, as when its node goes down."""
    if (ended.get("exitCode") or 0) < 128 or ended.get("reason") == "OOMKilled":
        return False
    # The kubelet's own words where a container was gone when it came back.
    return ended.get("reason") == "ContainerStatusUnknown" or not ended.get("message")


def _under_way(pod: Mapping[str, Any] | None, now: datetime) -> Outcome:
    if pod is None:
        return Running()
    if (deleted := _age(pod["metadata"].get("deletionTimestamp"), now)) is not None:
        if deleted > TERMINATION_PATIENCE_SECONDS:
            return Lost("its node does not answer")
        return Running("the pod is being removed from its node")
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Running(f"no node takes the pod: {condition.get('message', '')}")
    return _not_starting(pod, now) or Running(pod=pod["metadata"]["name"])


def _not_starting(pod: Mapping[str, Any], now: datetime) -> Outcome | None:
    for status in _container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason not in _CANNOT_START:
            continue
        what = f"{reason} of {status.get('image', 'the image')}: {waiting.get('message', '')}".strip(": ")
        # A pod's start is when its node took it.
        age = _age(pod["status"].get("startTime"), now) or 0
        if reason in _NEVER or age > PULL_PATIENCE_SECONDS:
            return Failed(what, pod=pod["metadata"]["name"], retryable=reason not in _NEVER)
        return Running(what)
    return None


def _container_statuses(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    status = pod["status"]
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _last_container(pod: Mapping[str, Any]) -> str:
    """The container whose log tells most: the last one that ran."""
    ran = [s["name"] for s in _container_statuses(pod) if (s.get("state") or {}).keys() & {"running", "terminated"}]
    return ran[-1] if ran else PREPARE


def _terminated(pod: Mapping[str, Any], *, main: bool) -> Mapping[str, Any]:
    statuses = pod["status"].get("containerStatuses" if main else "initContainerStatuses") or []
    ended = (statuses[0].get("state") or {}).get("terminated") if statuses else None
    return ended or {}


def _report(terminated: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON object in a termination message; another text counts as its message."""
    text = terminated.get("message") or ""
    try:
        report = json.loads(text)
    except ValueError:
        return {"message": text}
    return report if isinstance(report, dict) else {"message": text}


def _results(report: Mapping[str, Any]) -> Mapping[str, Any]:
    results = report.get("results")
    return results if isinstance(results, dict) else {}


def _failure_type(value: Any) -> FailureType | None:
    return FailureType(value) if isinstance(value, str) and value in set(FailureType) else None


def _disruption(pod: Mapping[str, Any] | None) -> str:
    """Why the platform disrupts the pod, or nothing."""
    for condition in (pod or {}).get("status", {}).get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and _is_true(condition):
            return str(condition.get("message") or condition.get("reason") or "DisruptionTarget")
    return ""


def _age(stamp: Any, now: datetime) -> float | None:
    return (now - datetime.fromisoformat(str(stamp))).total_seconds() if stamp else None
