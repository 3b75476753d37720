"""The Procedures `postgres-restore` and `sql-probe` with a real PostgreSQL and a real registry."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest

from bascule_workers.in_step.contract import ExitCode
from tests.support import database as databases
from tests.support.database import Database
from tests.support.drill_procedures import POINT, DrillStep, pushed
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    with databases.serving() as served:
        yield served


@pytest.fixture
def live(server: Database) -> str:
    """The name of a database with a thousand orders."""
    name = f"live_{uuid4().hex[:8]}"
    server.sql("postgres", f"CREATE DATABASE {name}")
    server.sql(name, "CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT now())")
    server.sql(name, "INSERT INTO orders (id, what) SELECT n, E'it\\\\''s \\\\. ' || n FROM generate_series(1, 1000) n")
    return name


@dataclass(kw_only=True)
class DatabaseStep(DrillStep):
    """Steps towards the real server."""

    server: Database

    def restore(self, **parameters: str) -> Ended:
        return self.run("postgres_restore", service="db", port=str(self.server.port), **parameters)

    def probe(self, **parameters: str) -> Ended:
        return self.run("sql_probe", service="db", port=str(self.server.port), **parameters)


@pytest.fixture
def run(tmp_path: Path, server: Database, loopback_registry: LoopbackRegistry) -> DatabaseStep:
    return DatabaseStep(
        folder=tmp_path,
        images=loopback_registry,
        environment_secret={"password": databases.PASSWORD},
        extra={"PGHOSTADDR": "127.0.0.1"},
        server=server,
    )


# postgres-restore


FORMATS = {
    "custom": ("--format=custom",),
    "sql": (),
    "sql of others": ("--no-owner", "--inserts", "--rows-per-insert=100"),
}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("packing", [bytes, gzip.compress], ids=["as it is", "gzip"])
def test_a_dump_is_restored_as_it_was_taken(
    run: DatabaseStep, live: str, tmp_path: Path, options: tuple[str, ...], packing: Callable[[bytes], bytes]
) -> None:
    artifact = pushed(run.images, tmp_path, packing(run.server.dump(live, *options)))
    run.server.sql(live, "INSERT INTO orders (id, what) VALUES (1001, 'after the dump')")

    ended = run.restore(artifact=artifact, database=f"into_{live}")

    assert ended.code == 0, ended.message
    assert ended.results == {"recoveryPoint": POINT, "backup": artifact.rpartition("@")[2]}
    whole = "SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o WHERE id <= 1000"
    assert run.server.sql(f"into_{live}", whole) == run.server.sql(live, whole)
    assert run.server.sql(f"into_{live}", "SELECT max(id) FROM orders") == "1000"


def test_restoring_again_over_what_a_died_attempt_left_gives_the_same(
    run: DatabaseStep, live: str, tmp_path: Path
) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live, "--format=custom"))
    run.server.sql("postgres", f"CREATE DATABASE into_{live}")
    run.server.sql(f"into_{live}", "CREATE TABLE orders (half text); CREATE TABLE left_behind ()")

    for _ in range(2):
        assert run.restore(artifact=artifact, database=f"into_{live}").code == 0
    assert run.server.sql(f"into_{live}", "SELECT count(*) FROM orders") == "1000"
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('left_behind')") == ""


@pytest.mark.parametrize("options", [("--format=custom",), ("--verbose",)], ids=["custom", "sql that says it"])
def test_without_a_record_the_recovery_point_is_when_the_dump_began(
    run: DatabaseStep, live: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    before = int(time.time())
    artifact = pushed(run.images, tmp_path, run.server.dump(live, *options), point="")
    after = int(time.time())
    found = run.restore(artifact=artifact, database=f"into_{live}").results["recoveryPoint"]
    assert before <= datetime.fromisoformat(found).timestamp() <= after


def test_a_dump_that_does_not_tell_gives_no_recovery_point(run: DatabaseStep, live: str, tmp_path: Path) -> None:
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
    run: DatabaseStep, live: str, tmp_path: Path, spoil: Callable[[bytes, bytes], bytes], told: str
) -> None:
    content = spoil(run.server.dump(live, "--format=custom"), run.server.dump(live))
    artifact = pushed(run.images, tmp_path, content)
    run.server.sql("postgres", f"CREATE DATABASE into_{live}")
    run.server.sql(f"into_{live}", "CREATE TABLE still_there ()")

    ended = run.restore(artifact=artifact, database=f"into_{live}")

    assert (ended.code, run.failure) == (ExitCode.INVALID, "BackupNotFound")
    assert told in ended.message
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('still_there')") == "still_there"


@pytest.mark.parametrize(
    "line",
    ["\\! touch /tmp/escaped", "\\connect postgres", "\\copy orders to program 'id'"],
    ids=["shell", "away", "copy"],
)
def test_a_dump_in_sql_gives_psql_no_commands(run: DatabaseStep, live: str, tmp_path: Path, line: str) -> None:
    head, end = run.server.dump(live), b"--\n-- PostgreSQL database dump complete\n--\n"
    spoiled = re.sub(rb"(?m)^SET statement_timeout = 0;$", line.encode().replace(b"\\", b"\\\\"), head, count=1) + end
    ended = run.restore(artifact=pushed(run.images, tmp_path, spoiled), database=f"into_{live}")
    assert ended.code == ExitCode.INVALID
    assert "restricted" in ended.message
    assert run.server.sql(f"into_{live}", "SELECT to_regclass('orders')") == ""


def test_a_backup_that_is_not_there_is_named(run: DatabaseStep) -> None:
    ended = run.restore(artifact=f"{run.images.host}/acme/nothing:v1", database="shop")
    assert (ended.code, run.failure) == (ExitCode.INVALID, "BackupNotFound")
    assert f"{run.images.host}/acme/nothing:v1" in ended.message


@pytest.mark.parametrize("point", ["yesterday", "2026-11-22T13:05:41"])
def test_a_recorded_recovery_point_that_is_no_time_is_no_backup(
    run: DatabaseStep, live: str, tmp_path: Path, point: str
) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live), point)
    ended = run.restore(artifact=artifact, database=f"into_{live}")
    assert (ended.code, run.failure) == (ExitCode.INVALID, "BackupNotFound")


def test_a_wrong_password_is_final(run: DatabaseStep, live: str, tmp_path: Path) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live))
    ended = run.restore(artifact=artifact, database="x", user="nobody")
    assert ended.code == ExitCode.REFUSED
    assert databases.PASSWORD not in ended.message + ended.log


def test_the_database_to_make_anew_is_not_the_one_that_is_connected_to(run: DatabaseStep) -> None:
    assert run.restore(artifact="registry/x:1", database="postgres").code == ExitCode.INVALID


@pytest.mark.parametrize("service", ["live.acme-dev.svc", "127.0.0.1", ""])
def test_a_host_outside_of_the_drill_is_refused(run: DatabaseStep, live: str, tmp_path: Path, service: str) -> None:
    artifact = pushed(run.images, tmp_path, run.server.dump(live))
    ended = run.run("postgres_restore", service=service, database="x", artifact=artifact)
    assert (ended.code, "names no Service" in ended.message) == (ExitCode.INVALID, True)


# sql-probe


def test_a_query_with_the_expected_answer_passes_and_tells_what_it_saw(run: DatabaseStep, live: str) -> None:
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
def test_a_query_is_judged(run: DatabaseStep, live: str, parameters: dict[str, str], code: int, told: str) -> None:
    ended = run.probe(database=live, **parameters)
    assert (ended.code, told in ended.message) == (code, True), ended.message
    assert run.server.sql(live, "SELECT count(*) FROM orders") == "1000"
