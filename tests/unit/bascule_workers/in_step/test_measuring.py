"""One measurement, against a real web server."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule_api.base import Timeout
from bascule_api.gates import Gate, HttpMeasure, PrometheusMeasure, Verdict
from bascule_workers.in_step.http_client import BODY_LIMIT, NoAnswerError, Request, ask
from bascule_workers.in_step.measuring import Asked, isolated, measure, measured
from bascule_workers.plans.measurements import Measurement
from tests.support.registry import make_certificate
from tests.support.web import Page, Web, vector, web

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


def http_gate(url: str, condition: str | None = None) -> Gate:
    return Gate(name="up", http=HttpMeasure(url=url), success_condition=condition)


def prometheus_gate(address: str, condition: str = "result < 0.05") -> Gate:
    return Gate(
        name="errors", prometheus=PrometheusMeasure(address=address, query="errors"), success_condition=condition
    )


# HTTP


@pytest.mark.parametrize(
    ("page", "condition", "expected"),
    [
        pytest.param(Page(204), None, Measurement(PASS, "status 204"), id="any 2xx passes"),
        pytest.param(Page(503), None, Measurement(FAIL, "status 503"), id="a 5xx is an answer"),
        pytest.param(Page(404), "status == 404", Measurement(PASS, "status 404"), id="whatever the condition says"),
        pytest.param(
            Page(body=b'{"ready": 3}'), "json.ready >= 3", Measurement(PASS, "status 200"), id="a field of the body"
        ),
        pytest.param(
            Page(body=b'{"ready": 2}'), "json.ready >= 3", Measurement(FAIL, "status 200"), id="too little of it"
        ),
        pytest.param(Page(body=b"all ok"), "body.contains('ok')", Measurement(PASS, "status 200"), id="a text"),
        pytest.param(
            Page(302, headers={"Location": "http://elsewhere.example.com/"}),
            None,
            Measurement(FAIL, "status 302, a redirect to elsewhere.example.com, which is not followed"),
            id="a redirect to another host",
        ),
        pytest.param(
            Page(302, headers={"Location": "file:///etc/passwd"}),
            None,
            Measurement(FAIL, "status 302, a redirect to file, which is not followed"),
            id="a redirect to another scheme",
        ),
    ],
)
def test_http_answers(site: Web, page: Page, condition: str | None, expected: Measurement) -> None:
    assert measure(Asked(http_gate(site.page("/health", page), condition))) == expected


@pytest.mark.parametrize(
    ("page", "condition", "said"),
    [
        pytest.param(Page(hangs_up=True), None, "no answer from {host}: it closed the connection", id="hung up"),
        pytest.param(Page(body=b"no json"), "json.ready > 1", "the condition cannot be evaluated: ", id="no JSON"),
        pytest.param(Page(body=b"[" * 100_000), "json.a > 1", "the condition cannot be evaluated: ", id="a deep JSON"),
        pytest.param(
            Page(body=b"." * (BODY_LIMIT + 1)),
            "body == ''",
            "the answer of {host} is larger than 1 MiB",
            id="too large",
        ),
        pytest.param(
            Page(302, headers={"Location": "/health"}), None, "{host} redirects more than 5 times", id="circles"
        ),
    ],
)
def test_http_answers_that_say_nothing(site: Web, page: Page, condition: str | None, said: str) -> None:
    found = measure(Asked(http_gate(site.page("/health", page), condition)))
    assert found.verdict is INCONCLUSIVE
    assert found.text.startswith(said.format(host=site.host))


def test_a_large_body_that_nobody_wants_is_no_trouble(site: Web) -> None:
    page = site.page("/health", Page(body=b"." * (BODY_LIMIT + 1)))
    assert measure(Asked(http_gate(page))).verdict is PASS


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    found = measure(Asked(http_gate(f"http://{address}/")))
    assert found == Measurement(INCONCLUSIVE, f"no answer from {address}: connection refused")


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    with web(certificate=make_certificate(tmp_path)) as site:
        found = measure(Asked(http_gate(site.page("/", Page()))))
    assert found.verdict is INCONCLUSIVE
    assert "its certificate is not trusted: self-signed certificate" in found.text


def test_a_certificate_of_the_platforms_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with web(certificate=certificate) as site:
        assert measure(Asked(http_gate(site.page("/", Page())))).verdict is PASS


def test_redirects_within_a_host_are_followed(site: Web) -> None:
    site.page("/new", Page(200))
    assert measure(Asked(http_gate(site.page("/old", Page(301, headers={"Location": "/new"}))))).verdict is PASS


# The tenant's secret


def test_the_authorization_reaches_its_host(site: Web) -> None:
    measure(Asked(http_gate(site.page("/health", Page())), "Bearer canary"))
    assert site.visits[0].headers["Authorization"] == "Bearer canary"


def test_the_authorization_reaches_no_other_port(site: Web) -> None:
    with web() as other:
        away = Page(307, headers={"Location": other.page("/", Page())})
        assert measure(Asked(http_gate(site.page("/health", away)), "Bearer canary")).verdict is PASS
        assert "Authorization" in site.visits[0].headers
        assert "Authorization" not in other.visits[0].headers


def test_the_authorization_is_in_no_message(site: Web) -> None:
    echo = {"status": "error", "error": "what is Bearer canary?"}
    found = measure(Asked(prometheus_gate(site.prometheus(echo)), "Bearer canary"))
    assert found.text == "Prometheus says: what is ***? (status 200)"


def test_a_header_that_is_none_is_not_shown() -> None:
    with pytest.raises(NoAnswerError, match=r"^no answer from localhost:1: \w+( \w+)*$") as refused:
        ask(Request("http://localhost:1/", 1.0, authorization="canary\r\nX: y"))
    assert "canary" not in str(refused.value)


# Prometheus


@pytest.mark.parametrize(
    ("answer", "condition", "expected"),
    [
        pytest.param(vector("0.004"), "result < 0.05", Measurement(PASS, "0.004"), id="below"),
        pytest.param(vector("0.0712345"), "result < 0.05", Measurement(FAIL, "0.07123"), id="above"),
        pytest.param(vector("+Inf"), "result < 0.05", Measurement(FAIL, "inf"), id="infinity is a number"),
        pytest.param(
            {"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}},
            "result == 3",
            Measurement(PASS, "3"),
            id="a scalar",
        ),
        pytest.param(
            vector("1", "2", "3"), "results.all(r, r < 4)", Measurement(PASS, "1, 2, 3"), id="several, all of them"
        ),
        pytest.param(
            vector(*"123456"), "results.size() == 6", Measurement(PASS, "1, 2, 3, 4, 5, …"), id="many are shortened"
        ),
        pytest.param(
            vector("1", warnings=["a store did not answer"]),
            "result < 4",
            Measurement(PASS, "1 (Prometheus warns: a store did not answer)"),
            id="warnings are told",
        ),
    ],
)
def test_prometheus_answers(site: Web, answer: Any, condition: str, expected: Measurement) -> None:
    assert measure(Asked(prometheus_gate(site.prometheus(answer), condition))) == expected
    assert site.visits[0].method == "POST"
    assert site.visits[0].form == {"query": ["errors"], "timeout": ["10s"]}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(vector(), "the query gave no series", id="no series"),
        pytest.param(vector("NaN"), "the query gave NaN", id="not a number"),
        pytest.param(
            vector("1", "2"),
            "the query gave 2 series (1, 2): aggregate them, or write results",
            id="several where one is meant",
        ),
        pytest.param(vector("1", "NaN"), "the query gave NaN", id="one of several is not a number"),
        pytest.param(vector("many"), "the query gave something that is not a number", id="a text"),
        pytest.param(
            {"status": "success", "data": {"resultType": "matrix", "result": []}},
            "the query gave a matrix: an instant query of numbers is wanted",
            id="a range",
        ),
        pytest.param(
            Page(400, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}'),
            "Prometheus says: parse error (status 400)",
            id="a query that is none",
        ),
        pytest.param(Page(503, b"upstream"), "Prometheus says: no answer of its API (status 503)", id="a proxy's 503"),
        pytest.param(Page(200, b"<html>"), "Prometheus says: no answer of its API (status 200)", id="a login page"),
        pytest.param(Page(200, b"[]"), "Prometheus says: no answer of its API (status 200)", id="other JSON"),
        pytest.param(
            {"status": "success", "data": []},
            "the query gave a None: an instant query of numbers is wanted",
            id="other data",
        ),
    ],
)
def test_prometheus_answers_that_say_nothing(site: Web, answer: Any, said: str) -> None:
    assert measure(Asked(prometheus_gate(site.prometheus(answer)))) == Measurement(INCONCLUSIVE, said)


# Bounds


def test_a_server_that_never_ends_takes_no_longer_than_the_timeout(site: Web) -> None:
    gate = http_gate(site.page("/health", Page(drips=True)), "body == ''").model_copy(update={"timeout": Timeout("1s")})
    assert measured(Asked(gate)) == Measurement(INCONCLUSIVE, "took longer than 1 s")


def test_a_condition_that_never_ends_takes_no_longer_than_the_timeout(site: Web) -> None:
    digits = "[0,1,2,3,4,5,6,7,8,9]"
    endless = "status"
    for letter in "abcdefghij":
        endless = f"{digits}.map({letter},{endless})"
    gate = http_gate(site.page("/health", Page()), f"{endless} == []").model_copy(update={"timeout": Timeout("2s")})
    found = measured(Asked(gate))
    assert found.verdict is INCONCLUSIVE
    assert found.text in ("took longer than 2 s", "it could not be evaluated: too much memory, or a fault")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: bytearray(2 << 30), id="too much memory"),
        pytest.param(lambda: os._exit(3), id="its process dies"),
        pytest.param(lambda: os.kill(os.getpid(), signal.SIGKILL), id="its process is killed"),
    ],
)
def test_a_measurement_that_dies_says_nothing(fault: Any, capfd: pytest.CaptureFixture[str]) -> None:
    found = isolated(lambda: Measurement(PASS, str(fault())), 30)
    assert found == Measurement(INCONCLUSIVE, "it could not be evaluated: too much memory, or a fault")
