"""What people get to read of a failure."""

from __future__ import annotations

import base64

import pytest

from bascule_workers.plans import failures


@pytest.mark.parametrize(
    ("log", "told"),
    [
        pytest.param("one\n\n  \ntwo\n", "one\ntwo", id="empty lines are left out"),
        pytest.param("\x1b[31mred\x1b[0m\n", "red", id="colours are left out"),
        pytest.param("2026-11-22T03:15:00.123Z disk full\n", "disk full", id="timestamps are left out"),
        pytest.param("[03:15:00] disk full\n", "disk full", id="short timestamps too"),
        pytest.param("again\nagain\nagain\n", "again", id="repetitions are told once"),
        pytest.param("10%\r50%\r100%\n", "100%", id="of a progress bar the end is told"),
        pytest.param("\x00bell\x07\n", "bell", id="control characters are left out"),
        pytest.param("", "", id="nothing is nothing"),
        pytest.param("at 12:30 it broke\n", "at 12:30 it broke", id="a time within a sentence stays"),
    ],
)
def test_an_excerpt_has_what_matters(log: str, told: str) -> None:
    assert failures.excerpt(log) == told


def test_an_excerpt_keeps_the_last_lines_and_is_bounded() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    assert failures.excerpt(log).splitlines() == [f"line {number}" for number in range(80, 100)]
    long = failures.excerpt("x" * 5000 + " the end")
    assert len(long) == failures.EXCERPT_LIMIT
    assert long.endswith(" the end")


def test_secrets_are_redacted_in_plain_in_base64_and_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nabcdefghij\nklmnopqrst\n-----END KEY-----"
    encoded = base64.b64encode(b"hunter2!").decode()
    text = f"password hunter2! or {encoded}, then klmnopqrst"
    assert failures.redacted(text, ["hunter2!", key]) == "password [redacted] or [redacted], then [redacted]"


def test_short_values_are_no_secrets_since_redacting_them_would_blank_everything() -> None:
    assert failures.redacted("a git test", ["git"]) == "a git test"


@pytest.mark.parametrize(("count", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 30), (10_000, 30)])
def test_waits_grow_to_half_a_minute(count: int, seconds: float) -> None:
    assert failures.backoff(count) == seconds


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert failures.shortened("a\n  b") == "a b"
    assert len(failures.shortened("x" * 1000)) == failures.MESSAGE_LIMIT
