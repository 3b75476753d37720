"""Schedules with a real Temporal and a real API server, by a clock that the test puts: what is due runs, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_operator import alarms
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready

Json = dict[str, Any]
MINUTE = timedelta(minutes=1)


@dataclass
class Clock:
    """The machine's clock, put forward."""

    offset: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def put(self, moment: datetime) -> None:
        self.offset = moment - datetime.now(UTC)


@dataclass
class Timed:
    """A lab whose operator goes by a clock of the test's, and a time of the day at which things are due."""

    lab: Lab
    clock: Clock
    due: datetime

    @property
    def schedule(self) -> Json:
        """Once a day, next in a few minutes."""
        return {"cron": f"{self.due.minute} {self.due.hour} * * *"}

    async def start(self) -> None:
        await self.lab.start_operator(self.clock)

    async def build(self, name: str = "web", **changes: Any) -> Key:
        """A build that waits for its time."""
        schedule = self.schedule | changes.pop("schedule", {})
        key = await self.lab.build(name, spec={"schedule": schedule}, **changes)
        await self.lab.until(key, lambda body: bool(schedule_of(body)), "was seen")
        return key

    async def until_ran(self, key: Key, number: int = 1) -> Json:
        def ran(body: Json) -> bool:
            run = body["status"].get("run", {})
            return run.get("number") == number and run.get("outcome") == "Succeeded"

        return await self.lab.until(key, ran, f"ran {number} times")

    def day(self, number: int, **later: Any) -> datetime:
        """When it is due on a later day, and how much after that."""
        return self.due + timedelta(days=number, **later)


def schedule_of(body: Json) -> Json:
    found: Json = body.get("status", {}).get("schedule", {})
    return found


def wire(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
async def timed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Timed:
    """The lab with an operator, its tenant ready and a worker; what is due is so in ten minutes."""
    monkeypatch.setattr(alarms, "LONGEST_SECONDS", 0.2)
    clock = Clock()
    await lab.start_operator(clock)
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_worker()
    return Timed(lab, clock, datetime.now(UTC).replace(second=0, microsecond=0) + 10 * MINUTE)


async def test_applied_it_waits_for_its_time_and_runs_then_once(timed: Timed) -> None:
    key = await timed.build()
    body = await timed.lab.until(key, lambda body: bool(condition(body, "Scheduled")), "was said to wait")
    assert schedule_of(body) == {
        "timetable": f"{timed.schedule['cron']} Etc/UTC", "next": wire(timed.due), "missed": 0,
    }  # fmt: skip
    assert [item["type"] for item in body["status"]["conditions"]] == ["Scheduled"]
    assert body["status"]["phase"] == "Pending"
    assert "run" not in body["status"]
    timed.clock.put(timed.due)
    body = await timed.until_ran(key)
    assert body["status"]["run"]["trigger"] == "Schedule"
    assert body["status"]["handled"]["scheduledFor"] == wire(timed.due)
    assert schedule_of(body)["next"] == wire(timed.day(1))
    assert schedule_of(body)["last"] == wire(timed.due)
    assert ready(body)["status"] == "True"
    timed.clock.put(timed.day(1))
    body = await timed.until_ran(key, 2)
    assert schedule_of(body) | {"timetable": ""} == {
        "timetable": "", "next": wire(timed.day(2)), "last": wire(timed.day(1)), "missed": 0,
    }  # fmt: skip
    assert len(await timed.lab.runs()) == 2


async def test_campaigns_have_schedules_as_well(timed: Timed) -> None:
    key = await timed.lab.campaign(schedule=timed.schedule)
    await timed.lab.until(key, lambda body: bool(schedule_of(body)), "was seen")
    timed.clock.put(timed.due)
    body = await timed.until_ran(key)
    assert body["status"]["run"]["trigger"] == "Schedule"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["write_status", "start_run"])
async def test_an_operator_that_dies_at_the_start_starts_it_once(timed: Timed, call: str, after: bool) -> None:
    key = await timed.build()

    def concerns(arguments: tuple[Any, ...]) -> bool:
        is_intent = call == "start_run" or bool(arguments[3].get("handled", {}).get("scheduledFor"))
        return is_intent and (call == "start_run" or arguments[1] == key)

    async with timed.lab.crash(call, after=after, concerns=concerns):
        timed.clock.put(timed.due)
    timed.clock.put(timed.day(0, minutes=50))
    await timed.start()
    body = await timed.until_ran(key)
    assert schedule_of(body)["missed"] == 0
    assert body["status"]["handled"]["scheduledFor"] == wire(timed.due)
    assert len(await timed.lab.runs()) == 1


