"""Faults share a life only where each would still be told by it."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.support.harness.calls import Point
from tests.support.harness.gate import ENDINGS, Fault, Kind
from tests.support.harness.lives import LIVES
from tests.support.harness.packing import Case, packed


def fault(kind: Kind, stage: str, who: str = "operator", number: int = 1) -> Fault:
    return Fault(kind, Point(stage, who, "kubernetes", "get imagebuilds", number))


EVERY = [
    fault(kind, stage, who, number)
    for kind in Kind
    for stage in sorted({stage for life in LIVES.values() for stage in life.stages})
    for who in ("operator", "worker")
    for number in (1, 2)
]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        pytest.param(fault(Kind.ERROR, "testing"), fault(Kind.ERROR, "waiting"), True, id="two answers in two stages"),
        pytest.param(
            fault(Kind.ERROR, "testing"), fault(Kind.ERROR, "testing", number=2), False, id="two at one in a stage"
        ),
        pytest.param(
            fault(Kind.KILL_AFTER, "testing"), fault(Kind.ERROR, "testing", "worker"), True, id="one at each process"
        ),
        pytest.param(
            fault(Kind.ERROR, "testing"), fault(Kind.KILL_AFTER, "waiting"), False, id="a kill would mend the first"
        ),
        pytest.param(fault(Kind.ERROR, "testing"), fault(Kind.LATE, "waiting"), False, id="so would being replaced"),
        pytest.param(
            fault(Kind.ERROR, "testing"), fault(Kind.KILL_AFTER, "waiting", "worker"), True, id="a kill of the other"
        ),
        pytest.param(fault(Kind.KILL_AFTER, "testing"), fault(Kind.ERROR, "waiting"), True, id="a kill, then an error"),
        pytest.param(
            fault(Kind.ERROR, "testing"), fault(Kind.EDIT, "waiting"), False, id="an edit would replace the run"
        ),
        pytest.param(fault(Kind.EDIT, "testing"), fault(Kind.KILL_AFTER, "waiting"), True, id="an edit, then a kill"),
        pytest.param(
            fault(Kind.ERROR, "testing"), fault(Kind.EDIT, "removed"), True, id="an edit of what is going does nothing"
        ),
        pytest.param(
            fault(Kind.ERROR, "testing"),
            fault(Kind.DELETE, "waiting"),
            False,
            id="a deletion leaves nothing to look at",
        ),
        pytest.param(
            fault(Kind.DELETE, "testing"), fault(Kind.ERROR, "waiting"), False, id="nothing comes after a deletion"
        ),
        pytest.param(fault(Kind.ERROR, "cancelled"), fault(Kind.ERROR, "waiting"), False, id="no life has both"),
    ],
)
def test_which_faults_share_a_life(one: Fault, other: Fault, *, together: bool) -> None:
    def shared(first: Fault, second: Fault) -> bool:
        begun = [Case(life).with_(first) for life in LIVES if Case(life).takes(first)]
        return any(case.takes(second) for case in begun)

    assert shared(one, other) == shared(other, one) == together


@pytest.mark.parametrize("seed", ["one", "another"])
def test_every_fault_is_in_one_life(seed: str) -> None:
    cases = packed(EVERY, seed)

    assert sorted(map(str, (one for case in cases for one in case.faults))) == sorted(map(str, EVERY))
    assert len(cases) < len(EVERY) / 1.5


def test_no_process_is_ended_after_something_else_happened_to_it() -> None:
    for case in packed(EVERY, "one"):
        for first, second in combinations(case.faults, 2):
            ended = second.kind in ENDINGS and first.point.who == second.point.who
            assert not ended or first.kind in (Kind.EDIT, Kind.DELETE), case


def test_the_seed_chooses_which_come_together() -> None:
    assert packed(EVERY, "one") == packed(EVERY, "one")
    assert set(map(str, packed(EVERY, "one"))) != set(map(str, packed(EVERY, "another")))
