"""Restores files into a claim of the drill: `python3 -m bascule_workers.in_drill.files_restore`.

They are unpacked beside what is there, which gives way only when the archive was read to its end: whatever an attempt
that died left behind, the end is the same.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from bascule_workers.in_drill import backups
from bascule_workers.in_drill.backups import not_found
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError, main

TARGET = "/target"
PARTIAL = ".bascule-partial"
KEPT = (PARTIAL, "lost+found")
FILES_LIMIT = 1_000_000
_END = 2 * 512
_CHUNK = 1 << 20
_LABEL = re.compile(r"^START TIME: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:UTC|GMT)\s*$", re.MULTILINE)


class Watched:
    """An archive as a stream, of which the end is remembered.

    An archive ends with two empty blocks. tarfile does not miss them: one that was cut off between two files would
    seem to be whole.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._end = b""

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._end = (self._end + content[-_END:])[-_END:]
        return content

    def demand_end(self, name: str) -> None:
        """Read what is left, by which a compressed archive is checked as well. Raises StepError."""
        while self.read(_CHUNK):
            pass
        if self._end != bytes(_END):
            raise not_found(f"the archive {name} is truncated: it has no end")


def program(step: Step) -> Report:
    """Fetch, unpack, exchange. Raises StepError."""
    target = Path(step.environment.get("BASCULE_TARGET_DIR") or TARGET)
    work = Path(tempfile.mkdtemp(prefix="restore-", dir=step.environment.get("BASCULE_WORK_DIR")))
    try:
        backup = backups.fetch(step, work)
        partial = target / PARTIAL
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        files, size = _unpacked(backup.path, backup.name, partial)
        results = {"backup": backup.name, **backups.recovery_point(backup.recorded, _labelled(partial))}
        _exchange(target, partial)
    except OSError as error:
        raise StepError(ExitCode.INVALID, f"the claim cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Report(f"restored {backup.name}: {files} files of {size} bytes", results)


def _unpacked(path: Path, name: str, folder: Path) -> tuple[int, int]:
    """Unpack files and folders, nothing else. Returns how many files there were, and their bytes."""
    files = size = count = 0
    try:
        with _tar(path, name) as plain:
            stream = Watched(plain)
            archive = tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|")  # noqa: SIM115 - there is nothing to close
            for member in archive:
                count += 1
                # It remembers every entry, and there may be a million.
                cast(Any, archive).members.clear()
                if count > FILES_LIMIT:
                    raise not_found(f"the archive {name} holds more than {FILES_LIMIT} entries")
                place = folder / _checked(member, name)
                if member.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                    place.chmod(0o700 | member.mode & 0o777)
                    continue
                size += _written(archive, member, place, name)
                files += 1
            stream.demand_end(name)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise not_found(f"the archive {name} is truncated or damaged: {error}") from None
    if not count:
        raise not_found(f"the archive {name} is empty")
    return files, size


def _checked(member: tarfile.TarInfo, name: str) -> PurePosixPath:
    """Where an entry belongs below the target. Raises StepError for one that leads elsewhere, or is no file."""
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts or "\0" in member.name or place.parts[:1] == (PARTIAL,):
        raise not_found(f"the archive {name} leads out of its folder: {member.name[:128]!r}")
    if member.issparse() or not (member.isreg() or member.isdir()):
        kind = "a sparse file" if member.issparse() else "a link" if member.islnk() or member.issym() else "no file"
        raise not_found(f"the archive {name} holds {kind}: {member.name[:128]!r}; only files and folders are restored")
    return place


def _written(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path, name: str) -> int:
    """Write one file. What does not fit is told before the disk is full."""
    place.parent.mkdir(parents=True, exist_ok=True)
    space = os.statvfs(place.parent)
    if member.size > space.f_bavail * space.f_frsize:
        raise StepError(ExitCode.INVALID, f"the claim is too small for {member.name[:128]!r} of {member.size} bytes")
    source = archive.extractfile(member)
    if source is None:
        raise not_found(f"the archive {name} has no content for {member.name[:128]!r}")
    with source, place.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
    place.chmod(0o600 | member.mode & 0o777)
    os.utime(place, (member.mtime, member.mtime))
    return member.size


@contextmanager
def _tar(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The archive, decompressed while it is read."""
    with path.open("rb") as content:
        magic = content.read(4)
    if magic.startswith(b"\x1f\x8b"):
        with gzip.open(path) as plain:
            yield plain  # type: ignore[misc]  # it reads like a file
        return
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        with subprocess.Popen(
            ["zstd", "--decompress", "--stdout", "--quiet", str(path)], stdout=subprocess.PIPE
        ) as tool:
            if tool.stdout is None:
                raise StepError(ExitCode.USAGE, "zstd has no output")
            try:
                yield tool.stdout
            finally:
                tool.stdout.close()
        if tool.returncode:
            raise not_found(f"the archive {name} is truncated or damaged")
        return
    with path.open("rb") as plain_file:
        yield plain_file


def _labelled(folder: Path) -> datetime | None:
    """When a base backup of PostgreSQL began, where the archive is one."""
    label = folder / "backup_label"
    if not label.is_file():
        return None
    found = _LABEL.search(label.read_text(encoding="utf-8", errors="replace")[:65_536])
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None


def _exchange(target: Path, partial: Path) -> None:
    """Put what was unpacked in place of what is there."""
    for entry in sorted(target.iterdir()):
        if entry.name not in KEPT:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for entry in sorted(partial.iterdir()):
        entry.rename(target / entry.name)
    partial.rmdir()


if __name__ == "__main__":
    sys.exit(main(program))
