"""The Procedures `postgres-restore`, `files-restore` and `sql-probe` with a real PostgreSQL and a real registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bascule_workers.in_drill.object_store import ObjectStore
from bascule_workers.in_step import oci_artifacts
from bascule_workers.in_step.contract import ExitCode, StepError
from bascule_workers.in_step.oci_artifacts import Layout
from tests.support import database as databases
from tests.support import registry
from tests.support.database import Database
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended, StepRun

POINT = "2026-11-22T13:05:41Z"


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    with databases.serving() as served:
        yield served


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    with registry.serving(tmp_path_factory.mktemp("registry")) as served:
        yield served


def pushed(images: LoopbackRegistry, folder: Path, content: bytes, point: str = POINT) -> str:
    """The reference, by digest, of an artifact that holds a backup."""
    layout = Layout(folder / f"layout-{uuid4().hex}")
    layout.root.mkdir(parents=True)
    layer = layout.add_bytes(content, "application/vnd.example.backup", "backup")
    annotations = {"dev.bascule.recovery-point": point} if point else {}
    digest = layout.finish("application/vnd.example.backup", [layer], annotations)
    oci_artifacts.push(layout, f"{images.host}/acme/backups:{uuid4().hex}", images.environment)
    return f"{images.host}/acme/backups@{digest}"


@pytest.fixture
def live(server: Database) -> str:
    """The name of a database with a thousand orders."""
    name = f"live_{uuid4().hex[:8]}"
    server.sql("postgres", f"CREATE DATABASE {name}")
    server.sql(name, "CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT now())")
    server.sql(name, "INSERT INTO orders (id, what) SELECT n, E'it\\\\''s \\\\. ' || n FROM generate_series(1, 1000) n")
    return name


@dataclass
class Run:
    """A step of a drill, towards the real server."""

    folder: Path
    server: Database
    images: LoopbackRegistry
    extra: dict[str, str] = field(default_factory=dict)

    def step(self, module: str, **parameters: str) -> Ended:
        root = self.folder / uuid4().hex
        root.mkdir()
        (root / "environment").mkdir()
        (root / "environment" / "password").write_text(databases.PASSWORD)
        environment = {
            **self.images.environment,
            "PGHOSTADDR": "127.0.0.1",
            "BASCULE_NAMESPACE": "bascule-drill-1",
            "BASCULE_ENVIRONMENT_DIR": str(root / "environment"),
            **self.extra,
        }
        step = StepRun(root / "step", f"bascule_workers.in_drill.{module}", environment, dict(parameters))
        return step.run()

    def restore(self, **parameters: str) -> Ended:
        return self.step("postgres_restore", service="db", port=str(self.server.port), **parameters)

    def probe(self, **parameters: str) -> Ended:
        return self.step("sql_probe", service="db", port=str(self.server.port), **parameters)


@pytest.fixture
def run(tmp_path: Path, server: Database, images: LoopbackRegistry) -> Run:
    return Run(tmp_path, server, images)


# postgres-restore

FORMATS = {
    "custom": ("--format=custom",),
    "sql": (),
    "sql of others": ("--no-owner", "--inserts", "--rows-per-insert=100"),
}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("packing", [bytes, gzip.compress], ids=["as it is", "gzip"])
def test_a_dump_is_restored_as_it_was_taken(
    run: Run, live: str, tmp_path: Path, options: tuple[str, ...], packing: Callable[[bytes], bytes]
) -> None:
    artifact = pushed(run.images, tmp_path, packing(run.server.dump(live, *options)))
    run.server.sql(live, "INSERT INTO orders (id, what) VALUES (1001, 'after the dump')")

    ended = run.restore(artifact=artifact, database=f"into_{live}")

    assert ended.code == 0, ended.message
    assert ended.results == {"recoveryPoint": POINT, "backup": artifact.rpartition("@")[2]}
    whole = "SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o WHERE id <= 1000"
    assert run.server.sql(f"into_{live}", whole) == run.server.sql(live, whole)
    assert run.server.sql(f"into_{live}", "SELECT max(id) FROM orders") == "1000"


def test_restoring_again_over_what_a_died_attempt_left_gives_the_same(run: Run, live: str, tmp_path: Path) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live, "--format=custom"))
    run.server.sql("postgres", f"CREATE DATABASE into_{live}")
    run.server.sql(f"into_{live}", "CREATE TABLE orders (half text); CREATE TABLE left_behind ()")

    for _ in range(2):
        assert run.restore(artifact=artifact, database=f"into_{live}").code == 0
    assert run.server.sql(f"into_{live}", "SELECT count(*) FROM orders") == "1000"
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('left_behind')") == ""


@pytest.mark.parametrize("options", [("--format=custom",), ("--verbose",)], ids=["custom", "sql that says it"])
def test_without_a_record_the_recovery_point_is_when_the_dump_began(
    run: Run, live: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    before = int(time.time())
    artifact = pushed(run.images, tmp_path, run.server.dump(live, *options), point="")
    after = int(time.time())
    found = run.restore(artifact=artifact, database=f"into_{live}").results["recoveryPoint"]
    assert before <= datetime.fromisoformat(found).timestamp() <= after


def test_a_dump_that_does_not_tell_gives_no_recovery_point(run: Run, live: str, tmp_path: Path) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live), point="")
    ended = run.restore(artifact=artifact, database=f"into_{live}")
    assert (ended.code, "recoveryPoint" in ended.results) == (0, False)


def newer(dump: bytes) -> bytes:
    """The same dump as a server of the year 99 would have made it; equally long, so that it stays whole."""
    return re.sub(rb"\b15\.(\d+) \(", rb"99.\1 (", dump)


BAD: dict[str, tuple[Callable[[bytes, bytes], bytes], str]] = {
    "empty": (lambda custom, sql: b"", "is empty"),
    "no dump": (lambda custom, sql: b"-- hello\nSELECT 1;\n", "is no dump of pg_dump's"),
    "custom, cut off": (lambda custom, sql: custom[: len(custom) - 200], "truncated or damaged"),
    "custom, half": (lambda custom, sql: custom[: len(custom) // 2], "truncated or damaged"),
    "custom, a header": (lambda custom, sql: custom[:9], "truncated or damaged"),
    "sql, cut off": (lambda custom, sql: sql[: len(sql) - 100], "is truncated"),
    "gzip, cut off": (lambda custom, sql: gzip.compress(sql)[:-50], "truncated or damaged"),
    "custom, newer": (lambda custom, sql: newer(custom), "is of PostgreSQL 99, the server is 15"),
    "sql, newer": (lambda custom, sql: newer(sql), "is of PostgreSQL 99, the server is 15"),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=BAD)
def test_a_bad_backup_is_refused_before_the_database_is_touched(
    run: Run, live: str, tmp_path: Path, spoil: Callable[[bytes, bytes], bytes], told: str
) -> None:
    content = spoil(run.server.dump(live, "--format=custom"), run.server.dump(live))
    artifact = pushed(run.images, tmp_path, content)
    run.server.sql("postgres", f"CREATE DATABASE into_{live}")
    run.server.sql(f"into_{live}", "CREATE TABLE still_there ()")

    ended = run.restore(artifact=artifact, database=f"into_{live}")

    assert (ended.code, failure_of(run)) == (ExitCode.INVALID, "BackupNotFound")
    assert told in ended.message
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('still_there')") == "still_there"


def failure_of(run: Run) -> str:
    """The failure of the last step, as its termination message has it."""
    [log] = sorted(run.folder.glob("*/step/termination-log"), key=lambda path: path.stat().st_mtime)[-1:]
    return str(json.loads(log.read_text()).get("failure", ""))


@pytest.mark.parametrize(
    "line",
    ["\\! touch /tmp/escaped", "\\connect postgres", "\\copy orders to program 'id'"],
    ids=["shell", "away", "copy"],
)
def test_a_dump_in_sql_gives_psql_no_commands(run: Run, live: str, tmp_path: Path, line: str) -> None:
    head, end = run.server.dump(live), b"--\n-- PostgreSQL database dump complete\n--\n"
    spoiled = re.sub(rb"(?m)^SET statement_timeout = 0;$", line.encode().replace(b"\\", b"\\\\"), head, count=1) + end
    ended = run.restore(artifact=pushed(run.images, tmp_path, spoiled), database=f"into_{live}")
    assert ended.code == ExitCode.INVALID
    assert "restricted" in ended.message
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('orders')") == ""


def test_a_backup_that_is_not_there_is_named(run: Run) -> None:
    ended = run.restore(artifact=f"{run.images.host}/acme/nothing:v1", database="shop")
    assert (ended.code, failure_of(run)) == (ExitCode.INVALID, "BackupNotFound")
    assert f"{run.images.host}/acme/nothing:v1" in ended.message


@pytest.mark.parametrize("point", ["yesterday", "2026-11-22T13:05:41"])
def test_a_recorded_recovery_point_that_is_no_time_is_no_backup(
    run: Run, live: str, tmp_path: Path, point: str
) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live), point)
    ended = run.restore(artifact=artifact, database=f"into_{live}")
    assert (ended.code, failure_of(run)) == (ExitCode.INVALID, "BackupNotFound")


def test_a_wrong_password_is_final(run: Run, live: str, tmp_path: Path) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live))
    ended = run.restore(artifact=artifact, database="x", user="nobody")
    assert ended.code == ExitCode.REFUSED
    assert databases.PASSWORD not in ended.message + ended.log


def test_the_database_to_make_anew_is_not_the_one_that_is_connected_to(run: Run) -> None:
    assert run.restore(artifact="registry/x:1", database="postgres").code == ExitCode.INVALID


@pytest.mark.parametrize("service", ["live.acme-dev.svc", "127.0.0.1", ""])
def test_a_host_outside_of_the_drill_is_refused(run: Run, live: str, tmp_path: Path, service: str) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live))
    ended = run.step("postgres_restore", service=service, database="x", artifact=artifact)
    assert (ended.code, "names no Service" in ended.message) == (ExitCode.INVALID, True)


# sql-probe


def test_a_query_with_the_expected_answer_passes_and_tells_what_it_saw(run: Run, live: str) -> None:
    run.server.sql(live, "UPDATE orders SET at = '2026-11-22 14:05:41.5+01'")
    ended = run.probe(
        database=live,
        query="SELECT count(*), max(id) FROM orders",
        expect="1000|1000",
        asOfQuery="SELECT max(at) FROM orders",
    )
    assert (ended.code, ended.message) == (0, "the query gave 1000|1000")
    assert ended.results == {"dataAsOf": POINT}


@pytest.mark.parametrize(
    ("parameters", "code", "told"),
    [
        pytest.param({"query": "SELECT 41", "expect": "42"}, ExitCode.VIOLATED, "gave 41, not 42", id="another answer"),
        pytest.param({"query": "SELECT 1 WHERE false", "expect": "1"}, ExitCode.VIOLATED, "gave nothing", id="no row"),
        pytest.param({"query": "SELECT"}, 0, "gave nothing", id="none was expected"),
        pytest.param({"query": "SELECT * FROM nowhere"}, ExitCode.INVALID, "does not exist", id="no such table"),
        pytest.param(
            {"query": "DROP TABLE orders"}, ExitCode.INVALID, "read-only transaction", id="it changes nothing"
        ),
        pytest.param({"query": "\\! id"}, ExitCode.INVALID, "is no SQL", id="no command of psql's"),
        pytest.param({"query": " "}, ExitCode.INVALID, "is empty", id="no query"),
        pytest.param(
            {"query": "SELECT 1", "expect": "1", "asOfQuery": "SELECT '2026-01-01'::timestamp"},
            ExitCode.VIOLATED,
            "without time zone",
            id="a time that says nothing",
        ),
        pytest.param(
            {"query": "SELECT 1", "expect": "1", "asOfQuery": "SELECT 'x'"},
            ExitCode.VIOLATED,
            "gave no time",
            id="no time",
        ),
    ],
)
def test_a_query_is_judged(run: Run, live: str, parameters: dict[str, str], code: int, told: str) -> None:
    ended = run.probe(database=live, **parameters)
    assert (ended.code, told in ended.message) == (code, True), ended.message
    assert run.server.sql(live, "SELECT count(*) FROM orders") == "1000"


# files-restore


def archive(*entries: tuple[str, Any], mode: str = "w") -> bytes:
    """A tar archive of names with contents, or TarInfos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in entries:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=content, check=True, capture_output=True).stdout


