"""The feed's questions, and what of the answers is news."""

from __future__ import annotations

from datetime import timedelta

from bascule_operator.feed import Window
from bascule_operator.observe import Row
from bascule_operator.store import Key, LiveRun
from tests.support.subjects import NOW, UID, a_closed, an_open

ID = f"imagebuild/{UID}/1"
RUN = LiveRun(Key("ImageBuild", "acme-dev", "web"), UID, 1, "acme", "acme", ID)


def row(number: int = 1, seconds: float = 0, closed: bool = False) -> Row:
    stamp = NOW + timedelta(seconds=seconds)
    return Row(ID, "ImageBuild", UID, a_closed() if closed else an_open(number), stamp, stamp)


def test_the_first_question_is_for_everything_that_runs() -> None:
    question, wide = Window().question(0)
    assert (question, wide) == ("BasculeUid IS NOT NULL AND ExecutionStatus = 'Running'", True)


def test_then_for_what_is_newer_than_the_mark_less_three_seconds_and_every_ten_less_sixty() -> None:
    window = Window()
    window.question(0)
    window.take(row(), 0)
    near, _ = window.question(1)
    assert near == (
        "BasculeUid IS NOT NULL AND (BasculeUpdatedAt > '2026-11-22T11:59:57.000000Z' "
        "OR CloseTime > '2026-11-22T11:59:57.000000Z')"
    )
    wide, is_wide = window.question(11)
    assert is_wide
    assert "'2026-11-22T11:59:00.000000Z'" in wide
    assert window.question(12)[0] == near
    assert "ExecutionStatus" in window.question(301)[0]


def test_the_mark_never_goes_back() -> None:
    window = Window()
    window.take(row(2, seconds=5), 0)
    window.take(row(1, seconds=-30), 0)
    assert window.mark == NOW + timedelta(seconds=5)


def test_only_another_progress_or_the_end_is_news() -> None:
    window = Window()
    assert [
        window.take(row(1), 0),
        window.take(row(1), 1),
        window.take(row(2), 2),
        window.take(row(closed=True), 3),
    ] == [
        True,
        False,
        True,
        True,
    ]
    assert not window.take(row(closed=True), 4)


def test_a_run_without_news_for_half_a_minute_is_looked_at_once() -> None:
    window = Window(mark=NOW, full_at=0)
    window.take(row(), 0)
    assert window.silent({ID: RUN}, 29) == []
    assert window.silent({ID: RUN}, 30) == [RUN]
    assert window.silent({ID: RUN}, 90) == []
    window.take(row(2), 100)
    assert window.silent({ID: RUN}, 130) == [RUN]


def test_a_run_missing_among_all_that_run_is_looked_at() -> None:
    window = Window()
    window.question(0)
    assert window.silent({ID: RUN}, 0) == []
    window.question(2)
    assert window.silent({ID: RUN}, 2) == [RUN]


def test_runs_that_are_over_are_forgotten() -> None:
    window = Window()
    window.take(row(), 0)
    window.silent({}, 1)
    assert (window.seen, window.heard) == ({}, {})
