"""Dumps of PostgreSQL: what kind they are, what they say of themselves, and whether they are whole."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bascule_workers.in_drill.backups import not_found
from bascule_workers.in_step.contract import StepError

_CUSTOM, _GZIP, _ZSTD = b"PGDMP", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_HEAD_LINES, _LINE_LIMIT = 40, 1 << 16
_TAIL_BYTES = 4096
_COMPLETE = b"-- PostgreSQL database dump complete"
_VERSION = re.compile(r"Dumped from database version:? (\d+)")
_CREATED = re.compile(
    r"(?:Archive created at|-- Started on) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:UTC|GMT)\s*$", re.MULTILINE
)
_RESTRICT = re.compile(rb"\\restrict ([A-Za-z0-9]{1,128})\n?")


@dataclass(frozen=True)
class Dump:
    """A whole dump."""

    path: Path
    custom: bool
    """Whether it is for pg_restore; else it is SQL."""
    major: int
    """Of the server that it was taken from; 0: it does not say."""
    created: datetime | None
    """When pg_dump began: before it saw any data."""


def opened(path: Path, name: str) -> Dump:
    """Look at a dump as a whole, decompressed where it is compressed. Raises StepError for what is none."""
    path = _decompressed(path, name)
    with path.open("rb") as content:
        custom = content.read(len(_CUSTOM)) == _CUSTOM
    head = _listing(path, name) if custom else _head(path)
    if custom:
        _read_through(path, name)
    elif "PostgreSQL database dump" not in head:
        raise not_found(f"the backup {name} is no dump of pg_dump's, in custom format or in SQL")
    elif _COMPLETE not in _tail(path):
        raise not_found(f"the backup {name} is truncated: the line that a dump in SQL ends with is not there")
    version, created = _VERSION.search(head), _CREATED.search(head)
    return Dump(
        path,
        custom,
        int(version[1]) if version else 0,
        datetime.fromisoformat(created[1]).replace(tzinfo=UTC) if created else None,
    )


def _decompressed(path: Path, name: str) -> Path:
    with path.open("rb") as content:
        magic = content.read(4)
    target = path.with_name(f"{path.name}.plain")
    try:
        if magic.startswith(_GZIP):
            with gzip.open(path) as source, target.open("wb") as plain:
                shutil.copyfileobj(source, plain, 1 << 20)
            return target
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise not_found(f"the backup {name} is truncated or damaged: {error}") from None
    if magic.startswith(_ZSTD):
        command = ["zstd", "--decompress", "--quiet", "--force", str(path), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise not_found(f"the backup {name} is truncated or damaged: {done.stderr.strip()[:200]}")
        return target
    return path


def _listing(path: Path, name: str) -> str:
    return _pg_restore(["--list"], path, name)


def _read_through(path: Path, name: str) -> None:
    """Have all of it read, without a database: nothing is dropped for a dump that ends in the middle."""
    _pg_restore(["--file=/dev/null"], path, name)


def _pg_restore(words: list[str], path: Path, name: str) -> str:
    command = ["pg_restore", *words, str(path)]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return done.stdout
    raise _unreadable(name, done.stderr)


def _unreadable(name: str, complaint: str) -> StepError:
    text = complaint.strip().partition("\n")[0].removeprefix("pg_restore: ").removeprefix("error: ")
    if "unsupported version" in text:
        return not_found(f"the backup {name} was made by a newer PostgreSQL than this image has: {text}")
    return not_found(f"the backup {name} is truncated or damaged: {text[:200]}")


def _head(path: Path) -> str:
    with path.open("rb") as content:
        lines = [content.readline(_LINE_LIMIT) for _ in range(_HEAD_LINES)]
    return b"".join(lines).decode(errors="replace")


def _tail(path: Path) -> bytes:
    with path.open("rb") as content:
        content.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return content.read()


def restricted(path: Path, key: str) -> Iterator[bytes]:
    """The SQL of a dump for psql, which is told to take no commands of its own from it: `\\!` and `\\connect` would
    lead out of the drill. pg_dump's own lines that say so, with another key, are left out."""
    yield f"\\restrict {key}\n".encode()
    own = b""
    with path.open("rb") as content:
        heading = True
        for line in content:
            if heading and (found := _RESTRICT.fullmatch(line)):
                own = found[1]
                continue
            if own and line.rstrip(b"\n") == b"\\unrestrict " + own:
                continue
            heading = heading and (not line.strip() or line.startswith(b"--"))
            yield line
    yield f"\n\\unrestrict {key}\n".encode()
