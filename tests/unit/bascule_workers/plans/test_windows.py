"""Windows, against a clock that is read minute by minute."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bascule_api.fleets import Day, Window
from bascule_workers.plans import windows
from bascule_workers.plans.windows import Standing, standing

QUARTER = 900
"""Every offset of today's zones is a multiple of 15 minutes, and so are the times of these tests."""


def moment(text: str, zone: str = "Etc/UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=windows._zone(zone)).timestamp())


def window(start: str, end: str, *days: Day, zone: str = "Europe/Berlin") -> Window:
    return Window(days=list(days), start=start, end=end, time_zone=zone)


@pytest.mark.parametrize(
    ("given", "now", "is_open", "changes_at"),
    [
        pytest.param(
            window("22:00", "23:00"), moment("2026-05-04T20:30"), True, moment("2026-05-04T21:00"), id="within"
        ),
        pytest.param(
            window("22:00", "23:00"), moment("2026-05-04T20:00"), True, moment("2026-05-04T21:00"), id="as it opens"
        ),
        pytest.param(
            window("22:00", "23:00"), moment("2026-05-04T21:00"), False, moment("2026-05-05T20:00"), id="as it closes"
        ),
        pytest.param(
            window("22:00", "02:00", Day.FRIDAY),
            moment("2026-05-08T23:30"),
            True,
            moment("2026-05-09T00:00"),
            id="after midnight it is still Friday's",
        ),
        pytest.param(
            window("22:00", "02:00", Day.SATURDAY),
            moment("2026-05-08T23:30"),
            False,
            moment("2026-05-09T20:00"),
            id="Saturday's does not open on Friday night",
        ),
        pytest.param(
            window("02:30", "04:00", Day.SUNDAY),
            moment("2026-03-29T00:59"),
            False,
            moment("2026-03-29T01:00"),
            id="a start that does not exist is when the clocks have been put forward",
        ),
        pytest.param(
            window("01:00", "02:30", Day.SUNDAY),
            moment("2026-03-29T00:30"),
            True,
            moment("2026-03-29T01:00"),
            id="an end that does not exist too",
        ),
        pytest.param(
            window("02:10", "02:50", Day.SUNDAY),
            moment("2026-03-28T12:00"),
            False,
            moment("2026-04-05T00:10"),
            id="a window that does not exist that day opens a week later",
        ),
        pytest.param(
            window("02:15", "02:45", Day.SUNDAY),
            moment("2026-10-25T00:20"),
            True,
            moment("2026-10-25T00:45"),
            id="a window that exists twice opens the first time",
        ),
        pytest.param(
            window("02:15", "02:45", Day.SUNDAY),
            moment("2026-10-25T01:20"),
            False,
            moment("2026-11-01T01:15"),
            id="and not the second time",
        ),
        pytest.param(
            window("01:30", "03:30", Day.SUNDAY),
            moment("2026-10-25T00:00"),
            True,
            moment("2026-10-25T02:30"),
            id="over clocks that are put back it is an hour longer",
        ),
        pytest.param(
            window("22:00", "06:00", zone="Asia/Kathmandu"),
            moment("2026-05-04T00:00"),
            True,
            moment("2026-05-04T00:15"),
            id="an offset of three quarters of an hour",
        ),
    ],
)
def test_one_window(given: Window, now: int, is_open: bool, changes_at: int) -> None:
    assert standing([given], now) == Standing(is_open, changes_at, given)


def test_no_windows_are_always_open() -> None:
    assert standing([], 0) == Standing(open=True, changes_at=0)


def test_windows_that_meet_are_one() -> None:
    evening, night = window("20:00", "22:00"), window("22:00", "02:00")
    assert standing([evening, night], moment("2026-05-04T19:00")) == Standing(True, moment("2026-05-05T00:00"), night)


def test_windows_that_cover_everything_never_close() -> None:
    day, night = window("06:00", "18:00"), window("18:00", "06:00")
    assert standing([day, night], moment("2026-05-04T19:00")).changes_at == 0


def test_windows_that_meet_only_in_winter_close_in_summer() -> None:
    here, there = window("00:00", "12:00"), window("11:00", "23:00", zone="Etc/UTC")
    assert standing([here, there], moment("2026-01-04T19:00")) == Standing(True, moment("2026-03-29T10:00"), here)


def test_a_window_on_a_day_that_is_left_out_is_skipped() -> None:
    """Apia went from Thursday to Saturday."""
    friday = window("10:00", "12:00", Day.FRIDAY, zone="Pacific/Apia")
    assert standing([friday], moment("2011-12-30T09:00")).changes_at == moment("2012-01-06T10:00", "Pacific/Apia")


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "zones", ""])
def test_unknown_zones_are_refused(name: str) -> None:
    unknown = Window.model_construct(days=[], start="01:00", end="02:00", time_zone=name)
    with pytest.raises(windows.UnknownTimeZoneError):
        standing([unknown], 0)
    assert windows.check([window("01:00", "02:00"), unknown])[0].startswith("spec.windows[1].timeZone: ")


