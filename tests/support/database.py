"""A real PostgreSQL server on loopback, and dumps of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "a test's own"
PROGRAMS = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True)
class Database:
    """A server on 127.0.0.1."""

    port: int

    @property
    def _client(self) -> dict[str, str]:
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": PASSWORD,
            "TZ": "UTC",
        }

    def sql(self, database: str, statement: str) -> str:
        command = ["psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
        return subprocess.run(command, env=self._client, check=True, capture_output=True, text=True).stdout.strip()

    def dump(self, database: str, *options: str) -> bytes:
        command = ["pg_dump", "-d", database, *options]
        return subprocess.run(command, env=self._client, check=True, capture_output=True).stdout


@contextmanager
def serving() -> Iterator[Database]:
    """Serve for a while. Needs PostgreSQL 15's programs; as root, the user `postgres`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not below pytest's own folder, which is its user's alone.
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    (home / "password").write_text(PASSWORD)
    data = home / "data"
    as_nobody: list[str] = []
    if os.geteuid() == 0:
        as_nobody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        subprocess.run(["chown", "-R", "postgres:postgres", str(home)], check=True)
    options = [
        "--username=postgres",
        f"--pwfile={home / 'password'}",
        "--auth=scram-sha-256",
        "--no-sync",
        "-E",
        "UTF8",
    ]
    _run([*as_nobody, str(PROGRAMS / "initdb"), "--pgdata", str(data), "--locale=C.UTF-8", *options], home)
    settings = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_nobody, str(PROGRAMS / "pg_ctl"), "--pgdata", str(data), "--log", str(home / "log"), "--wait"]
    _run([*control, "--options", settings, "start"], home)
    try:
        yield Database(port)
    finally:
        _run([*control, "--mode", "immediate", "stop"], home)
        shutil.rmtree(home)


def _run(command: list[str], home: Path) -> None:
    subprocess.run(command, cwd=home, check=True, stdout=subprocess.DEVNULL)
