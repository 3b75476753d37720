"""Maintenance windows: whether a moment lies within one, and when that changes next. Pure.

A window opens at the first moment at which the clocks of its time zone show `start` or later on one of its days, and
closes at the first moment at which they show `end` or later: on the same day, or on the next where `end` is not after
`start`. So where clocks are put forward over a start, it opens when they have been; where they are put back, the first
of the two times counts, and no window opens twice in a night. The rules of time zones are those of the package tzdata,
never the host's: every worker must come to the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from bascule_api.fleets import Day, Window

_DAYS = tuple(Day)
_HORIZON = 400
"""Days that are looked ahead: more than a year, since clocks may matter that are only put back in autumn."""
_BEFORE = 3
"""Days that are looked back: a window of yesterday may be open, and the zone's day may differ from UTC's."""


class UnknownTimeZoneError(ValueError):
    """There is no such time zone."""


@dataclass(frozen=True)
class Standing:
    """How windows stand at a moment."""

    open: bool
    changes_at: int
    """Epoch seconds: when they close, or open next; 0: never."""
    window: Window | None = None
    """The one that is open longest, or opens next."""


@dataclass(frozen=True)
class _Period:
    """From `opens` up to, not including, `closes`; epoch seconds."""

    opens: int
    closes: int
    window: Window


def standing(windows: Sequence[Window], now: int) -> Standing:
    """How the windows stand; open for ever where there are none. Raises UnknownTimeZoneError."""
    if not windows:
        return Standing(open=True, changes_at=0)
    opened: _Period | None = None
    for period in _periods(windows, now):
        if period.closes <= now:
            continue
        if opened is None and period.opens > now:
            return Standing(open=False, changes_at=period.opens, window=period.window)
        if opened is not None and period.opens > opened.closes:
            break
        if opened is None or period.closes > opened.closes:
            opened = period
    if opened is None:
        return Standing(open=False, changes_at=0)
    looked = now + (_HORIZON - _BEFORE - 2) * 86_400
    return Standing(open=True, changes_at=opened.closes if opened.closes < looked else 0, window=opened.window)


def words(window: Window) -> str:
    """The window for people: `Sat, Sun 22:00–02:00 Europe/Berlin`."""
    days = ", ".join(window.days) or "daily"
    return f"{days} {window.start}–{window.end} {window.time_zone}"


def check(windows: Sequence[Window]) -> list[str]:
    """What is wrong with the windows, each a sentence that names the field; empty: nothing."""
    unknown = ((number, window) for number, window in enumerate(windows) if window.time_zone not in known_zones())
    return [
        f"spec.windows[{number}].timeZone: there is no time zone {window.time_zone}; "
        "the IANA names look like Europe/Berlin"
        for number, window in unknown
    ]


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _periods(windows: Sequence[Window], now: int) -> Iterator[_Period]:
    """When each window is open, in the order of opening, from the days before `now` on."""
    first = datetime.fromtimestamp(now, UTC).date() - timedelta(days=_BEFORE)
    waiting: list[_Period] = []
    for offset in range(_HORIZON):
        day = first + timedelta(days=offset)
        waiting += [period for window in windows if (period := _period(window, day))]
        # Two days on, clocks anywhere show a later day than this one: nothing that opens earlier can follow.
        settled = int(datetime.combine(day, time(), UTC).timestamp()) - 86_400
        yield from sorted((period for period in waiting if period.opens < settled), key=_order)
        waiting = [period for period in waiting if period.opens >= settled]
    yield from sorted(waiting, key=_order)


def _order(period: _Period) -> tuple[int, int]:
    return period.opens, -period.closes


def _period(window: Window, day: date) -> _Period | None:
    """When the window that opens on this day is open; None where it does not."""
    if window.days and _DAYS[day.weekday()] not in window.days:
        return None
    start, end, zone = time.fromisoformat(window.start), time.fromisoformat(window.end), _zone(window.time_zone)
    closing = day if end > start else day + timedelta(days=1)
    opens, closes = _shown(datetime.combine(day, start), zone), _shown(datetime.combine(closing, end), zone)
    return _Period(opens, closes, window) if opens < closes else None


def _shown(wanted: datetime, zone: ZoneInfo) -> int:
    """The first moment at which the zone's clocks show this time or later; epoch seconds."""
    moment = int(wanted.replace(tzinfo=zone).timestamp())
    if _clock(moment, zone) == wanted:
        return moment
    # Clocks are put forward over this time: by the offset after that it lies before, by the one before it after.
    before, after = int(wanted.replace(tzinfo=zone, fold=1).timestamp()), moment
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _clock(middle, zone) >= wanted else (middle, after)
    return after


def _clock(moment: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    # The name becomes a path: only those of the list may.
    if name not in known_zones():
        raise UnknownTimeZoneError(f"there is no time zone {name}; the IANA names look like Europe/Berlin")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