async def test_an_intent_that_nobody_could_start_in_time_is_missed(timed: Timed) -> None:
    key = await timed.build()
    async with timed.lab.crash("start_run", after=False, concerns=lambda _: True):
        timed.clock.put(timed.due)
    timed.clock.put(timed.day(0, hours=2))
    await timed.start()
    body = await timed.lab.until_phase(key, "Cancelled")
    assert body["status"]["run"]["cancelCause"] == "Missed"
    assert schedule_of(body)["missedReason"] == "Late"
    assert await timed.lab.runs() == []
    timed.clock.put(timed.day(1))
    await timed.until_ran(key, 2)


async def test_an_operator_that_was_away_catches_up_with_the_latest_within_its_deadline(timed: Timed) -> None:
    caught, late = await timed.build("caught"), await timed.build("late", schedule={"startingDeadline": "5m"})
    await timed.lab.stop_operator()
    timed.clock.put(timed.day(3, minutes=30))
    await timed.start()
    body = await timed.until_ran(caught)
    assert body["status"]["handled"]["scheduledFor"] == wire(timed.day(3))
    assert (schedule_of(body)["missed"], schedule_of(body)["missedReason"]) == (3, "Overtaken")
    body = await timed.lab.until(late, lambda body: schedule_of(body)["missed"] == 4, "counted what it missed")
    assert (schedule_of(body)["missedReason"], schedule_of(body)["missedAt"]) == ("Late", wire(timed.day(3)))
    assert schedule_of(body)["next"] == wire(timed.day(4))
    assert "run" not in body["status"]
    assert len(await timed.lab.runs()) == 1


async def test_suspended_nothing_starts_and_on_resume_what_may_still_start_does(timed: Timed) -> None:
    keys = [await timed.build(name) for name in ("soon", "later")]
    for key in keys:
        await timed.lab.patch(key, {"spec": {"suspend": True}})
        await timed.lab.until(key, lambda body: condition(body, "Scheduled")["reason"] == "Suspended", "was suspended")
    timed.clock.put(timed.day(0, minutes=10))
    await timed.lab.patch(keys[0], {"spec": {"suspend": False}})
    await timed.until_ran(keys[0])
    body = await timed.lab.get(keys[1])
    assert body is not None
    assert schedule_of(body)["next"] == wire(timed.due)
    timed.clock.put(timed.day(0, hours=3))
    await timed.lab.patch(keys[1], {"spec": {"suspend": False}})
    body = await timed.lab.until(keys[1], lambda body: schedule_of(body)["missed"] == 1, "counted what it missed")
    assert schedule_of(body)["missedReason"] == "Late"
    assert len(await timed.lab.runs()) == 1


async def test_a_request_runs_meanwhile_and_what_is_due_then_runs_too(timed: Timed) -> None:
    key = await timed.build()
    await timed.lab.annotate(key, requested_at="now")
    body = await timed.until_ran(key)
    assert body["status"]["run"]["trigger"] == "Request"
    assert schedule_of(body)["next"] == wire(timed.due)
    timed.clock.put(timed.due)
    body = await timed.until_ran(key, 2)
    assert body["status"]["run"]["trigger"] == "Schedule"


async def test_due_while_a_run_goes_on_it_is_missed_and_everybody_is_told(timed: Timed) -> None:
    key = await timed.build(behaviour="hang")
    timed.clock.put(timed.due)
    await timed.lab.until_phase(key, "Running")
    timed.clock.put(timed.day(1))
    body = await timed.lab.until(key, lambda body: schedule_of(body)["missed"] == 1, "counted what it missed")
    assert schedule_of(body)["missedReason"] == "Unfinished"
    assert schedule_of(body)["next"] == wire(timed.day(2))
    assert body["status"]["phase"] == "Running"
    assert len(await timed.lab.runs()) == 1
    notes: list[str] = []
    async with asyncio.timeout(45):
        while not notes:
            path = f"/apis/events.k8s.io/v1/namespaces/{key.namespace}/events"
            listed = await timed.lab.kube.request("GET", path, resource="test")
            notes = [event["note"] for event in listed["items"] if event["reason"] == "ScheduleMissed"]
            await asyncio.sleep(0.2)
    assert notes == [f"the run due at {wire(timed.day(1))} did not start: a run was not over yet"]
    await timed.lab.delete(key)
    await timed.lab.until_gone(key)


