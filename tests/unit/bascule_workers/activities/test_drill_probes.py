"""Probes: by one Job that asks a Service, by a Job for each attempt of a Procedure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bascule_api import names
from bascule_api.dr_drill_specs import Probe
from bascule_api.procedures import Container, PinnedProcedure, ProcedureSpec, ResultDeclaration, Template, Use
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities, DrillEnvironmentPorts
from bascule_workers.activities.drill_probes import DrillProbeActivities, problems
from bascule_workers.activities.drill_restores import DrillPorts
from bascule_workers.dr_drills import PlanDrillRequest, ProbeReport, ProbeRequest
from bascule_workers.errors import JobLostError, PlanRefusedError, SecretMissingError, StepFailedError
from bascule_workers.messages import Done, NotYet
from bascule_workers.plans.drill_probes import Cursor
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.outcomes import Failed, Lost, Outcome, Running, Succeeded, TimedOut
from bascule_workers.ports.drills import DrillSpaces
from bascule_workers.ports.git import GitFiles
from tests.support.fake_registry import Troubles
from tests.support.fake_velero import FakeVelero
from tests.support.fake_world import FakeLogs, FakeObjects, FakeTenants
from tests.unit.bascule_workers.activities.test_gates import Jobs
from tests.unit.bascule_workers.plans.test_drill_jobs import NAMESPACE, RUN, SETTINGS, TENANT

HTTP: dict[str, Any] = {"name": "web", "http": {"service": "web", "port": 80}}
SQL: dict[str, Any] = {"name": "rows", "procedure": {"name": "sql-probe"}, "interval": "5s", "timeout": "1m"}
SPEC = ProcedureSpec(
    uses=[Use.DR_DRILL_PROBE],
    results=[ResultDeclaration(name="dataAsOf")],
    template=Template(container=Container(image="psql:1")),
)
PROCEDURE = PinnedProcedure(name="sql-probe", generation=1, hash="h", spec=SPEC)
PASSED = Succeeded({"verdict": "Pass"}, "status 200", "pod", started=10, finished=17)
ROWS = Succeeded({"dataAsOf": "2025-11-22T13:05:41Z"}, "42", "pod", started=20, finished=29)
WRONG = Failed("the query gave 41, not 42", 1, "pod", "step")


@dataclass
class World:
    outcomes: list[Outcome]
    now: float = 1_000.0
    lines: str = ""
    wait: float = 0.0
    """How long an activity looks: not at all, so that a test gives the time between two attempts."""
    objects: FakeObjects = field(default_factory=lambda: FakeObjects(Troubles()))

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.outcomes, self.lines)

    async def ask(self, probe: dict[str, Any], **more: Any) -> Done[ProbeReport] | NotYet:
        ports = DrillPorts(self.jobs, self.objects, FakeTenants(), FakeLogs(), SETTINGS, FakeVelero())
        activities = DrillProbeActivities(ports, wait_seconds=self.wait, now=lambda: self.now)
        procedure = PROCEDURE if "procedure" in probe else None
        fields = {"run": RUN, "tenant": TENANT, "namespace": NAMESPACE, "step": f"probe-{probe['name']}"}
        given = {"probe": probe, "procedure": procedure, "since": 1_000, **fields}
        return await activities.probe(ProbeRequest.model_validate(given | more))

    async def to_its_end(self, probe: dict[str, Any]) -> tuple[ProbeReport, int]:
        """What comes out, and after how many calls; between two of them the time passes that was asked for."""
        found, calls = await self.ask(probe), 1
        while isinstance(found, NotYet):
            self.now += found.again_after
            found, calls = await self.ask(probe, cursor=found.cursor, note=found.reason), calls + 1
        return found.value, calls


def environment(job: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}


# Services


async def test_a_service_that_passes_passed_when_its_job_was_complete() -> None:
    report, _ = await World([PASSED]).to_its_end(HTTP)
    assert report == ProbeReport(passed=True, at=17, message="status 200")


async def test_a_service_that_does_not_pass_is_an_answer() -> None:
    failed = Succeeded({"verdict": "Fail"}, "did not pass within 60 s", "pod", finished=77)
    report, _ = await World([failed]).to_its_end(HTTP)
    assert report == ProbeReport(passed=False, at=77, message="did not pass within 60 s")


async def test_while_a_service_is_asked_people_see_what_it_said_last() -> None:
    world = World([Running(pod="running")], lines="Fail: 0 of 1 passed in a row, last status 503\n")
    found = await world.ask(HTTP)
    assert isinstance(found, NotYet)
    assert (found.reason, found.subject) == ("0 of 1 passed in a row, last status 503", "web")


async def test_a_pod_that_cannot_start_says_why() -> None:
    found = await World([Running("no pod can be made: exceeded quota")]).ask(HTTP)
    assert isinstance(found, NotYet)
    assert found.reason == "no pod can be made: exceeded quota"


async def test_a_pod_that_never_starts_did_not_pass() -> None:
    report, _ = await World([TimedOut()]).to_its_end(HTTP)
    assert not report.passed
    assert report.message.startswith("could not be asked in time")


@pytest.mark.parametrize("outcome", [Lost("evicted"), Succeeded(finished=17)], ids=["evicted", "gone with its verdict"])
async def test_a_lost_job_is_followed_by_another(outcome: Outcome) -> None:
    with pytest.raises(JobLostError):
        await World([outcome]).ask(HTTP)


async def test_a_service_is_asked_in_the_drills_namespace() -> None:
    world = World([PASSED])
    await world.ask(HTTP)
    [job] = world.jobs.seen
    assert job["metadata"]["namespace"] == NAMESPACE
    assert names.LABEL_EGRESS not in job["spec"]["template"]["metadata"]["labels"]
    assert f'"namespace": "{NAMESPACE}"' in environment(job)["PARAM_ASKS"]


# Procedures


async def test_a_procedure_that_ends_well_passed_and_says_what_it_saw() -> None:
    report, calls = await World([ROWS]).to_its_end(SQL)
    assert report == ProbeReport(passed=True, at=29, data_as_of=1_763_816_741, message="42")
    assert calls == 1


async def test_a_procedure_is_tried_again_in_a_job_of_its_own() -> None:
    world = World([WRONG, ROWS])
    report, calls = await world.to_its_end(SQL)
    assert report.passed
    assert calls == 2
    assert len({job["metadata"]["name"] for job in world.jobs.seen}) == 2


async def test_a_repeated_call_finds_the_attempts_that_there_were() -> None:
    world = World([Running(), ROWS])
    first = await world.ask(SQL)
    assert isinstance(first, NotYet)
    await world.ask(SQL, cursor=first.cursor)
    assert len({job["metadata"]["name"] for job in world.jobs.seen}) == 1


async def test_a_procedure_has_to_pass_as_often_in_a_row_as_was_asked() -> None:
    world = World([ROWS, WRONG, ROWS, ROWS])
    report, _ = await world.to_its_end(SQL | {"successThreshold": 2})
    assert report.passed
    assert len(world.jobs.seen) == 4


async def test_a_procedure_that_does_not_pass_in_time_tells_why() -> None:
    world = World([WRONG] * 99)
    report, _ = await world.to_its_end(SQL)
    assert (report.passed, report.at) == (False, 1_060)
    assert report.message.endswith("0 of 1 passed in a row, last the query gave 41, not 42")
    assert len(world.jobs.seen) == 13


@pytest.mark.parametrize("outcome", [Lost("evicted"), TimedOut("pod", "step"), Succeeded(finished=17)])
async def test_an_attempt_that_was_lost_did_not_pass_and_is_followed_by_the_next(outcome: Outcome) -> None:
    report, calls = await World([outcome, ROWS]).to_its_end(SQL)
    assert (report.passed, calls) == (True, 2)


async def test_a_time_that_is_none_is_told_and_does_not_count() -> None:
    report, _ = await World([Succeeded({"dataAsOf": "now"}, "42", "pod", finished=29)]).to_its_end(SQL)
    assert (report.passed, report.data_as_of) == (True, 0)
    assert "is no RFC 3339 time" in report.message


async def test_a_procedure_sees_what_the_restore_claims() -> None:
    world = World([ROWS])
    await world.ask(SQL, recovery_point=1_763_816_741)
    assert environment(world.jobs.seen[0])["BASCULE_RECOVERY_POINT"] == "2025-11-22T13:05:41Z"


async def test_an_environment_secret_that_is_not_there_is_named() -> None:
    sql = SQL | {"procedure": {"name": "sql-probe", "environmentSecret": "db"}}
    with pytest.raises(SecretMissingError, match="environmentSecret db"):
        await World([ROWS]).ask(sql)


async def test_a_procedure_that_is_not_pinned_ends_the_probe() -> None:
    with pytest.raises(StepFailedError, match="not pinned"):
        await World([ROWS]).ask(SQL, procedure=None)


def test_a_cursor_comes_back_as_it_was() -> None:
    cursor = Cursor().plus("42", passed=True).plus("41\nmore", passed=False)
    assert Cursor.of(cursor.to_text()) == cursor == Cursor(2, 0, "41")


async def test_a_condition_that_cannot_be_evaluated_ends_the_drill_before_anything_is_made() -> None:
    probe = Probe.model_validate(HTTP | {"http": {**HTTP["http"], "successCondition": "statuz == 1"}})
    ports = World([])
    environments = DrillEnvironmentPorts(
        spaces=cast(DrillSpaces, None),
        objects=ports.objects,
        git=cast(GitFiles, None),
        settings=SpaceSettings("bascule-system", "bascule-ca"),
        steps=ports.jobs,
        tenants=FakeTenants(),
        logs=FakeLogs(),
        job_settings=SETTINGS,
    )
    fields = {"run": RUN, "tenant": TENANT, "step": "plan", "namespace": NAMESPACE, "order": "1-a", "probes": [probe]}
    told = r"^spec\.probes\[0\]\.http\.successCondition names statuz; there are status, body, json$"
    with pytest.raises(PlanRefusedError, match=told):
        await DrillEnvironmentActivities(environments).plan(PlanDrillRequest.model_validate(fields))
    assert not ports.objects.content
    assert problems([Probe.model_validate(HTTP), Probe.model_validate(SQL)]) == []
