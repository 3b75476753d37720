"""Audit events as CloudEvents 1.0, one JSON object per line."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC
from typing import Any, TextIO

from bascule_api import names
from bascule_workers.ports.audit import Occurrence

TYPE_PREFIX = "dev.bascule.step."


def event_of(occurrence: Occurrence) -> dict[str, Any]:
    """The CloudEvent. The same occurrence has the same id, wherever and however often it is told."""
    request, run = occurrence.request, occurrence.request.run
    identity = "\0".join((*occurrence.key, occurrence.moment))
    data = {
        "tenant": request.tenant.name,
        "kind": run.kind,
        "namespace": run.namespace,
        "name": run.name,
        "run": names.run_of(run.uid, run.number),
        "step": request.step,
        "action": occurrence.action,
        "compensating": request.compensating,
    }
    if occurrence.outcome:
        data["outcome"] = occurrence.outcome
    return {
        "specversion": "1.0",
        "id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "source": f"/bascule/workers/{request.tenant.name}",
        "type": TYPE_PREFIX + occurrence.moment,
        "subject": f"{run.kind}/{run.namespace}/{run.name}",
        "time": occurrence.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }


class StdoutAudit:
    """The port `Audit`."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream

    def record(self, occurrence: Occurrence) -> None:
        # One write per line, so that lines of many activities never mix.
        self._stream.write(json.dumps(event_of(occurrence), separators=(",", ":")) + "\n")
        self._stream.flush()
