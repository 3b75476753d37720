"""Asks a database of the drill and compares the answer: `python3 -m bascule_workers.in_drill.sql_probe`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from bascule_workers.in_drill.postgres import Server
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError, main

SERVER_PATIENCE_SECONDS = 20.0
QUERY_SECONDS = 60
SHOWN = 120
"""Characters of an answer that are told."""


def program(step: Step) -> Report:
    """Ask, compare, tell up to when there are data. Raises StepError for an answer that is not the expected one."""
    query, as_of_query, expected = (step.text(name).strip() for name in ("query", "asOfQuery", "expect"))
    server, database = Server.of(step), step.text("database", "postgres").strip()
    for name, text in (("query", query), ("asOfQuery", as_of_query)):
        # psql takes such words for commands of its own.
        if text.startswith("\\"):
            raise StepError(ExitCode.INVALID, f"the parameter {name} is no SQL")
    if not query:
        raise StepError(ExitCode.INVALID, "the parameter query is empty")
    server.reached(database, SERVER_PATIENCE_SECONDS)
    answer = _asked(server, database, query)
    if answer != expected:
        raise StepError(ExitCode.VIOLATED, f"the query gave {_shown(answer)}, not {_shown(expected)}")
    results = {"dataAsOf": _moment(_asked(server, database, as_of_query))} if as_of_query else {}
    return Report(f"the query gave {_shown(answer)}", results)


def _asked(server: Server, database: str, query: str) -> str:
    """The answer's rows as lines, fields parted by `|`; nothing may be changed by asking."""
    options = f"-c default_transaction_read_only=on -c statement_timeout={QUERY_SECONDS}s"
    words = ["--command", query]
    return server.psql(database, "", *words, options=options, limit_seconds=QUERY_SECONDS + 30.0).strip()


def _moment(answer: str) -> str:
    """The answer to asOfQuery as an RFC 3339 time. Raises StepError for what is none."""
    try:
        found = datetime.fromisoformat(answer)
    except ValueError:
        raise StepError(ExitCode.VIOLATED, f"asOfQuery gave no time: {_shown(answer)}") from None
    if found.tzinfo is None:
        told = f"asOfQuery gave a time without time zone: {_shown(answer)}; cast it to timestamptz"
        raise StepError(ExitCode.VIOLATED, told)
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(text: str) -> str:
    line = text.replace("\n", "; ")
    return (line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…") or "nothing"


if __name__ == "__main__":
    sys.exit(main(program))
