"""When runs are due, and what became of the times that passed: the same for every kind that runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import ApiModel, Timeout, rules

CRON_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Names of schedules, and the expressions that they stand for."""

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"
_CRON_FIELDS = (
    ("minute", r"[0-5]?[0-9]", "", "0-59"),
    ("hour", r"[01]?[0-9]|2[0-3]", "", "0-23"),
    ("day of month", r"0?[1-9]|[12][0-9]|3[01]", "|LW?", "1-31, L for the last day and LW for the last workday"),
    ("month", rf"0?[1-9]|1[0-2]|{_MONTHS}", "", "1-12 or JAN-DEC"),
    ("day of week", rf"[0-7]|{_DAYS}", rf"|([0-7]|{_DAYS})#[1-5]|[0-7]L", "0-7 or SUN-SAT, TUE#2 for the second, 5L"),
)
"""Fields of a cron expression: name, pattern of one value, patterns of what stands alone, and what is meant by them."""


def _cron_field(place: int) -> tuple[str, str]:
    """The rule of one field with its message."""
    name, value, alone, means = _CRON_FIELDS[place]
    item = f"(?i)^(([*]|({value})(-({value}))?)(/[1-9][0-9]?)?{alone})$"
    rule = f"self.split(' ').size() != 5 || self.split(' ')[{place}].split(',').all(x, x.matches('{item}'))"
    return rule, f"{name}: wants *, a value, a range or a list of them, perhaps with a step such as /2; values: {means}"


CRON_RULES = rules(
    ("!self.contains('=')", "the time zone goes to timeZone: take TZ= or CRON_TZ= out of cron"),
    (
        f"!self.startsWith('@') || self in {list(CRON_NAMES)}",
        f"of the names there are {', '.join(CRON_NAMES)}; for others write five fields",
    ),
    (
        "self.startsWith('@') || self.contains('=') || self.matches('^([^ ]+ ){4}[^ ]+$')",
        "wants five fields with one space between them: minute, hour, day of month, month and day of week; "
        "there are no seconds and no years",
    ),
    *(_cron_field(place) for place in range(len(_CRON_FIELDS))),
)


class Schedule(ApiModel):
    """With a schedule nothing runs when applied: only when due, or when requested."""

    cron: Annotated[str, StringConstraints(min_length=6, max_length=128), Field(json_schema_extra=CRON_RULES)]
    """When runs are due: five fields as in crontab(5), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. `L` is
    the last day of the month, `TUE#2` its second Tuesday, `5L` its last Friday. Where clocks are put forward, a time
    that is skipped is due right after; where they are put back, a time that comes twice is due once; expressions whose
    minute or hour begins with `*` go by real time."""
    time_zone: Annotated[
        str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$")
    ] = "Etc/UTC"
    """IANA name of the time zone."""
    starting_deadline: Timeout = Timeout("1h")
    """How late a due run may still start, be it that the operator was away, that something kept it from starting, or
    that `suspend` was set. Later than that it counts as missed. Of several due times only the latest is run."""


class MissReason(StrEnum):
    """Why a due time passed without a run."""

    UNFINISHED = "Unfinished"
    """A run was not over yet, or what it left was not taken back yet."""
    LATE = "Late"
    """Nothing could be started within `spec.schedule.startingDeadline`: the operator was away, `spec.suspend` was set,
    or something was missing."""
    OVERTAKEN = "Overtaken"
    """A later time was due as well before anything could start, and was taken up instead."""
    COMPENSATION_FAILED = "CompensationFailed"
    """What the last run left could not be taken back: nothing starts until that is settled."""


class ScheduleStatus(ApiModel):
    """How the schedule stands."""

    timetable: Annotated[str, StringConstraints(max_length=256)] = ""
    """Expression and time zone that `next` was computed from."""
    next: datetime | None = None
    """When it is due next. In the past: due, and something keeps it from starting."""
    last: datetime | None = None
    """When it was due last, whether a run started then or not."""
    missed: Annotated[int, Field(ge=0)] = 0
    """How many due times passed without a run. Of one absence at most 100 are counted."""
    missed_at: datetime | None = None
    """The last due time that passed without a run."""
    missed_reason: MissReason | None = None
    """Why that one was missed."""