async def test_another_spec_or_another_schedule_starts_nothing(timed: Timed) -> None:
    key = await timed.build()
    timed.clock.put(timed.due)
    await timed.until_ran(key)
    hour_later = {"cron": f"{timed.due.minute} {(timed.due.hour + 1) % 24} * * *"}
    await timed.lab.build(repository="registry.example.com/acme/other", spec={"schedule": hour_later})
    body = await timed.lab.until(
        key, lambda body: schedule_of(body)["next"] == wire(timed.day(0, hours=1)), "was seen as changed"
    )
    assert [item["type"] for item in body["status"]["conditions"] if item["type"] in ("Ready", "Stalled")] == []
    assert len(await timed.lab.runs()) == 1
    timed.clock.put(timed.day(0, hours=1))
    body = await timed.until_ran(key, 2)
    assert ready(body)["status"] == "True"


async def test_while_it_waits_it_can_be_deleted_at_once(timed: Timed) -> None:
    key = await timed.build()
    await timed.lab.delete(key)
    await timed.lab.until_gone(key)


async def test_what_can_never_be_due_is_rejected_and_heals_when_it_is_mended(timed: Timed) -> None:
    key = await timed.lab.build(spec={"schedule": {"cron": "0 0 30 2 *", "timeZone": "Europe/Berlin"}})
    body = await timed.lab.until_phase(key, "Rejected")
    assert ready(body)["message"].startswith("spec.schedule.cron: 0 0 30 2 * never comes")
    await timed.lab.build(spec={"schedule": {"cron": "0 0 28 2 *", "timeZone": "Europe/Bern"}})
    body = await timed.lab.until(key, lambda body: "Europe/Bern" in ready(body).get("message", ""), "named the zone")
    await timed.lab.build(spec={"schedule": timed.schedule})
    body = await timed.lab.until_phase(key, "Pending")
    assert condition(body, "Scheduled")["status"] == "True"
    assert not condition(body, "Stalled")


async def test_what_would_be_missing_is_told_before_it_is_due(timed: Timed) -> None:
    name = f"later-{timed.lab.tenant}"
    key = await timed.lab.build(spec={"schedule": timed.schedule, "build": {"procedure": name}})
    body = await timed.lab.until(key, lambda body: bool(condition(body, "Scheduled")), "was said to wait")
    assert condition(body, "Scheduled")["reason"] == "ProcedureNotFound"
    assert not ready(body)
    template = {"container": {"image": "example.com/step:1"}}
    await timed.lab.apply("Procedure", name, {"uses": ["ImageBuild/build"], "template": template})
    await timed.lab.until(key, lambda body: condition(body, "Scheduled")["status"] == "True", "healed")


async def test_waiting_costs_no_write_and_a_restart_none_either(timed: Timed) -> None:
    key = await timed.build()
    body = await timed.lab.until(key, lambda body: bool(condition(body, "Scheduled")), "was said to wait")
    timed.clock.put(timed.due - MINUTE)
    await timed.lab.stop_operator()
    await timed.start()
    other = await timed.build("other")
    timed.clock.put(timed.due - timedelta(seconds=5))
    again = await timed.lab.get(key)
    assert again is not None
    assert again["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]
    for one in (key, other):
        await timed.until_ran(one)


async def test_many_that_are_due_at_once_run_once_each(timed: Timed) -> None:
    keys = [await timed.build(f"b{number}") for number in range(20)]
    timed.clock.put(timed.due)
    for key in keys:
        body = await timed.until_ran(key)
        assert schedule_of(body)["missed"] == 0
    assert len(await timed.lab.runs()) == len(keys)


async def test_two_operators_that_both_believe_to_lead_start_what_is_due_once(timed: Timed) -> None:
    await timed.start()
    keys = [await timed.build(f"b{number}") for number in range(5)]
    timed.clock.put(timed.due)
    for key in keys:
        body = await timed.until_ran(key)
        assert schedule_of(body)["next"] == wire(timed.day(1))
    timed.clock.put(timed.day(1))
    for key in keys:
        await timed.until_ran(key, 2)
    assert len(await timed.lab.runs()) == 2 * len(keys)


async def test_a_clock_that_is_put_back_starts_nothing_twice(timed: Timed) -> None:
    key = await timed.build()
    timed.clock.put(timed.due)
    await timed.until_ran(key)
    timed.clock.put(timed.due - MINUTE)
    await timed.lab.stop_operator()
    await timed.start()
    other = await timed.build("other")
    timed.clock.put(timed.due)
    await timed.until_ran(other)
    body = await timed.lab.get(key)
    assert body is not None
    assert schedule_of(body)["next"] == wire(timed.day(1))
    assert len(await timed.lab.runs()) == 2
