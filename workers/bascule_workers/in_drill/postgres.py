"""A PostgreSQL server of the drill's own namespace, through the programs of its client."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bascule_workers.in_step.contract import ExitCode, Step, StepError

CONNECT_SECONDS = "10"
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_REFUSED = re.compile(
    r"authentication failed|no pg_hba.conf entry|permission denied|must be owner|must be superuser|no password supplied"
)
_NO_SERVER = re.compile(
    r"could not (connect|translate)|connection (to server|refused)|the database system is|server closed the connection"
    r"|could not receive data|terminating connection"
)


@dataclass(frozen=True)
class Server:
    """Where it is, and as whom it is asked."""

    host: str
    port: str
    user: str
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def of(cls, step: Step) -> Server:
        """The Service of the drill's namespace that the parameters name, and the environment's password for it.

        A name of the drill's namespace and no other host: whoever restores may reach out, and must not write there.
        """
        service, namespace = step.text("service").strip(), step.variable("BASCULE_NAMESPACE")
        if not _SERVICE.fullmatch(service):
            raise StepError(ExitCode.INVALID, f"the parameter service names no Service: {service[:64]}")
        return cls(
            host=f"{service}.{namespace}.svc",
            port=step.text("port", "5432").strip(),
            user=step.text("user", "postgres").strip(),
            password=_password(step),
            environment=step.environment,
        )

    def variables(self, database: str, **more: str) -> dict[str, str]:
        """The environment of the client's programs."""
        return {
            **self.environment,
            "PGHOST": self.host,
            "PGPORT": self.port,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
            "PGCONNECT_TIMEOUT": CONNECT_SECONDS,
            "PGAPPNAME": "bascule-drill",
            # Messages are read, and times have to be the same everywhere.
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PGTZ": "UTC",
            "PGDATESTYLE": "ISO",
            **more,
        }

    def psql(
        self, database: str, script: str, *words: str, options: str = "", limit_seconds: float | None = None
    ) -> str:
        """What psql prints for a script of ours. Raises StepError."""
        command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", *words]
        return self.run(command, self.variables(database, PGOPTIONS=options), script, limit_seconds)

    def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        script: str = "",
        limit_seconds: float | None = None,
    ) -> str:
        """What a program of the client prints. Raises StepError with what it complains of."""
        try:
            done = subprocess.run(
                command,
                env=dict(variables),
                input=script,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=limit_seconds,
            )
        except subprocess.TimeoutExpired:
            raise StepError(ExitCode.INVALID, f"{command[0]} took longer than {limit_seconds:g} s") from None
        if done.returncode:
            raise failed(done.stderr)
        return done.stdout

    def reached(self, database: str, patience: float) -> int:
        """The server's major version, once it answers. Raises StepError."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return int(self.psql(database, "SHOW server_version_num").strip()) // 10_000
            except StepError as error:
                if error.report.exit_code is not ExitCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(1)


def failed(complaint: str) -> StepError:
    """What the client's programs complain of, with the exit code that it deserves."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    text = next((line for line in lines if re.search(r"error:|ERROR:|FATAL:", line)), lines[0] if lines else "no word")
    if _REFUSED.search(complaint):
        return StepError(ExitCode.REFUSED, f"the database refuses us: {text}")
    if _NO_SERVER.search(complaint):
        return StepError(ExitCode.UNAVAILABLE, f"the database does not answer: {text}")
    return StepError(ExitCode.INVALID, text)


def _password(step: Step) -> str:
    folder, key = step.environment.get("BASCULE_ENVIRONMENT_DIR", ""), step.text("passwordKey", "password").strip()
    if not folder:
        return ""
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", key) or not Path(folder, key).is_file():
        raise StepError(ExitCode.INVALID, f"the environmentSecret has no key {key[:64]}")
    return Path(folder, key).read_text(encoding="utf-8", errors="replace").removesuffix("\n")
