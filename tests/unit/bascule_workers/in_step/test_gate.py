"""The program that measures, as its container runs it: parameters in, termination message and log out."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule_api.base import Timeout
from bascule_api.gates import Gate, HttpMeasure, PrometheusMeasure, Verdict
from bascule_workers.in_step.clock import Clock
from bascule_workers.in_step.gate import check_until, measure_gate
from bascule_workers.plans.measurements import Measurement
from tests.support.steps import StepRun
from tests.support.web import Page, Web, vector, web

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


def gate(**fields: Any) -> Gate:
    given = {"name": "up", "http": HttpMeasure(url="http://web/"), "interval": Timeout("1s")}
    return Gate.model_validate(given | fields)


def program(folder: Path, asks: Any, **environment: str) -> StepRun:
    run = StepRun(folder, "bascule_workers.in_step.gate", environment)
    run.parameters["asks"] = asks if isinstance(asks, str) else json.dumps(asks)
    return run


def test_a_gate_that_passes(tmp_path: Path, site: Web) -> None:
    address = site.prometheus(vector("0.004"), vector("0.1"), vector("0.002"))
    given = gate(
        http=None,
        prometheus=PrometheusMeasure(address=address, query="errors"),
        success_condition="result < 0.05",
        count=2,
        failure_limit=1,
    )
    ended = program(tmp_path, {"gate": given.to_wire()}).run()
    assert (ended.code, ended.message) == (0, "2 of 2 passed, 1 failed (1 may), last 0.002")
    assert ended.results == {"verdict": "Pass", "passed": "2", "failed": "1", "inconclusive": "0"}
    assert ended.log.splitlines() == [
        "Pass: 1 of 2 passed, last 0.004",
        "Fail: 1 of 2 passed, 1 failed (1 may), last 0.1",
        "Pass: 2 of 2 passed, 1 failed (1 may), last 0.002",
        "bascule: 2 of 2 passed, 1 failed (1 may), last 0.002",
    ]


def test_a_gate_that_fails_ends_well_too(tmp_path: Path, site: Web) -> None:
    given = gate(http=HttpMeasure(url=site.page("/", Page(500))))
    ended = program(tmp_path, {"gate": given.to_wire()}).run()
    assert (ended.code, ended.results["verdict"]) == (0, "Fail")


def test_the_secret_is_sent_and_shown_nowhere(tmp_path: Path, site: Web) -> None:
    (tmp_path / "http").mkdir()
    (tmp_path / "http" / "authorization").write_text("Bearer canary\n")
    given = gate(http=HttpMeasure(url=site.page("/", Page(401))))
    ended = program(tmp_path / "step", {"gate": given.to_wire()}, BASCULE_HTTP_DIR=str(tmp_path / "http")).run()
    assert site.visits[0].headers["Authorization"] == "Bearer canary"
    assert "canary" not in ended.log + ended.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("Bearer canary\r\nX-Admin: yes", "is no value for a header", id="two headers"),
        pytest.param("Bearer canäry", "is no value for a header", id="not ASCII"),
        pytest.param(None, "is gone: No such file or directory", id="not there"),
    ],
)
def test_a_secret_that_is_no_header_ends_the_step(tmp_path: Path, content: str | None, said: str) -> None:
    (tmp_path / "http").mkdir()
    if content is not None:
        (tmp_path / "http" / "authorization").write_text(content)
    ended = program(tmp_path / "step", {"gate": gate().to_wire()}, BASCULE_HTTP_DIR=str(tmp_path / "http")).run()
    assert (ended.code, ended.message.endswith(said)) == (10, True)
    assert "can" not in ended.message


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param("no json", id="no JSON"),
        pytest.param([], id="no object"),
        pytest.param({"other": 1}, id="something else"),
    ],
)
def test_what_is_asked_has_to_be_something(tmp_path: Path, asks: Any) -> None:
    ended = program(tmp_path, asks).run()
    assert ended.code == 64
    assert ended.message.startswith("the parameter asks ")


def test_a_target_that_comes_up(tmp_path: Path, site: Web) -> None:
    url = site.page("/ready", Page(503), Page(503), Page(200))
    ended = program(tmp_path, {"check": {"url": url, "interval": 0.1, "seconds": 300}}).run()
    assert (ended.code, ended.message, ended.results) == (0, f"{url}: status 200", {"verdict": "Pass"})
    assert [line.partition(":")[0] for line in ended.log.splitlines()] == ["Fail", "Fail", "Pass", "bascule"]


def test_stopped_while_it_waits(tmp_path: Path, site: Web) -> None:
    given = gate(http=HttpMeasure(url=site.page("/", Page())), count=1000, interval="1h")
    run = program(tmp_path, {"gate": given.to_wire()})
    process = run.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ended = run.ended(process)
    assert first == "Pass: 1 of 1000 passed, last status 200\n"
    assert (ended.code, ended.message) == (30, "stopped by SIGTERM")


# Time


class Hours:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.time, self.sleep)


def script(*verdicts: Verdict) -> Callable[[], Measurement]:
    left = list(verdicts)
    return lambda: Measurement(left.pop(0), "seen")


def test_measurements_are_an_interval_apart_and_none_follows_the_verdict() -> None:
    hours = Hours()
    found = measure_gate(gate(count=3, interval="5m"), script(PASS, PASS, PASS), hours.clock)
    assert (found.results["verdict"], hours.slept) == ("Pass", [300, 300])


def test_a_target_that_never_passes_is_asked_until_the_time_is_up() -> None:
    hours = Hours()
    check = {"url": "http://node:80/", "interval": 5, "seconds": 12}
    found = check_until(script(*[INCONCLUSIVE] * 3), check, hours.clock)
    assert found.results == {"verdict": "Fail"}
    assert found.message == "http://node:80/ did not pass within 12 s, asked 3 times; last seen"