def test_every_zone_of_the_package_is_known_to_it() -> None:
    for name in windows.known_zones():
        assert standing([window("01:00", "02:00", zone=name)], moment("2026-05-04T00:00")).changes_at


def test_the_rules_are_not_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(tokyo)
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        windows._zone.cache_clear()
        assert standing([window("22:00", "23:00")], moment("2026-05-04T20:30")).open
    finally:
        zoneinfo.reset_tzpath()


def test_words_name_the_window() -> None:
    assert windows.words(window("22:00", "02:00", Day.SATURDAY, Day.SUNDAY)) == "Sat, Sun 22:00–02:00 Europe/Berlin"
    assert windows.words(window("22:00", "02:00", zone="Etc/UTC")) == "daily 22:00–02:00 Etc/UTC"


# Against a clock

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # put forward and back at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Casablanca",  # back for Ramadan
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Etc/UTC",
)
CLOCK_FROM, CLOCK_TO = moment("2025-12-01"), moment("2027-02-01")


@lru_cache(maxsize=16)
def clock(zone: str) -> list[tuple[int, datetime]]:
    """What the zone's clocks show, every quarter of an hour."""
    info = windows._zone(zone)
    return [
        (at, datetime.fromtimestamp(at, info).replace(tzinfo=None, fold=0))
        for at in range(CLOCK_FROM, CLOCK_TO, QUARTER)
    ]


def first_shown(zone: str, wanted: datetime) -> int:
    """Looked up on the clock, from two days before on."""
    begin = (int(wanted.replace(tzinfo=UTC).timestamp()) - 2 * 86_400 - CLOCK_FROM) // QUARTER
    return next(at for at, shows in clock(zone)[begin:] if shows >= wanted)


def opened(given: Window, around: date) -> Iterator[tuple[int, int]]:
    for offset in range(-3, 21):
        day = around + timedelta(days=offset)
        if given.days and list(Day)[day.weekday()] not in given.days:
            continue
        start, end = time.fromisoformat(given.start), time.fromisoformat(given.end)
        closing = day if end > start else day + timedelta(days=1)
        yield (
            first_shown(given.time_zone, datetime.combine(day, start)),
            first_shown(given.time_zone, datetime.combine(closing, end)),
        )


def changes(moments: list[int], is_open: bool, periods: list[tuple[int, int]]) -> int:
    return next(
        (at for at in moments if any(opens <= at < closes for opens, closes in periods) != is_open),
        0,
    )


TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(list(Day)), max_size=3, unique=True),
    start=TIMES,
    end=TIMES,
    time_zone=st.sampled_from(ZONES),
).filter(lambda given: given.start != given.end)
MOMENTS = st.one_of(
    st.integers(moment("2026-01-01"), moment("2026-12-31")),
    # Around the days on which clocks change somewhere.
    *(
        st.integers(moment(day) - 2 * 86_400, moment(day) + 2 * 86_400)
        for day in ("2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01", "2026-02-15")
    ),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(WINDOWS, min_size=1, max_size=3), MOMENTS)
@example([window("00:30", "01:30", zone="America/Havana")], moment("2026-11-01T04:30"))
@example([window("00:30", "01:30", zone="America/Havana")], moment("2026-03-08T04:30"))
@example([window("02:15", "01:45", zone="Australia/Lord_Howe")], moment("2026-04-05T00:00"))
def test_windows_are_as_the_clock_shows_them(given_windows: list[Window], now: int) -> None:
    periods = [period for given in given_windows for period in opened(given, datetime.fromtimestamp(now, UTC).date())]
    found = standing(given_windows, now)
    assert found.open == any(opens <= now < closes for opens, closes in periods)
    # Changes are at starts and ends, so at full quarters.
    quarters = list(range(now // QUARTER * QUARTER + QUARTER, now + 16 * 86_400, QUARTER))
    expected = changes(quarters, found.open, periods)
    if expected:
        assert found.changes_at == expected
    else:
        assert found.changes_at == 0 or found.changes_at > quarters[-1]
