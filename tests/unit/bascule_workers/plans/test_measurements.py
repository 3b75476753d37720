"""Counting measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.base import Duration, Timeout
from bascule_api.gates import Gate, HttpMeasure, ProcedureMeasure, Verdict
from bascule_workers.plans.measurements import START_SECONDS, Measurement, Tally, longest, most

LETTERS = {"P": Verdict.PASS, "F": Verdict.FAIL, "I": Verdict.INCONCLUSIVE}


def gate(count: int = 1, failures: int = 0, inconclusive: int = 0) -> Gate:
    return Gate(
        name="up",
        http=HttpMeasure(url="http://web/"),
        count=count,
        failure_limit=failures,
        inconclusive_limit=inconclusive,
    )


def tally(letters: str) -> Tally:
    found = Tally()
    for number, letter in enumerate(letters):
        found = found.plus(Measurement(LETTERS[letter], str(number)))
    return found


@pytest.mark.parametrize(
    ("letters", "limits", "verdict"),
    [
        pytest.param("", gate(), None, id="nothing measured"),
        pytest.param("P", gate(), Verdict.PASS, id="one of one"),
        pytest.param("PP", gate(3), None, id="two of three"),
        pytest.param("PPP", gate(3), Verdict.PASS, id="three of three"),
        pytest.param("F", gate(3), Verdict.FAIL, id="the first failure where none may fail"),
        pytest.param("FP", gate(2, 1), None, id="a failure that may be"),
        pytest.param("FPF", gate(2, 1), Verdict.FAIL, id="one more than may be"),
        pytest.param("FPP", gate(2, 1), Verdict.PASS, id="passed in spite of a failure"),
        pytest.param("I", gate(), Verdict.INCONCLUSIVE, id="nothing said where that may not be"),
        pytest.param("IPI", gate(2, 5, 1), Verdict.INCONCLUSIVE, id="too often nothing said"),
        pytest.param("IIP", gate(1, 0, 2), Verdict.PASS, id="nothing said, then passed"),
    ],
)
def test_verdicts(letters: str, limits: Gate, verdict: Verdict | None) -> None:
    assert tally(letters).verdict(limits) == verdict


@given(
    st.text("PFI", max_size=40),
    st.integers(1, 8),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_a_verdict_comes_no_later_than_it_must_and_never_changes(
    letters: str, count: int, failures: int, inconclusive: int
) -> None:
    limits, found = gate(count, failures, inconclusive), Tally()
    for number, letter in enumerate(letters):
        found = found.plus(Measurement(LETTERS[letter], ""))
        seen = letters[: number + 1]
        reached = {
            Verdict.PASS: seen.count("P") >= count,
            Verdict.FAIL: seen.count("F") > failures,
            Verdict.INCONCLUSIVE: seen.count("I") > inconclusive,
        }
        assert [verdict for verdict, is_so in reached.items() if is_so] == (
            [found.verdict(limits)] if found.verdict(limits) else []
        )
        if found.verdict(limits):
            assert number < most(limits)
            return
    assert len(letters) < most(limits)


def test_words_say_what_counts() -> None:
    assert tally("PP").words(gate(3)) == "2 of 3 passed, last 1"
    assert tally("PFI").words(gate(3, 1)) == "1 of 3 passed, 1 failed (1 may), 1 said nothing (none may), last 2"
    assert Tally().words(gate(3)) == "0 of 3 passed"


def test_counts_come_back() -> None:
    assert Tally.of(tally("PFFI").counts(), "3") == tally("PFFI")


def test_the_longest_that_a_gate_takes() -> None:
    timed = gate(3, 1, 1).model_copy(update={"timeout": Timeout("10s"), "interval": Timeout("1m")})
    assert longest(timed) == START_SECONDS + 5 * 10 + 4 * 60
    procedure = timed.model_copy(update={"http": None, "procedure": ProcedureMeasure(name="smoke")})
    assert longest(procedure, Duration("2m")) == 5 * (START_SECONDS + 120) + 4 * 60
