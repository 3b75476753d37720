"""When a cron expression is due in its time zone. Pure; moments are aware and in UTC, due times have no seconds.

Expressions are read, and matched against what clocks show, by cronsim. Which moments these are where clocks are put
forward or back is decided here, by the rule of Debian's cron: cronsim's own way errs where that happens at midnight or
by half an hour. The rules of time zones are those of the package tzdata, the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from bascule_api.schedules import CRON_NAMES

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_CHANGES = 200
"""Changes of the clocks that are gone through at most: those of the 50 years after which cronsim gives up."""


class TimetableError(ValueError):
    """The expression or the time zone cannot be used; the text names the field and the remedy."""


@dataclass(frozen=True)
class Timetable:
    """An expression of five fields in a time zone."""

    cron: str
    zone_name: str
    zone: ZoneInfo

    def __str__(self) -> str:
        return f"{self.cron} {self.zone_name}"

    @property
    def counts_real_time(self) -> bool:
        """Whether it goes on through a change of the clocks: minute or hour begin with a star."""
        minute, hour, *_ = self.cron.split(" ")
        return minute.startswith("*") or hour.startswith("*")

    def after(self, moment: datetime) -> datetime:
        """The first due time after a moment. Raises TimetableError when there is none within 50 years."""
        found = _after(self, moment.astimezone(UTC).replace(second=0, microsecond=0))
        if found is None:
            raise TimetableError(_never(self.cron))
        return found

    def latest(self, since: datetime, until: datetime) -> datetime | None:
        """The last due time after `since` and not after `until`; None where there is none. Looks at few of them."""
        latest, low, high = None, since, until
        while (found := self.after(low)) <= until:
            latest = low = found
            while high - low > _MINUTE:
                middle = low + (high - low) / 2
                if (later := self.after(middle)) <= until:
                    latest = low = later
                else:
                    high = middle
        return latest

    def count(self, since: datetime, until: datetime, limit: int) -> int:
        """How many due times there are after `since` and not after `until`, counted up to `limit`."""
        number, moment = 0, since
        while number < limit and (moment := self.after(moment)) <= until:
            number += 1
        return number


def read(cron: str, time_zone: str) -> Timetable:
    """The timetable of an expression, or of a name such as `@daily`. Raises TimetableError."""
    found = _read(cron, time_zone)
    if isinstance(found, str):
        raise TimetableError(found)
    return found


@lru_cache(maxsize=1024)
def _read(cron: str, time_zone: str) -> Timetable | str:
    expression = CRON_NAMES.get(cron, cron).upper()
    if wrong := _wrong(expression):
        return wrong
    if time_zone not in _known_zones():
        return f"spec.schedule.timeZone: there is no time zone {time_zone}; the IANA names look like Europe/Berlin"
    made = Timetable(expression, time_zone, _zone(time_zone))
    return made if _after(made, datetime(2026, 1, 1, tzinfo=UTC)) else _never(expression)


def _wrong(cron: str) -> str:
    """What is wrong with an expression; empty: nothing."""
    fields = cron.split(" ")
    if len(fields) != len(_FIELDS) or not cron.isascii():
        return f"spec.schedule.cron: {cron} does not have five fields: {', '.join(_FIELDS)}"
    for place, name in enumerate(_FIELDS):
        alone = [field if at == place else "*" for at, field in enumerate(fields)]
        if not _readable(" ".join(alone)):
            return (
                f"spec.schedule.cron: {fields[place]} is no {name}; ranges go from the smaller to the larger, "
                "such as 22-23,0-4"
            )
    return "" if _readable(cron) else _never(cron)


def _readable(cron: str) -> bool:
    try:
        CronSim(cron, _START)
    except (CronSimError, AssertionError):  # the latter of a step where there is nothing to step through
        return False
    return True


_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_START = datetime(2026, 1, 1)
"""Without a zone: what a clock shows."""


def _never(cron: str) -> str:
    return f"spec.schedule.cron: {cron} never comes: no month that it names has such a day; choose another day or month"


@lru_cache(maxsize=4096)
def _after(timetable: Timetable, moment: datetime) -> datetime | None:
    return _in_real_time(timetable, moment) if timetable.counts_real_time else _by_the_clock(timetable, moment)


def _by_the_clock(timetable: Timetable, moment: datetime) -> datetime | None:
    """What is due when the clocks show a time: once where they show it twice, right after where they skip it."""
    zone = timetable.zone
    for shown in CronSim(timetable.cron, _shown(moment, zone)):
        found = _moment(shown, zone)
        if found > moment:
            return found
    return None


def _in_real_time(timetable: Timetable, moment: datetime) -> datetime | None:
    """What is due whenever the clocks show a time: goes from each change of the clocks to the next."""
    zone, start, shown, changed = timetable.zone, moment, _shown(moment, timetable.zone), moment
    for _ in range(_CHANGES):
        match = next(CronSim(timetable.cron, shown), None)
        if match is None:
            return None
        found = start + (match - shown)
        change = _first_change(zone, changed, found)
        if change is None:
            return found
        # The change itself may be due: what follows is after the minute before it, by the clocks as put anew.
        changed, start, shown = change, change - _MINUTE, _shown(change, zone) - _MINUTE
    return None


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moment(shown: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the zone's clocks show this time, or a later one where they skip it."""
    found = shown.replace(tzinfo=zone).astimezone(UTC)
    if _shown(found, zone) == shown:
        return found
    before = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_change(zone, before, found) or found


def _first_change(zone: ZoneInfo, since: datetime, until: datetime) -> datetime | None:
    """The first moment after `since` and not after `until` from which the zone's offset is another."""
    offset, low = since.astimezone(zone).utcoffset(), since
    while low < until:
        high = min(low + _DAY, until)
        if high.astimezone(zone).utcoffset() != offset:
            break
        low = high
    else:
        return None
    while high - low > _MINUTE:
        middle = low + (high - low) // _MINUTE // 2 * _MINUTE
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high


@lru_cache(maxsize=1)
def _known_zones() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    # The name becomes a path: the caller has looked it up in the list.
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
