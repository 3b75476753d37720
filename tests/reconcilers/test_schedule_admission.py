"""What the API server makes of a schedule before the operator sees it."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.schedules import CRON_NAMES
from bascule_operator.errors import OperatorError
from tests.reconcilers.conftest import Lab


async def refusal(lab: Lab, **schedule: Any) -> str:
    """What the API server says against the schedule; empty where it takes it."""
    try:
        await lab.build(spec={"schedule": schedule})
    except OperatorError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "cron",
    [
        *CRON_NAMES,
        "* * * * *",
        "*/15 0-6,22 1,15 JAN-mar mon-FRI",
        "0 3 * * TUE#2",
        "59 23 31 12 7",
        "05 08 09 07 0",
        "0 4 L * *",
        "0 4 LW */2 *",
        "0 4 * * 5L",
        "10/20 * * * *",
        "0 0 29 2 *",
        ",".join(str(minute) for minute in range(40)) + " * * * *",
    ],
)
async def test_cron_is_accepted(lab: Lab, cron: str) -> None:
    assert await refusal(lab, cron=cron) == ""


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        pytest.param({"cron": "0 3 * * * *"}, "there are no seconds", id="six fields"),
        pytest.param({"cron": "0 0 3 * *  *"}, "five fields with one space", id="two spaces"),
        pytest.param({"cron": "0 3 * *  "}, "five fields", id="four fields"),
        pytest.param({"cron": "0 3 * * *\n"}, "day of week: wants", id="a line feed at the end"),
        pytest.param({"cron": "60 3 * * *"}, "minute: wants *", id="minute 60"),
        pytest.param({"cron": "0 24 * * *"}, "hour: wants *", id="hour 24"),
        pytest.param({"cron": "0 0 0 * *"}, "day of month: wants *", id="day 0"),
        pytest.param({"cron": "0 0 1 13 *"}, "month: wants *", id="month 13"),
        pytest.param({"cron": "0 0 * * 8"}, "day of week: wants *", id="weekday 8"),
        pytest.param({"cron": "0 0 * * MO"}, "day of week: wants *", id="a weekday of two letters"),
        pytest.param({"cron": "*/0 3 * * *"}, "minute: wants *", id="a step of nothing"),
        pytest.param({"cron": "0 3 * * MON#2/3"}, "day of week: wants *", id="a step through nothing"),
        pytest.param({"cron": "1,,2 3 * * *"}, "minute: wants *", id="an empty item"),
        pytest.param({"cron": "٣ 3 * * *"}, "minute: wants *", id="digits of another script"),
        pytest.param({"cron": "@reboot"}, "of the names there are", id="@reboot"),
        pytest.param({"cron": "@every 5m"}, "of the names there are", id="@every"),
        pytest.param({"cron": "TZ=Europe/Berlin 0 3 * * *"}, "goes to timeZone", id="TZ="),
        pytest.param({"cron": "CRON_TZ=UTC 0 3 * * *"}, "goes to timeZone", id="CRON_TZ="),
        pytest.param({"cron": "0 3 * * *" + " " * 200}, "spec.schedule.cron", id="a long one"),
        pytest.param({"cron": ""}, "spec.schedule.cron", id="nothing"),
        pytest.param({}, "spec.schedule.cron", id="none"),
        pytest.param({"cron": "@daily", "timeZone": "../../etc/passwd"}, "spec.schedule.timeZone", id="a path"),
        pytest.param({"cron": "@daily", "timeZone": ""}, "spec.schedule.timeZone", id="an empty zone"),
        pytest.param({"cron": "@daily", "startingDeadline": "0s"}, "must be longer than 0s", id="no time to start"),
        pytest.param(
            {"cron": "@daily", "startingDeadline": "soon"}, "spec.schedule.startingDeadline", id="no duration"
        ),
    ],
)
async def test_refused_with_the_field_and_the_remedy(lab: Lab, schedule: dict[str, Any], says: str) -> None:
    told = await refusal(lab, **schedule)
    assert says in told
    assert "spec.schedule" in told
