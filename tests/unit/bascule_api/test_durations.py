"""Durations are equal when as long, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bascule_api.base import Duration, Timeout

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
parts = st.lists(st.tuples(st.integers(0, 9_999), st.sampled_from("dhms")), min_size=1, max_size=4)
adapter = TypeAdapter(Duration)


def text_of(given_parts: list[tuple[int, str]]) -> str:
    return "".join(f"{number}{unit}" for number, unit in given_parts)


@given(parts)
def test_a_duration_is_as_long_as_its_parts(given_parts: list[tuple[int, str]]) -> None:
    assert adapter.validate_python(text_of(given_parts)).seconds == sum(n * UNITS[unit] for n, unit in given_parts)


@given(parts, parts)
def test_equality_is_that_of_length_and_agrees_with_inequality_and_hash(
    one: list[tuple[int, str]], other: list[tuple[int, str]]
) -> None:
    left, right = Duration(text_of(one)), Duration(text_of(other))
    equal = left.seconds == right.seconds
    assert (left == right) is equal
    assert (left != right) is not equal
    assert not equal or hash(left) == hash(right)


@given(parts)
def test_a_duration_equals_itself_in_seconds(given_parts: list[tuple[int, str]]) -> None:
    duration = Duration(text_of(given_parts))
    assert duration == Duration(f"{duration.seconds}s")


@pytest.mark.parametrize("other", ["", "soon", "0", None, 0, 3600])
def test_a_duration_equals_nothing_that_is_none(other: object) -> None:
    assert Duration("0s") != other
    assert Duration("1h") != other


@pytest.mark.parametrize("text", ["", "1", "h", "1h ", " 1h", "-1h", "1.5h", "1w", "1h\n", "1H", "1" * 32 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(text)


@pytest.mark.parametrize("text", ["9999d99999h", "999999999s", "0s"])
def test_a_duration_up_to_the_bounds_is_one(text: str) -> None:
    assert adapter.validate_python(text) == text


@pytest.mark.parametrize("text", ["99999999d", "9" * 31 + "s"])
def test_a_duration_that_no_timer_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is too long"):
        adapter.validate_python(text)


@pytest.mark.parametrize("text", ["0s", "0d0h0m0s"])
def test_a_timeout_is_longer_than_nothing(text: str) -> None:
    with pytest.raises(ValidationError, match="must be longer than 0s"):
        TypeAdapter(Timeout).validate_python(text)
    assert TypeAdapter(Timeout).validate_python("1s").seconds == 1


def test_a_duration_is_written_as_it_was_given() -> None:
    assert adapter.dump_python(adapter.validate_python("90m"), mode="json") == "90m"
