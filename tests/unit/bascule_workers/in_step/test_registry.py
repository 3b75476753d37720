"""What skopeo says, and the exit code that it deserves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bascule_workers.in_step import registry
from bascule_workers.in_step.contract import ExitCode

REFERENCE = "registry.example.com:5000/acme/denied-404:run-1"
PINGING = f"trying to reuse blob sha256:a4 at destination: pinging container registry {REFERENCE.partition('/')[0]}: "


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(PINGING + "dial tcp 10.0.0.1:5000: connect: connection refused", ExitCode.UNAVAILABLE, id="down"),
        pytest.param(PINGING + "dial tcp: lookup r on 10.0.0.2:53: no such host", ExitCode.UNAVAILABLE, id="no name"),
        pytest.param("writing blob: received unexpected HTTP status: 503", ExitCode.UNAVAILABLE, id="failing"),
        pytest.param("writing blob: unauthorized: authentication required", ExitCode.REFUSED, id="no credentials"),
        pytest.param("writing blob: denied: requested access is denied", ExitCode.REFUSED, id="no right"),
        pytest.param(PINGING + "x509: certificate signed by unknown authority", ExitCode.REFUSED, id="no trust"),
        pytest.param(PINGING + "http: server gave HTTP response to HTTPS client", ExitCode.REFUSED, id="no TLS"),
        pytest.param(f"reading manifest sha256:12 in {REFERENCE}: manifest unknown", ExitCode.INVALID, id="absent"),
        pytest.param("invalid status code from registry 404 (Not Found)", ExitCode.INVALID, id="absent by its status"),
        pytest.param(f"pushing {REFERENCE}: unexpected EOF", ExitCode.UNAVAILABLE, id="its name proves nothing"),
        pytest.param("reading acme/denied-404: unexpected EOF", ExitCode.UNAVAILABLE, id="nor does its path"),
    ],
)
def test_failures_are_told_apart(message: str, expected: ExitCode) -> None:
    errors = f'Getting image source signatures\ntime="2026-01-01T00:00:00Z" level=fatal msg="{message}"\n'
    assert registry.judge(errors, REFERENCE) is expected


def test_the_reason_is_what_skopeo_said_last() -> None:
    errors = 'time="x" level=warning msg="careful"\ntime="x" level=fatal msg="Get \\"https://r/v2/\\": EOF"\n'
    assert registry.reason(errors) == 'Get "https://r/v2/": EOF'


@pytest.mark.parametrize(
    "reference", ["r.example.com:5000/a/b", "r.example.com:5000/a/b:tag", "r.example.com:5000/a/b@sha256:12"]
)
def test_the_repository_of_a_reference(reference: str) -> None:
    assert registry.repository(reference) == "r.example.com:5000/a/b"


def test_credentials_that_nobody_mounted_are_not_named_to_skopeo(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    assert registry.tool_environment({"REGISTRY_AUTH_FILE": str(file), "A": "b"}) == {"A": "b"}
    file.write_text("{}")
    assert registry.tool_environment({"REGISTRY_AUTH_FILE": str(file)}) == {"REGISTRY_AUTH_FILE": str(file)}
