"""Writing to terminals and pipes. What tenants wrote reaches neither as a command nor as markup."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that move the cursor, change the direction of text, or hide in it."""


def clean(text: str) -> str:
    """The text in one line, with every control character written out: `\\x1b[2J` instead of a cleared screen."""
    return _escaped(" ".join(text.split("\n")).strip(), "")


def clean_lines(text: str) -> str:
    """The same for text of several lines, such as logs: line ends and tabs stay."""
    return _escaped(text.replace("\r\n", "\n"), "\n\t")


def _escaped(text: str, kept: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in kept or unicodedata.category(character) not in _INVISIBLE
        else character.encode("unicode_escape").decode()
        if character != "\t"
        else " "
        for character in text
    )


def console(stream: IO[str] | None = None) -> Console:
    """Where to print: colours on a terminal unless NO_COLOR is set, plain lines of any length elsewhere."""
    stream = stream or sys.stdout
    # Nothing is ever parsed as markup, and nothing is coloured by what it looks like.
    made = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.no_color = True
    return made


def unicode_fits(stream: IO[str] | None = None) -> bool:
    """Whether the marks and branches of the trees can be printed; otherwise ASCII stands for them."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    return "utf" in encoding.lower() and os.environ.get("TERM") != "linux"


def error_console() -> Console:
    """For what is no result: notes and errors."""
    return console(sys.stderr)


def note(text: str) -> None:
    """Say something beside the result."""
    error_console().print(Text(clean(text), "dim"))


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def columns(rows: Iterable[list[Text]], width: int | None = None, gap: int = 2) -> list[Text]:
    """Rows as lines with aligned columns. With a width, lines are cut there, which is said by an ellipsis."""
    table = [list(row) for row in rows]
    if not table:
        return []
    wide = [max((cell_len(row[place].plain) for row in table), default=0) for place in range(len(table[0]))]
    lines = []
    for row in table:
        line = Text()
        for place, cell in enumerate(row):
            line.append_text(cell)
            if place < len(row) - 1:
                line.append(" " * (wide[place] + gap - cell_len(cell.plain)))
        line.rstrip()
        if width:
            line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines
