"""When cron expressions are due, held against going through every minute with the zone's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule_operator.decisions import timetables
from bascule_operator.decisions.timetables import Timetable, TimetableError

MINUTE = timedelta(minutes=1)

CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00Z", "2026-10-25T01:00Z"),
    "America/New_York": ("2026-03-08T07:00Z", "2026-11-01T06:00Z"),
    "Australia/Lord_Howe": ("2026-10-03T15:30Z", "2026-04-04T15:00Z"),
    "America/Santiago": ("2026-09-06T04:00Z", "2026-04-05T03:00Z"),
    "Asia/Beirut": ("2026-03-28T22:00Z", "2026-10-24T21:00Z"),
    "Antarctica/Troll": ("2026-03-29T01:00Z", "2026-10-25T01:00Z"),
    "Africa/Casablanca": ("2026-02-15T02:00Z", "2026-03-22T02:00Z"),
}
"""Moments at which clocks are put: by an hour, by half of one, by two, at midnight, for Ramadan."""

CLOCK = ("30 2 * * *", "0 3 * * *", "0,30 2 * * *", "0 0 * * *", "15 0 * * *", "0-59/7 1-3 * * *", "30 23 L * *")
REAL = ("*/5 * * * *", "0 * * * *", "30 * * * *", "*/30 0 * * *", "*/15 2 * * *", "45 */2 * * *", "* 0-3 * * SUN")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def due_times(timetable: Timetable, since: datetime, until: datetime) -> list[datetime]:
    found, moment = [], since
    while (moment := timetable.after(moment)) <= until:
        found.append(moment)
    return found


def minute_by_minute(timetable: Timetable, since: datetime, until: datetime) -> Iterator[datetime]:
    """The rule in its plainest form: watch the clock, and remember the latest time that it has shown."""
    expression, moment, highest = CronSim(timetable.cron, datetime(2026, 1, 1)), since, shown(timetable, since)

    def matches(clock: datetime) -> bool:
        on_time = clock.minute in expression.minutes and clock.hour in expression.hours
        return on_time and clock.month in expression.months and expression.match_day(clock.date())

    while (moment := moment + MINUTE) <= until:
        clock = shown(timetable, moment)
        if timetable.counts_real_time:
            skipped = [clock]
        else:
            skipped = [highest + MINUTE * step for step in range(1, (clock - highest) // MINUTE + 1)]
            highest = max(highest, clock)
        if any(matches(one) for one in skipped):
            yield moment


def shown(timetable: Timetable, moment: datetime) -> datetime:
    return moment.astimezone(timetable.zone).replace(tzinfo=None, fold=0)


@pytest.mark.parametrize("cron", [*CLOCK, *REAL])
@pytest.mark.parametrize(("zone", "change"), [(zone, change) for zone, both in CHANGES.items() for change in both])
def test_around_a_change_of_the_clocks_nothing_is_due_but_what_the_clock_says(
    zone: str, change: str, cron: str
) -> None:
    timetable, middle = timetables.read(cron, zone), at(change)
    assert (middle - MINUTE).astimezone(timetable.zone).utcoffset() != middle.astimezone(timetable.zone).utcoffset()
    since, until = middle - timedelta(hours=27), middle + timedelta(hours=27)
    assert due_times(timetable, since, until) == list(minute_by_minute(timetable, since, until))


NEXT = [
    pytest.param("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", id="skipped: due after that"),
    pytest.param("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-30T00:30Z", id="... and once"),
    pytest.param("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z", id="twice: the first"),
    pytest.param("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z", id="... only"),
    pytest.param("30 2 * * *", "America/New_York", "2026-03-08T06:00Z", "2026-03-08T07:00Z", id="New York: skipped"),
    pytest.param("30 1 * * *", "America/New_York", "2026-11-01T05:30Z", "2026-11-02T06:30Z", id="New York: twice"),
    pytest.param(
        "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:00Z", "2026-10-03T15:30Z", id="half an hour skipped"
    ),
    pytest.param(
        "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:45Z", "2026-04-05T15:15Z", id="half an hour twice"
    ),
    pytest.param("0 0 * * *", "America/Santiago", "2026-09-06T03:00Z", "2026-09-06T04:00Z", id="midnight skipped"),
    pytest.param("0 * * * *", "Europe/Berlin", "2026-10-25T00:00Z", "2026-10-25T01:00Z", id="each real hour"),
    pytest.param("0 3 29 2 *", "Etc/UTC", "2026-11-22T00:00Z", "2028-02-29T03:00Z", id="the 29th of February"),
    pytest.param("0 3 31 * *", "Etc/UTC", "2026-11-01T00:00Z", "2026-12-31T03:00Z", id="the 31st, where there is one"),
    pytest.param("0 3 L * *", "Etc/UTC", "2027-02-01T00:00Z", "2027-02-28T03:00Z", id="the last day of a month"),
    pytest.param("0 3 LW * *", "Etc/UTC", "2027-02-01T00:00Z", "2027-02-26T03:00Z", id="its last workday"),
    pytest.param("0 3 * * TUE#2", "Etc/UTC", "2026-11-22T00:00Z", "2026-12-08T03:00Z", id="its second Tuesday"),
    pytest.param("0 3 * * 5L", "Etc/UTC", "2026-11-22T00:00Z", "2026-11-27T03:00Z", id="its last Friday"),
    pytest.param("0 3 * * 7", "Etc/UTC", "2026-11-22T00:00Z", "2026-11-22T03:00Z", id="7 is Sunday"),
    pytest.param("0 3 13 * FRI", "Etc/UTC", "2026-11-22T00:00Z", "2026-11-27T03:00Z", id="day of month or of week"),
    pytest.param("0 3 */2 * sun", "Etc/UTC", "2026-11-22T04:00Z", "2026-11-29T03:00Z", id="with a star: both"),
    pytest.param("@weekly", "Etc/UTC", "2026-11-22T00:00Z", "2026-11-29T00:00Z", id="a name"),
    pytest.param("0 3 * * *", "Etc/UTC", "2026-11-22T03:00Z", "2026-11-23T03:00Z", id="never the moment itself"),
    pytest.param("0 3 * * *", "Etc/UTC", "2026-11-22T02:59:59Z", "2026-11-22T03:00Z", id="a second before"),
    pytest.param("* * * * *", "Asia/Kathmandu", "2026-11-22T02:59:59Z", "2026-11-22T03:00Z", id="every minute"),
]  # fmt: skip


@pytest.mark.parametrize(("cron", "zone", "moment", "due"), NEXT)
def test_the_next_due_time(cron: str, zone: str, moment: str, due: str) -> None:
    assert timetables.read(cron, zone).after(at(moment)) == at(due)


WRONG = [
    pytest.param("0 0 30 2 *", "Etc/UTC", "0 0 30 2 * never comes", id="the 30th of February"),
    pytest.param("0 0 31 4,6,9,11 *", "Etc/UTC", "never comes", id="the 31st of short months"),
    pytest.param("0 22-4 * * *", "Etc/UTC", "22-4 is no hour; ranges go from the smaller", id="a range backwards"),
    pytest.param("0 0 * * SUN-MON#2", "Etc/UTC", "SUN-MON#2 is no day of week", id="a range of nth days"),
    pytest.param("0 0 * * MON#2/3", "Etc/UTC", "MON#2/3 is no day of week", id="a step through nothing"),
    pytest.param("60 0 * * *", "Etc/UTC", "60 is no minute", id="minute 60"),
    pytest.param("0 0 * *", "Etc/UTC", "does not have five fields", id="four fields"),
    pytest.param("@reboot", "Etc/UTC", "does not have five fields", id="a name that is none"),
    pytest.param("TZ=UTC 0 0 * * *", "Etc/UTC", "does not have five fields", id="a zone in the expression"),
    pytest.param("٣ 0 * * *", "Etc/UTC", "does not have five fields", id="other digits"),
    pytest.param("0 0 * * *", "Mars/Olympus", "spec.schedule.timeZone: there is no time zone Mars/Olympus", id="zone"),
    pytest.param("0 0 * * *", "../../etc/passwd", "there is no time zone", id="a path as zone"),
    pytest.param("0 0 * * *", "localtime", "there is no time zone", id="the machine's own zone"),
]


@pytest.mark.parametrize(("cron", "zone", "says"), WRONG)
def test_what_can_never_be_due_is_named_with_field_and_remedy(cron: str, zone: str, says: str) -> None:
    with pytest.raises(TimetableError, match=r"^spec\.schedule\.(cron|timeZone): ") as raised:
        timetables.read(cron, zone)
    assert says in str(raised.value)


@settings(deadline=None, max_examples=200)
@given(
    cron=st.sampled_from([*CLOCK, *REAL]),
    zone=st.sampled_from(sorted(CHANGES)),
    start=st.integers(0, 525_600),
    minutes=st.integers(0, 4000),
)
def test_the_latest_and_the_number_are_those_of_all(cron: str, zone: str, start: int, minutes: int) -> None:
    timetable = timetables.read(cron, zone)
    since = at("2026-01-01T00:00Z") + MINUTE * start
    until = since + MINUTE * minutes
    every = due_times(timetable, since, until)
    assert timetable.latest(since, until) == (every[-1] if every else None)
    assert timetable.count(since, until, 50) == min(len(every), 50)


@pytest.mark.parametrize(
    ("cron", "latest"),
    [
        pytest.param("* * * * *", "2026-11-22T12:00Z", id="every minute"),
        pytest.param("0 3 29 2 *", "2024-02-29T03:00Z", id="the 29th of February"),
    ],
)
def test_after_ten_years_few_due_times_are_looked_at(cron: str, latest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    timetable, asked = timetables.read(cron, "Etc/UTC"), [0]
    real = timetables._after

    def counting(table: Timetable, moment: datetime) -> datetime | None:
        asked[0] += 1
        return real(table, moment)

    monkeypatch.setattr(timetables, "_after", counting)
    since, until = at("2016-11-22T12:00Z"), at("2026-11-22T12:00Z")
    assert timetable.latest(since, until) == at(latest)
    assert timetable.count(since, until, 100) <= 100
    assert asked[0] < 200
