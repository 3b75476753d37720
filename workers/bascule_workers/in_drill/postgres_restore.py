"""Restores a dump into a PostgreSQL server of the drill: `python3 -m bascule_workers.in_drill.postgres_restore`.

The database is dropped and made anew, and filled in one transaction: whatever an attempt that died left behind, the end
is the same.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bascule_workers.in_drill import backups, dumps
from bascule_workers.in_drill.backups import Backup
from bascule_workers.in_drill.dumps import Dump
from bascule_workers.in_drill.postgres import Server, failed
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError, main

SERVER_PATIENCE_SECONDS = 120.0
_MADE_ANEW = """\
DROP DATABASE IF EXISTS :"database" WITH (FORCE);
CREATE DATABASE :"database" TEMPLATE template0;
"""
_COUNT = (
    "SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relnamespace NOT IN (SELECT oid FROM \
pg_catalog.pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')"
)


def program(step: Step) -> Report:
    """Fetch, look, restore. Raises StepError."""
    database, maintenance = step.text("database").strip(), step.text("maintenanceDatabase", "postgres").strip()
    if not database or database == maintenance:
        raise StepError(
            ExitCode.INVALID,
            "the parameter database names what is dropped and made anew: another than maintenanceDatabase",
        )
    server = Server.of(step)
    work = Path(tempfile.mkdtemp(prefix="restore-", dir=step.environment.get("BASCULE_WORK_DIR")))
    try:
        backup = backups.fetch(step, work)
        dump = dumps.opened(backup.path, backup.name)
        results = {"backup": backup.name, **backups.recovery_point(backup.recorded, dump.created)}
        return _restored(server, database, maintenance, backup, dump, results)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _restored(
    server: Server, database: str, maintenance: str, backup: Backup, dump: Dump, results: dict[str, str]
) -> Report:
    major = server.reached(maintenance, SERVER_PATIENCE_SECONDS)
    if dump.major > major:
        raise backups.not_found(
            f"the backup {backup.name} is of PostgreSQL {dump.major}, the server is {major}: "
            "an older server does not take it"
        )
    server.psql(maintenance, _MADE_ANEW, "--set", f"database={database}")
    if dump.custom:
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        server.run(
            ["pg_restore", *options, f"--dbname={_connection(database)}", str(dump.path)], server.variables(database)
        )
    else:
        _play(server, database, dump)
    tables = server.psql(database, _COUNT).strip()
    size = backup.path.stat().st_size
    return Report(f"restored {backup.name} ({size} bytes, {tables} tables) into {database}", results)


def _connection(database: str) -> str:
    """The database's name as a connection string: a name with `=` in it would be taken for one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _play(server: Server, database: str, dump: Dump) -> None:
    """Have psql carry out a dump in SQL, in one transaction. Raises StepError."""
    command = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "--set",
        "ON_ERROR_STOP=1",
        "--output=/dev/null",
    ]
    with tempfile.TemporaryFile(dir=dump.path.parent) as errors:
        process = subprocess.Popen(
            command, env=server.variables(database), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            with process.stdin as script:  # type: ignore[union-attr]  # it is a pipe
                for line in dumps.restricted(dump.path, secrets.token_hex(16)):
                    script.write(line)
        except BrokenPipeError:
            pass  # psql ended first, and says why
        code = process.wait()
        errors.seek(0)
        complaint = errors.read(1 << 16).decode(errors="replace")
    if code:
        raise failed(complaint)


if __name__ == "__main__":
    sys.exit(main(program))
