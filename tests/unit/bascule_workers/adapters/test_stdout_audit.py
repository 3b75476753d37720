"""Audit events are CloudEvents with ids that say the same thing the same way."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

from bascule_workers.adapters.stdout_audit import StdoutAudit, event_of
from bascule_workers.messages import StepRequest
from bascule_workers.plans import image_builds
from bascule_workers.ports.audit import Moment, Occurrence
from tests.support.runs import image_build

BUILD = image_build("uid-1")
STARTED = Occurrence(
    Moment.STARTED,
    "image_build.sign",
    StepRequest(**image_builds.common(BUILD, "sign")),
    ("acme", "imagebuild/uid-1/1", "run", "5", "1"),
    datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
)


def test_an_event_says_who_did_what_for_which_run() -> None:
    assert event_of(STARTED) == {
        "specversion": "1.0",
        "id": event_of(STARTED)["id"],
        "source": "/bascule/workers/acme",
        "type": "dev.bascule.step.started",
        "subject": "ImageBuild/acme-dev/web",
        "time": "2026-11-22T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "tenant": "acme",
            "kind": "ImageBuild",
            "namespace": "acme-dev",
            "name": "web",
            "run": "uid-1/1",
            "step": "sign",
            "action": "image_build.sign",
            "compensating": False,
        },
    }


def test_the_id_follows_the_occurrence_and_nothing_else() -> None:
    later = replace(STARTED, at=datetime(2027, 1, 1, tzinfo=UTC))
    assert event_of(later)["id"] == event_of(STARTED)["id"]
    others = [replace(STARTED, moment=Moment.SUCCEEDED), replace(STARTED, key=("acme", "x", "run", "5", "1"))]
    assert len({event_of(other)["id"] for other in [STARTED, *others]}) == 3


def test_events_are_lines_of_json() -> None:
    stream = io.StringIO()
    audit = StdoutAudit(stream)
    audit.record(STARTED)
    audit.record(replace(STARTED, moment=Moment.FAILED, outcome="SigningFailed"))
    types = [json.loads(line)["type"] for line in stream.getvalue().splitlines()]
    assert types == ["dev.bascule.step.started", "dev.bascule.step.failed"]
