"""What reaches a terminal: text, never a command to it."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from bascule_cli.terminal import clean, clean_lines, columns, console

HOSTILE = [
    pytest.param("a\x1b[2Jb", "a\\x1b[2Jb", id="clearing the screen"),
    pytest.param("\x1b]0;title\x07", "\\x1b]0;title\\x07", id="setting the title"),
    pytest.param("done\rfailed", "done\\rfailed", id="overwriting the line"),
    pytest.param("\x9b31m", "\\x9b31m", id="one-byte CSI"),
    pytest.param("abc\u202edcba", "abc\\u202edcba", id="text that runs backwards"),
    pytest.param("pay\u200bpal", "pay\\u200bpal", id="invisible characters"),
    pytest.param("one\u2028two", "one\\u2028two", id="Unicode's line separator"),
    pytest.param("\b\b\bok", "\\x08\\x08\\x08ok", id="backspaces"),
    pytest.param("[bold]boo[/bold]", "[bold]boo[/bold]", id="markup is text"),
    pytest.param("Grüße 你好 ✓", "Grüße 你好 ✓", id="other languages stay"),
    pytest.param("two\nlines", "two lines", id="lines become one"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_nothing_invisible_is_left_of_any_text(text: str) -> None:
    assert not [c for c in clean(text) if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")]


def test_lines_and_tabs_of_logs_stay() -> None:
    assert clean_lines("a\tb\r\nc\x1b[0m") == "a\tb\nc\\x1b[0m"


def test_the_console_takes_no_markup_and_wraps_nothing_in_a_pipe() -> None:
    stream = io.StringIO()
    console(stream).print(Text("[red]x[/red] :smile: " + "y" * 300, "bold"))
    assert stream.getvalue() == "[red]x[/red] :smile: " + "y" * 300 + "\n"


def test_columns_are_as_wide_as_their_widest_cell_on_the_screen() -> None:
    rows = [[Text("你好"), Text("b")], [Text("a"), Text("c" * 30)]]
    assert [line.plain for line in columns(rows, width=12)] == ["你好  b", "a     ccccc…"]
