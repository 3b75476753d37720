"""Files that are generated and committed: written by `make gen`, compared by `make check`."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def differences(files: Mapping[Path, str]) -> str:
    """A unified diff from what is on disk to what would be generated; empty when all is current."""
    parts: list[str] = []
    for path, wanted in files.items():
        name = str(path.relative_to(ROOT))
        found = path.read_text() if path.exists() else ""
        parts += difflib.unified_diff(
            found.splitlines(keepends=True),
            wanted.splitlines(keepends=True),
            f"{name} (committed)",
            f"{name} (current)",
        )
    return "".join(parts)


def write(files: Mapping[Path, str]) -> None:
    """Write what has changed, and leave the rest alone."""
    for path, text in files.items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


def main(program: str, description: str | None, files: Mapping[Path, str]) -> int:
    """The command line that the generators share. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail with a diff when a file is not current"
    )
    if not parser.parse_args().check:
        write(files)
        return 0
    if found := differences(files):
        sys.stdout.write(found)
        print(f"\nnot current: run `make gen` (python -m {program}) and commit the result", file=sys.stderr)
        return 1
    return 0