FILES = archive(("./", entry("./", tarfile.DIRTYPE)), ("a.txt", b"hello"), ("sub/b.bin", bytes(70_000)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restored_files(run: Run, target: Path, content: bytes, folder: Path, point: str = POINT) -> Ended:
    run.extra["BASCULE_TARGET_DIR"] = str(target)
    return run.step("files_restore", claim="data", artifact=pushed(run.images, folder, content, point))


@pytest.mark.parametrize("packing", [bytes, gzip.compress, zstd], ids=["as it is", "gzip", "zstd"])
def test_files_take_the_place_of_what_was_there(run: Run, tmp_path: Path, packing: Callable[[bytes], bytes]) -> None:
    target = tmp_path / "claim"
    (target / "lost+found").mkdir(parents=True)
    (target / "old").mkdir()
    (target / "old" / "x").write_text("old")
    (target / ".bascule-partial").mkdir()
    (target / ".bascule-partial" / "half").write_text("of an attempt that died")

    for _ in range(2):
        ended = restored_files(run, target, packing(FILES), tmp_path)
        assert ended.code == 0, ended.message
    assert contents(target) == {"a.txt": b"hello", "sub/b.bin": bytes(70_000)}
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "lost+found", "sub"]
    assert ended.results["recoveryPoint"] == POINT


SPARSE = entry("s", tarfile.GNUTYPE_SPARSE)
HOSTILE = {
    "parent": (archive(("../x", b"x")), "leads out of its folder"),
    "deep parent": (archive(("a/../../x", b"x")), "leads out of its folder"),
    "absolute": (archive(("/etc/x", b"x")), "leads out of its folder"),
    "ours": (archive((".bascule-partial/x", b"x")), "leads out of its folder"),
    "symbolic link": (archive(("l", entry("l", tarfile.SYMTYPE, "/etc"))), "holds a link"),
    "hard link": (archive(("l", entry("l", tarfile.LNKTYPE, "/etc/passwd"))), "holds a link"),
    "device": (archive(("d", entry("d", tarfile.CHRTYPE))), "holds no file"),
    "pipe": (archive(("p", entry("p", tarfile.FIFOTYPE))), "holds no file"),
    "empty": (archive(), "is empty"),
    "no archive": (b"hello" * 1000, "truncated or damaged"),
    "cut off in a file": (FILES[:20_000], "truncated"),
    "cut off between files": (FILES[:1536], "is truncated: it has no end"),
    "gzip, cut off": (gzip.compress(FILES)[:-20], "truncated or damaged"),
    "zstd, cut off": (zstd(FILES)[:-20], "truncated"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_or_damaged_archive_changes_nothing(run: Run, tmp_path: Path, content: bytes, told: str) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    (target / "old").write_text("old")

    ended = restored_files(run, target, content, tmp_path)

    assert (ended.code, failure_of(run)) == (ExitCode.INVALID, "BackupNotFound"), ended.message
    assert told in ended.message
    assert {name: text for name, text in contents(target).items() if not name.startswith(".bascule")} == {"old": b"old"}
    assert not (tmp_path / "x").exists()


def test_a_base_backup_tells_itself_when_it_began(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    label = b"START WAL LOCATION: 0/2000028\nSTART TIME: 2026-11-22 13:05:41 UTC\nLABEL: nightly\n"
    ended = restored_files(run, target, archive(("backup_label", label)), tmp_path, point="")
    assert ended.results["recoveryPoint"] == POINT


def test_more_than_the_claim_holds_is_told_before_it_is_full(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    huge = tarfile.TarInfo("huge")
    huge.size = 1 << 50
    content = huge.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
    ended = restored_files(run, target, content, tmp_path)
    assert (ended.code, "the claim is too small" in ended.message) == (ExitCode.INVALID, True)


# S3


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


def from_store(run: Run, endpoint: str, key: str, target: Path, **keys: str) -> Ended:
    secret = run.folder / f"secret-{uuid4().hex}"
    secret.mkdir()
    for name, value in ({"access-key": "AKIA", "secret-key": "s3cr3t/+key"} | keys).items():
        (secret / name).write_text(value)
    target.mkdir(exist_ok=True)
    run.extra |= {"BASCULE_BACKUP_DIR": str(secret), "BASCULE_TARGET_DIR": str(target)}
    return run.step("files_restore", claim="data", endpoint=endpoint, bucket="backups", key=key)


def test_an_object_is_fetched_with_its_metadata_and_checked(run: Run, endpoint: str, tmp_path: Path) -> None:
    Store.objects["web.tar"] = FILES
    Store.metadata = {"recovery-point": POINT, "sha256": hashlib.sha256(FILES).hexdigest()}
    ended = from_store(run, endpoint, "web.tar", tmp_path / "claim")
    assert (ended.code, ended.results) == (0, {"recoveryPoint": POINT, "backup": "s3://backups/web.tar"})
    assert Store.seen[0].startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    assert "s3cr3t" not in ended.log + ended.message


def test_a_record_beside_the_object_serves_as_well(run: Run, endpoint: str, tmp_path: Path) -> None:
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
    run: Run,
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
    assert (ended.code, failure_of(run)) == (code, failure), ended.message


def test_a_key_with_a_line_break_is_no_key(run: Run, endpoint: str, tmp_path: Path) -> None:
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
    images: LoopbackRegistry, tmp_path: Path
) -> None:
    # Any server with TLS will do: it is not asked for anything before it has proven who it is.
    ours = "/etc/ssl/certs/ca-certificates.crt"
    store = ObjectStore(f"https://{images.host}", "us-east-1", "backups", "AKIA", "secret", ours)
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
