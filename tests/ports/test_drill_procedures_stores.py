"""Backups in object stores: what `files-restore` takes from S3, and what it makes of a store in trouble."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from bascule_workers.in_drill.object_store import ObjectStore
from bascule_workers.in_step.contract import ExitCode, StepError
from tests.support.drill_procedures import FILES, POINT, DrillStep
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended


@pytest.fixture
def run(tmp_path: Path, loopback_registry: LoopbackRegistry) -> DrillStep:
    return DrillStep(tmp_path, loopback_registry)


class Store(BaseHTTPRequestHandler):
    """Answers as a test says, by the object's key: content, status, or a connection that ends early."""

    objects: dict[str, bytes | int] = {}
    metadata: dict[str, str] = {}
    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        found = self.objects.get(self.path.removeprefix("/backups/"), 404)
        content = found if isinstance(found, bytes) else b"<Error/>"
        self.send_response(found if isinstance(found, int) else 200)
        self.send_header("Content-Length", str(len(content) + (100 if self.path.endswith("cut") else 0)))
        for name, value in self.metadata.items():
            self.send_header(f"x-amz-meta-{name}", value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Store.objects, Store.metadata, Store.seen = {}, {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def from_store(run: DrillStep, endpoint: str, key: str, target: Path, **keys: str) -> Ended:
    secret = run.folder / f"secret-{uuid4().hex}"
    secret.mkdir()
    for name, value in ({"access-key": "AKIA", "secret-key": "s3cr3t/+key"} | keys).items():
        (secret / name).write_text(value)
    target.mkdir(exist_ok=True)
    run.extra |= {"BASCULE_BACKUP_DIR": str(secret), "BASCULE_TARGET_DIR": str(target)}
    return run.run("files_restore", claim="data", endpoint=endpoint, bucket="backups", key=key)


def test_an_object_is_fetched_with_its_metadata_and_checked(run: DrillStep, endpoint: str, tmp_path: Path) -> None:
    Store.objects["web.tar"] = FILES
    Store.metadata = {"recovery-point": POINT, "sha256": hashlib.sha256(FILES).hexdigest()}
    ended = from_store(run, endpoint, "web.tar", tmp_path / "claim")
    assert (ended.code, ended.results) == (0, {"recoveryPoint": POINT, "backup": "s3://backups/web.tar"})
    assert Store.seen[0].startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    assert "s3cr3t" not in ended.log + ended.message


def test_a_record_beside_the_object_serves_as_well(run: DrillStep, endpoint: str, tmp_path: Path) -> None:
    record = {"recoveryPoint": POINT, "sha256": hashlib.sha256(FILES).hexdigest()}
    Store.objects |= {"web.tar": FILES, "web.tar.bascule.json": json.dumps(record).encode()}
    assert from_store(run, endpoint, "web.tar", tmp_path / "claim").results["recoveryPoint"] == POINT


@pytest.mark.parametrize(
    ("key", "stored", "metadata", "code", "failure"),
    [
        pytest.param("none", {}, {}, ExitCode.INVALID, "BackupNotFound", id="there is none"),
        pytest.param("e", {"e": b""}, {}, ExitCode.INVALID, "BackupNotFound", id="it is empty"),
        pytest.param("f", {"f": 403}, {}, ExitCode.REFUSED, "", id="we may not"),
        pytest.param("m", {"m": 301}, {}, ExitCode.REFUSED, "", id="it is elsewhere"),
        pytest.param("w", {"w": FILES}, {"sha256": "0" * 64}, ExitCode.INVALID, "BackupNotFound", id="it is another"),
    ],
)
def test_what_is_wrong_with_an_object_is_told(
    run: DrillStep,
    endpoint: str,
    tmp_path: Path,
    key: str,
    stored: dict[str, bytes | int],
    metadata: dict[str, str],
    code: int,
    failure: str,
) -> None:
    Store.objects, Store.metadata = stored, metadata
    ended = from_store(run, endpoint, key, tmp_path / "claim")
    assert (ended.code, run.failure) == (code, failure), ended.message


def test_a_key_with_a_line_break_is_no_key(run: DrillStep, endpoint: str, tmp_path: Path) -> None:
    keys = {"secret-key": 'x"\noutput = "/tmp/x'}
    ended = from_store(run, endpoint, "web.tar", tmp_path / "claim", **keys)
    assert ended.code == ExitCode.INVALID
    assert not Store.seen


@pytest.mark.parametrize(
    ("key", "stored", "code", "failure"),
    [
        pytest.param("t", 500, ExitCode.UNAVAILABLE, "BackupUnreachable", id="it is in trouble"),
        pytest.param("slow", 429, ExitCode.UNAVAILABLE, "BackupUnreachable", id="it is busy"),
        pytest.param("cut", b"half", ExitCode.UNAVAILABLE, "BackupUnreachable", id="it hangs up in the middle"),
    ],
)
def test_a_store_in_trouble_is_worth_another_attempt(
    endpoint: str, tmp_path: Path, key: str, stored: bytes | int, code: int, failure: str
) -> None:
    Store.objects = {key: stored}
    store = ObjectStore(endpoint, "us-east-1", "backups", "AKIA", "secret")
    with pytest.raises(StepError) as raised:
        store.get(key, tmp_path / "target", patience=0)
    assert (raised.value.report.exit_code, raised.value.report.failure) == (code, failure)


def test_a_store_that_is_not_there_is_worth_another_attempt(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = ObjectStore(f"http://127.0.0.1:{free.getsockname()[1]}", "us-east-1", "backups", "AKIA", "secret")
        with pytest.raises(StepError) as raised:
            store.get("web.tar", tmp_path / "target", patience=0)
    assert raised.value.report.exit_code == ExitCode.UNAVAILABLE
    assert "Failed to connect" in raised.value.report.message


def test_a_store_that_recovers_within_our_patience_is_read(endpoint: str, tmp_path: Path) -> None:
    Store.objects = {"web.tar": 503}
    store = ObjectStore(endpoint, "us-east-1", "backups", "AKIA", "secret")
    threading.Timer(1.5, lambda: Store.objects.update({"web.tar": FILES})).start()
    assert store.get("web.tar", tmp_path / "target", patience=60) == {}
    assert (tmp_path / "target").read_bytes() == FILES


def test_a_store_with_a_certificate_of_nobody_we_trust_is_refused_for_good(
    loopback_registry: LoopbackRegistry, tmp_path: Path
) -> None:
    # Any server with TLS will do: it is not asked for anything before it has proven who it is.
    ours = "/etc/ssl/certs/ca-certificates.crt"
    store = ObjectStore(f"https://{loopback_registry.host}", "us-east-1", "backups", "AKIA", "secret", ours)
    with pytest.raises(StepError) as raised:
        store.get("web.tar", tmp_path / "target", patience=60)
    assert raised.value.report.exit_code == ExitCode.REFUSED
    assert "is not trusted" in raised.value.report.message


@pytest.mark.parametrize(
    "wrong", [{"endpoint": "file:///etc"}, {"endpoint": "https://a@b"}, {"bucket": "../x"}, {"region": "eu west"}]
)
def test_a_store_is_named_plainly(wrong: dict[str, str]) -> None:
    fields = {
        "endpoint": "https://s3",
        "region": "us-east-1",
        "bucket": "backups",
        "access_key": "a",
        "secret_key": "s",
    }
    with pytest.raises(StepError):
        ObjectStore(**(fields | wrong))
