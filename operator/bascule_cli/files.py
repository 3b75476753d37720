"""Files that verbs write."""

from __future__ import annotations

from pathlib import Path

from bascule_cli import terminal
from bascule_cli.errors import CliError, ExitCode


def write(path: Path, content: str) -> None:
    """Write a file, and say so on stderr. Raises CliError when it cannot be written."""
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{path} cannot be written: {error.strerror or error}") from None
    terminal.note(f"written: {path}")
