"""The feed's questions, and what of the answers is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bascule_api.conditions import Phase
from bascule_operator.observe import Row
from bascule_operator.store import Key, LiveRun
from bascule_operator.windows import Window
from tests.support.subjects import NOW, UID, a_closed, an_open, progress

ID = f"imagebuild/{UID}/1"
RUN = LiveRun(Key("ImageBuild", "acme-dev", "web"), UID, 1, "acme", "acme", ID)


def row(number: int = 1, seconds: float = 0, closed: bool = False, **view: Any) -> Row:
    stamp = NOW + timedelta(seconds=seconds)
    shown = replace(a_closed() if closed else an_open(number), **view)
    return Row(ID, "ImageBuild", UID, shown, stamp, stamp)


def test_the_first_question_is_for_everything_that_runs() -> None:
    question, wide = Window().question(0)
    assert (question, wide) == ("BasculeUid IS NOT NULL AND CloseTime IS NULL", True)


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
    assert "CloseTime IS NULL" in window.question(301)[0]


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
    assert (window.seen, window.heard, window.shown) == ({}, {}, {})


OLDER = [
    pytest.param(row(3), row(2), id="an earlier progress"),
    pytest.param(row(closed=True), row(3), id="still open after the end"),
    pytest.param(
        row(1, run_id="second", started_at=NOW),
        row(closed=True, run_id="first", started_at=NOW - timedelta(minutes=1)),
        id="the execution that a reset put an end to",
    ),
    pytest.param(
        row(1, run_id="second", started_at=NOW),
        row(closed=True, run_id="first", started_at=NOW),
        id="the same, within one second",
    ),
    pytest.param(
        row(2, run_id="second", started_at=NOW),
        row(1, run_id="first", started_at=NOW, continued=True),
        id="the execution that it continued, within one second",
    ),
    pytest.param(
        row(2, run_id="second", started_at=NOW, continued=True),
        row(2, run_id="second", started_at=NOW),
        id="still open after it continued as new",
    ),
]


@pytest.mark.parametrize(("known", "late"), OLDER)
def test_an_older_row_is_no_news_and_the_newer_one_is_not_told_again(known: Row, late: Row) -> None:
    window = Window()
    assert window.take(known, 0)
    assert not window.take(late, 1)
    assert not window.take(known, 2)


def test_the_execution_after_a_reset_is_news_though_its_progress_begins_anew() -> None:
    window = Window()
    window.take(row(7, run_id="first", started_at=NOW - timedelta(minutes=1)), 0)
    assert window.take(row(2, run_id="second", started_at=NOW), 1)


def test_a_run_that_waits_for_people_is_not_looked_at_for_want_of_news() -> None:
    window = Window(mark=NOW, full_at=0)
    window.take(row(progress=progress(phase=Phase.WAITING)), 0)
    window.silent({ID: RUN}, 0)
    assert window.silent({ID: RUN}, 200) == []
    window.take(row(2), 200)
    assert window.silent({ID: RUN}, 230) == [RUN]


def test_back_from_an_hour_away_everything_is_asked_for_and_only_what_is_missing_is_looked_at() -> None:
    other = RUN._replace(workflow_id=f"{ID}0")
    window, live = Window(), {ID: RUN, other.workflow_id: other}
    window.question(0)
    window.take(row(), 0)
    window.silent(live, 0)
    question, wide = window.question(3600)
    assert (question, wide) == ("BasculeUid IS NOT NULL AND CloseTime IS NULL", True)
    window.take(row(2, seconds=3600), 3600)
    assert window.silent(live, 3600) == [other]
    assert window.silent(live, 3601) == []


def test_when_answers_come_again_all_is_asked_for_and_silence_meanwhile_is_not_the_runs() -> None:
    window = Window(mark=NOW, full_at=0)
    window.take(row(), 0)
    window.resume(40)
    assert "CloseTime IS NULL" in window.question(40)[0]
    window.take(row(), 40)
    assert window.silent({ID: RUN}, 40) == []


def test_problems_that_temporal_reports_are_news_and_so_is_their_end() -> None:
    window = Window()
    window.take(row(), 0)
    assert window.take(row(problems="category=WorkflowTaskFailed"), 1)
    assert not window.take(row(problems="category=WorkflowTaskFailed"), 2)
    assert window.take(row(), 3)


def test_a_pause_in_temporal_is_news() -> None:
    window = Window()
    window.take(row(), 0)
    assert window.take(row(paused=True), 1)


def test_problems_are_asked_for_twice_a_minute_unless_the_server_does_not_know_the_question() -> None:
    window = Window()
    assert [window.health_due(now) for now in (0, 1, 29, 30, 59, 60)] == [True, False, False, True, False, True]
    window.no_health()
    assert not window.health_due(10_000)


def test_who_is_no_longer_among_the_sick_is_looked_at_once() -> None:
    window = Window()
    assert window.cured({"a", "b"}) == set()
    assert window.cured({"b"}) == {"a"}
    assert window.cured({"b"}) == set()


def test_a_row_that_was_taken_just_so_needs_no_second_look_and_still_counts_as_answered() -> None:
    window = Window()
    window.question(0)
    window.take(replace(row(), fingerprint=7), 0)
    assert window.known(ID, 7)
    assert not window.known(ID, 8)
    window.question(301)
    window.known(ID, 7)
    assert window.answered == {ID}


def asked_again(late_seconds: list[float]) -> Window:
    """A window that got news so far behind the mark."""
    window = Window(mark=NOW, full_at=0, wide_at=0)
    window.question(1)
    for number, late in enumerate(late_seconds):
        window.take(row(number + 1, seconds=-late), 1)
    return window


@pytest.mark.parametrize(
    ("late", "near"),
    [
        pytest.param([0.0] * 49, 3.0, id="too little is known: three seconds"),
        pytest.param([0.0] * 50, 0.5, id="nothing is late: half a second"),
        pytest.param([0.1] * 60 + [1.0] * 40, 1.5, id="half as far again as the late ones needed"),
        pytest.param([0.1] * 99 + [2.0], 0.5, id="one that is late does not count"),
        pytest.param([9.0] * 100, 3.0, id="never more than three seconds"),
    ],
)
def test_a_question_looks_back_as_far_as_rows_are_late(late: list[float], near: float) -> None:
    assert asked_again(late).near == timedelta(seconds=near)
