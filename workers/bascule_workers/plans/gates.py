"""Pure planning of gates and of HTTP checks: the Jobs that measure, and how one of them is read."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bascule_api import names
from bascule_api.base import Duration
from bascule_api.gates import Verdict
from bascule_api.procedures import PinnedProcedure, Use
from bascule_workers.messages import ProcedureRequest
from bascule_workers.patch_campaigns import KEEP_SECONDS, GateRequest, HttpCheckRequest
from bascule_workers.plans import asking_jobs, credentials, measurements
from bascule_workers.plans.jobs import JobSettings, JobTraits, secret_volume
from bascule_workers.plans.measurements import Measurement, Tally

RESULTS = asking_jobs.RESULTS
"""What decides about a gate, be it measured by such a Job or by a Procedure."""
HTTP = "/run/bascule/http"
SHOWN = 40
"""How often people are told, at most about, how a gate stands that asks by itself: each time is history."""
LOOK_SECONDS = 15.0
TEXT_LIMIT = 200


# Jobs that ask


def asking_job(request: GateRequest, settings: JobSettings) -> tuple[ProcedureRequest, JobTraits]:
    """The Job that measures an HTTP or Prometheus gate until there is a verdict."""
    asks = {"gate": request.gate.to_wire()}
    own: dict[str, Any] = {}
    if request.header:
        files = {credentials.http_key(request.header): credentials.HTTP_KEY}
        own = {
            "own_mounts": ({"name": "bascule-http", "mountPath": HTTP, "readOnly": True},),
            "own_environment": {"BASCULE_HTTP_DIR": HTTP},
            "volumes": (secret_volume("bascule-http", credentials.credentials_name(request.run), files),),
        }
    traits = JobTraits(words=("gate", request.gate.name), depends_on={"gate": request.gate.name}, **own)
    return _asking(request, asks, request.timeout_seconds, settings), traits


def check_job(request: HttpCheckRequest, address: str, settings: JobSettings) -> tuple[ProcedureRequest, JobTraits]:
    """The Job that asks a target until it passes."""
    check, target = request.check, request.target
    asks = {
        "check": {
            "url": f"{check.scheme}://{_host(address)}:{check.port}{check.path}",
            "interval": check.interval.seconds,
            "seconds": request.timeout_seconds,
        }
    }
    traits = JobTraits(
        # A target that is checked twice in a run, as before and after a rollback, is asked twice.
        words=("check", target.name, str(request.since)),
        depends_on={"use": "check", "target": target.to_wire()},
        labels={names.LABEL_TARGET: names.target_label(target.name)},
    )
    return _asking(request, asks, request.timeout_seconds + measurements.START_SECONDS, settings), traits


def _asking(
    request: GateRequest | HttpCheckRequest, asks: Mapping[str, Any], seconds: int, settings: JobSettings
) -> ProcedureRequest:
    asker = asking_jobs.asker("gate", Use.PATCH_CAMPAIGN_GATE, settings, Duration("30m"))
    return asking_jobs.asking_job(request, asker, asks, seconds, KEEP_SECONDS)


def _host(address: str) -> str:
    """The address as a URL's host."""
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address


def look_seconds(request: GateRequest, most: float) -> float:
    """How long a Job that asks by itself is watched before people are told how the gate stands.

    The first look is short, however long the gate may take: until then nobody sees that it is waited for.
    """
    if not request.note:
        return min(most, LOOK_SECONDS)
    return min(most, max(LOOK_SECONDS, measurements.longest(request.gate) / SHOWN))


def progress(line: str) -> str:
    """How a gate stands, from the last line of its Job's log: `Pass: 2 of 3 passed, last 0.004`."""
    verdict, _, words = line.strip().partition(": ")
    return shortened(words) if verdict in set(Verdict) else ""


# Procedures as measurements


@dataclass(frozen=True)
class Cursor:
    """How far a gate measured by a Procedure has come: what is kept from call to call."""

    tally: Tally = field(default_factory=Tally)
    attempt: int = 1
    """Of the measurement that goes on."""

    def to_text(self) -> str:
        return json.dumps({**self.tally.counts(), "last": self.tally.last, "attempt": str(self.attempt)})

    @classmethod
    def of(cls, text: str) -> Cursor:
        if not text:
            return cls()
        values: dict[str, str] = json.loads(text)
        return cls(Tally.of(values, values["last"]), int(values["attempt"]))


def measuring_job(
    request: GateRequest, procedure: PinnedProcedure, cursor: Cursor
) -> tuple[ProcedureRequest, JobTraits]:
    """The Job of one measurement by a Procedure."""
    gate, number = request.gate, str(cursor.tally.measured + 1)
    job = ProcedureRequest(
        run=request.run,
        tenant=request.tenant,
        step=request.step,
        note=request.note,
        job_attempt=cursor.attempt,
        procedure=procedure,
        parameters=gate.procedure.parameters if gate.procedure else {},
        timeout_seconds=procedure.spec.timeout.seconds,
        keep_seconds=KEEP_SECONDS,
    )
    traits = JobTraits(
        words=("gate", gate.name, number),
        depends_on={"gate": gate.name, "measurement": number},
        environment={"BASCULE_GATE": gate.name},
    )
    return job, traits


def measurement_of(results: Mapping[str, str], message: str) -> Measurement:
    """What a Procedure that ended with exit code 0 says."""
    said = results.get("verdict", Verdict.PASS)
    if said not in set(Verdict):
        return Measurement(Verdict.INCONCLUSIVE, shortened(f"it reported the verdict {said}, which is none"))
    return Measurement(Verdict(said), shortened(message))


def shortened(text: str) -> str:
    """The first line of a text, for a status."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= TEXT_LIMIT else f"{line[: TEXT_LIMIT - 1]}…"


# What can be told of a spec


def url_problem(url: str) -> str:
    """What is wrong with a URL, as the end of a sentence; empty: nothing."""
    try:
        parts = urlsplit(url)
        found = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    return "" if found[0] else "names no host"
