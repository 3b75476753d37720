"""Probes of Services: when they pass, and what they tell of those that don't."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bascule_api.dr_drill_specs import Probe
from bascule_api.gates import Verdict
from bascule_workers.in_step import probe as asking
from bascule_workers.in_step.clock import Clock
from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.plans.measurements import Measurement

PASS, FAIL = Measurement(Verdict.PASS, "status 200"), Measurement(Verdict.FAIL, "status 503")
NOTHING = Measurement(Verdict.INCONCLUSIVE, "no answer")


def probe(**fields: Any) -> Probe:
    http = {"service": "web", "port": 80}
    return Probe.model_validate({"name": "web", "http": http, "interval": "5s", "timeout": "1m"} | fields)


@dataclass
class Hands:
    """A clock that a test moves."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("threshold", "seen", "verdict", "asked"),
    [
        pytest.param(1, [FAIL, NOTHING, PASS], "Pass", 3, id="it passes when it passes once"),
        pytest.param(2, [PASS, FAIL, PASS, PASS], "Pass", 4, id="a failure in between begins the row anew"),
        pytest.param(1, [FAIL] * 99, "Fail", 13, id="its time is up after a minute of asking every five seconds"),
        pytest.param(20, [PASS] * 99, "Fail", 13, id="passing is not enough where it has to pass more often"),
    ],
)
def test_a_probe_asks_until_it_passes_or_its_time_is_up(
    threshold: int, seen: list[Measurement], verdict: str, asked: int
) -> None:
    hands, left = Hands(), list(seen)
    report = asking.probe_until(probe(successThreshold=threshold), lambda: left.pop(0), hands.clock())
    assert (report.results["verdict"], len(seen) - len(left)) == (verdict, asked)
    assert report.exit_code is ExitCode.SUCCEEDED


def test_a_probe_that_did_not_pass_tells_what_it_saw_last() -> None:
    report = asking.probe_until(probe(), lambda: FAIL, Hands().clock())
    assert report.message == "did not pass within 60 s, asked 13 times; 0 of 1 passed in a row, last status 503"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.example.com/")
            self.end_headers()
            return
        body = json.dumps({"rows": 42}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that answers for every Service."""
    monkeypatch.setattr(asking, "host", lambda service, namespace: "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "condition", "found"),
    [
        pytest.param("/", None, Measurement(Verdict.PASS, "status 200"), id="any success passes"),
        pytest.param("/", "json.rows == 42", Measurement(Verdict.PASS, "status 200"), id="what was restored is there"),
        pytest.param("/", "json.rows == 43", Measurement(Verdict.FAIL, "status 200"), id="and nothing else"),
        pytest.param(
            "/away",
            None,
            Measurement(Verdict.FAIL, "status 302, a redirect to elsewhere.example.com, which is not followed"),
            id="a redirect out of the drill is not followed",
        ),
    ],
)
def test_a_service_is_asked_over_http(port: int, path: str, condition: str | None, found: Measurement) -> None:
    http = {"service": "web", "port": port, "path": path} | ({"successCondition": condition} if condition else {})
    assert asking.measure(probe(http=http), "drill") == found


def test_a_condition_that_cannot_be_evaluated_says_nothing(port: int) -> None:
    http = {"service": "web", "port": port, "successCondition": "json.rows.deep == 1"}
    assert asking.measure(probe(http=http), "drill").verdict is Verdict.INCONCLUSIVE


def test_a_service_is_asked_over_tcp(port: int) -> None:
    tcp = {"name": "db", "tcp": {"service": "db", "port": port}}
    assert asking.measure(Probe.model_validate(tcp), "drill") == Measurement(Verdict.PASS, "connected")


def test_a_port_that_nobody_listens_on_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "host", lambda service, namespace: "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tcp = {"name": "db", "tcp": {"service": "db", "port": free.getsockname()[1]}}
        found = asking.measure(Probe.model_validate(tcp), "drill")
    assert (found.verdict, found.text) == (Verdict.FAIL, "no connection: connection refused")


def test_services_are_asked_in_the_drills_own_namespace() -> None:
    assert asking.host("web", "bascule-drill-1") == "web.bascule-drill-1.svc"


def test_a_job_without_a_probe_is_called_wrongly(tmp_path: Path) -> None:
    (tmp_path / "asks").write_text('{"namespace": "drill"}')
    with pytest.raises(StepError) as raised:
        asking.program(Step({"BASCULE_PARAMS_DIR": str(tmp_path)}))
    assert raised.value.report.exit_code is ExitCode.USAGE
