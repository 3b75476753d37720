"""Structured logs: one JSON object a line, the same for operator, workers and the libraries that they use.

Lines that concern a run carry its resource, tenant, number, workflow and trace. They come from where the work began,
by `about`, so that every line on the way has them, also those of libraries.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from temporalio import activity, workflow
from temporalio.runtime import LogForwardingConfig, LoggingConfig, TelemetryFilter

from bascule_telemetry.traces import trace_id_of

FIELDS = {
    "resource": "kind, namespace and name of the object: `ImageBuild/acme-dev/web`",
    "uid": "the object's uid",
    "tenant": "name of the Tenant",
    "temporal_namespace": "the tenant's Temporal namespace",
    "workflow": "id of the workflow: `imagebuild/<uid>/<number>`, with `/undo/<attempt>` for what takes a run back",
    "run": "number of the run",
    "run_id": "Temporal's id of the workflow's execution",
    "step": "name of the run's step",
    "action": "name of the activity",
    "attempt": "which attempt of the activity it is",
    "outcome": "how the run ended: Succeeded, Failed or Cancelled",
    "state": "what came of an Approval",
    "scope": "what an undo takes back",
    "event": "name of a Kubernetes Event",
    "reason": "the reason that a person gave",
    "set_by": "pseudonym of who set an annotation",
    "approver": "pseudonym of who decided",
    "leader": "name of the operator that holds the Lease",
    "error": "the error's message",
}
"""Every field that a line may have besides those of all lines, and what it means."""

PERSONAL = frozenset({"set_by", "approver"})
"""Fields that name people: told as a pseudonym."""

_about: ContextVar[Mapping[str, object]] = ContextVar("about", default={})  # noqa: B039 - never changed in place


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Lines within the block, in this task and those that it starts, carry these fields of FIELDS."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def pseudonym(name: object) -> str:
    """The same for the same person, and no name: for telling lines apart, not people."""
    return "person-" + hashlib.sha256(str(name).encode()).hexdigest()[:10] if name else ""


class JsonFormatter(logging.Formatter):
    """Only named fields are written, so that no object, and no secret in one, gets into a log by accident."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {**_about.get(), **_of_temporal(record), **record.__dict__}
        line |= {name: _told(name, given[name]) for name in FIELDS if given.get(name) not in (None, "")}
        if trace := trace_id_of(str(line.get("workflow", ""))):
            line["trace_id"] = trace
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _told(name: str, value: object) -> object:
    return pseudonym(value) if name in PERSONAL else value


def _of_temporal(record: logging.LogRecord) -> dict[str, object]:
    """What Temporal's own loggers say of the workflow or activity that speaks."""
    details = record.__dict__.get("temporal_workflow") or record.__dict__.get("temporal_activity") or {}
    found = {
        "workflow": details.get("workflow_id"),
        "run_id": details.get("run_id") or details.get("workflow_run_id"),
        "temporal_namespace": details.get("namespace") or details.get("workflow_namespace"),
        "action": details.get("activity_type"),
        "attempt": details.get("attempt"),
    }
    return {name: value for name, value in found.items() if value is not None}


def of_temporal() -> LoggingConfig:
    """The lines of Temporal's core go the way of all others."""
    return LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )


def configure(level: str) -> None:
    """Send all logs to standard error as JSON lines, those of libraries as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # They are fields of their own.
    workflow.logger.workflow_info_on_message = activity.logger.activity_info_on_message = False
    # kopf tells every event that it sees at INFO; aiohttp every probe.
    for noisy in ("kopf", "aiohttp.access", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
