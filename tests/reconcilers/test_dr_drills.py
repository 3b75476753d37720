"""DRDrills on a real API server and a real Temporal, with the real workflows; what they do to a cluster is played."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bascule_api import names
from bascule_api.dr_drills import DRDrillInput, DRDrillUndoInput
from bascule_api.failures import FailureType
from bascule_operator.store import Key
from bascule_workers.dr_drills import ProbeReport
from bascule_workers.errors import StepFailedError
from tests.reconcilers.conftest import Lab, condition, ready
from tests.support.drills import DISASTER, PLAN, Drilled
from tests.support.histories import input_of

Json = dict[str, Any]
SLOW = ProbeReport(passed=True, at=DISASTER + 1260)
"""Passed six minutes after the objective."""


@pytest.fixture
async def world(lab: Lab) -> Drilled:
    made = Drilled()
    # The ports of the real worker know the test's tenant.
    made.steps_namespace = f"bascule-steps-{lab.tenant}"
    return made


@pytest.fixture
async def served(lab: Lab, world: Drilled) -> Lab:
    """The lab with an operator, its tenant ready, and a worker with the real workflows."""
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    return lab


def workflow_of(body: Json, number: int = 0) -> str:
    return f"drdrill/{body['metadata']['uid']}/{number or body['status']['run']['number']}"


def space_of(body: Json, number: int = 1) -> str:
    return names.drill_namespace(body["metadata"]["uid"], number)


def held(body: Json) -> list[tuple[int, str, str]]:
    return [(past["number"], past["verdict"], past["reason"]) for past in body["status"].get("drills", [])]


async def told(lab: Lab, kind: str, reason: str) -> bool:
    """Whether such an Event is recorded: they are written beside everything else."""
    path = f"/apis/events.k8s.io/v1/namespaces/{lab.namespace}/events"
    for _ in range(200):
        listed = await lab.kube.request("GET", path, resource="test")
        if (kind, reason) in {(item["type"], item["reason"]) for item in listed["items"]}:
            return True
        await asyncio.sleep(0.1)
    return False


async def until_over(lab: Lab, key: Key, number: int = 1) -> Json:
    def over(body: Json) -> bool:
        run = body.get("status", {}).get("run", {})
        return bool(run.get("number") == number and run.get("outcome"))

    return await lab.until(key, over, f"ended run {number}")


async def until_kept(lab: Lab, key: Key) -> Json:
    def kept(body: Json) -> bool:
        return bool(body.get("status", {}).get("waitingFor", {}).get("gate") == "keep")

    return await lab.until(key, kept, "was kept for people")


async def test_a_drill_that_meets_its_objectives_is_ready_with_its_figures(served: Lab, world: Drilled) -> None:
    key = await served.drill()
    body = await until_over(served, key)
    status, drill = body["status"], body["status"]["drill"]
    assert (status["phase"], ready(body)["status"], condition(body, "ObjectivesMet")["status"]) == (
        "Succeeded", "True", "True",
    )  # fmt: skip
    assert ready(body)["message"] == "drill 1 met its objectives: RTO 4m12s (objective 15m), RPO 7m (objective 1h)"
    assert (drill["rtoSeconds"], drill["rpoSeconds"], drill["report"]) == (252, 420, world.play.report_digest)
    assert (drill["namespace"], drill["searched"][0]) == (space_of(body), {"kind": "Pod", "before": 2, "after": 0})
    assert held(body) == [(1, "Met", "ObjectivesMet")]
    assert status["history"][0]["summary"] == "Met: RTO 4m12s, RPO 7m"
    message = await input_of(await served.client(), workflow_of(body), DRDrillInput)
    assert (message.tenant_namespaces, message.quota, message.history) == ([served.namespace], {"pods": "5"}, [])
    assert set(message.procedures) == {"scripted-restore", "scripted-query"}
    assert await told(served, "Normal", "DrillMet")
    assert world.play.namespaces == {}


async def test_a_drill_that_misses_them_succeeds_as_a_run_and_is_not_ready(served: Lab, world: Drilled) -> None:
    world.play.probes["rows"] = SLOW
    key = await served.drill()
    body = await until_over(served, key)
    assert body["status"]["phase"] == "Succeeded"
    assert (ready(body)["status"], ready(body)["reason"]) == ("False", "ObjectivesMissed")
    assert condition(body, "Stalled")["status"] == "True"
    assert condition(body, "ObjectivesMet")["status"] == "False"
    assert "failure" not in body["status"]
    assert await told(served, "Warning", "DrillMissed")
    assert world.play.namespaces == {}


async def test_a_restore_that_fails_fails_the_run_and_the_next_drill_knows_of_it(served: Lab, world: Drilled) -> None:
    world.play.troubles.before["restore"] = [StepFailedError("pg_restore: no", FailureType.RESTORE_FAILED)]
    key = await served.drill()
    body = await until_over(served, key)
    assert (body["status"]["phase"], ready(body)["reason"]) == ("Failed", "StepFailed")
    assert held(body) == [(1, "Missed", "RestoreFailed")]
    await served.annotate(key, requested_at="again")
    body = await until_over(served, key, 2)
    assert held(body) == [(2, "Met", "ObjectivesMet"), (1, "Missed", "RestoreFailed")]
    assert (body["status"]["drill"]["namespace"], ready(body)["status"]) == (space_of(body, 2), "True")
    message = await input_of(await served.client(), workflow_of(body, 2), DRDrillInput)
    assert [(past.number, past.verdict) for past in message.history] == [(1, "Missed")]


async def test_a_drill_that_somebody_has_to_declare_begins_with_their_approval(served: Lab, world: Drilled) -> None:
    key = await served.drill(approval={"required": True})
    body = await served.until_phase(key, "Waiting")
    waits = body["status"]["waitingFor"]
    assert (waits["gate"], waits["kind"], waits["subject"]) == ("declare", "Approval", PLAN.digest)
    assert world.play.namespaces == {}
    spec = {
        "for": {"kind": "DRDrill", "name": key.name, "uid": body["metadata"]["uid"]}, "run": 1,
        "gate": "declare", "subject": waits["subject"], "decision": "Approve", "approver": "admin",
    }  # fmt: skip
    await served.apply("Approval", "declare", spec, served.namespace, labels=served.selector)
    body = await until_over(served, key)
    assert "startedAt" in body["status"]["drill"]["timeline"]["decide"]
    assert held(body)[0][1] == "Met"


async def test_a_drill_that_is_kept_for_people_goes_at_once_with_its_resource(served: Lab, world: Drilled) -> None:
    world.play.probes["rows"] = SLOW
    key = await served.drill(keepFor="12h")
    body = await until_kept(served, key)
    assert (body["status"]["phase"], body["status"]["drill"]["verdict"]) == ("Waiting", "Missed")
    assert list(world.play.namespaces) == [space_of(body)]
    await served.delete(key)
    await served.until_gone(key)
    assert world.play.namespaces == {}
    await served.until_closed(workflow_of(body))


async def test_a_drill_that_temporal_ended_is_torn_down_by_an_undo(served: Lab, world: Drilled) -> None:
    world.play.probes["rows"] = SLOW
    key = await served.drill(keepFor="12h")
    body = await until_kept(served, key)
    await (await served.client()).get_workflow_handle(workflow_of(body)).terminate("by hand")
    body = await served.until(
        key, lambda found: found["status"].get("compensation", {}).get("state") == "Succeeded", "was torn down"
    )
    undo = await input_of(await served.client(), f"{workflow_of(body)}/undo/1", DRDrillUndoInput)
    assert (undo.abandoned, undo.final) == (True, False)
    assert (body["status"]["phase"], ready(body)["reason"]) == ("Failed", "RunLost")
    # It had told what it measured before it was ended.
    assert held(body) == [(1, "Missed", "RTOExceeded")]
    assert world.play.namespaces == {}


async def test_a_cancelled_drill_is_torn_down_and_has_measured_nothing(served: Lab, world: Drilled) -> None:
    key = await served.drill(approval={"required": True})
    await served.until_phase(key, "Waiting")
    await served.annotate(key, cancel="another time")
    body = await until_over(served, key)
    assert ready(body)["reason"] == "Cancelled"
    assert condition(body, "ObjectivesMet")["status"] == "Unknown"
    assert held(body) == [(1, "Inconclusive", "NotMeasured")]


async def test_a_scheduled_drill_is_held_when_it_is_due_and_not_when_it_is_applied(served: Lab) -> None:
    schedule = {"cron": "0 3 29 2 *", "timeZone": "Europe/Berlin"}
    key = await served.drill(schedule=schedule, disaster=None)
    body = await served.until(key, lambda found: "next" in found.get("status", {}).get("schedule", {}), "is scheduled")
    assert "run" not in body["status"]
    await served.annotate(key, requested_at="now")
    body = await until_over(served, key)
    assert body["status"]["run"]["trigger"] == "Request"
    assert "next" in body["status"]["schedule"]


VELERO = {"velero": {"backup": "monday", "includedNamespaces": ["kube-system"]}}
FORBIDDEN = [
    pytest.param({"restore": VELERO}, "DrillsForbidden", id="a backup of a namespace that is not the tenant's"),
    pytest.param({"restore": VELERO | {"parameters": {"a": 1}}}, "SpecInvalid", id="parameters for Velero"),
    pytest.param({"restore": {"procedure": "scripted-query"}}, "ProcedureForbidden", id="a Procedure's use"),
    pytest.param(
        {"restore": {"procedure": "scripted-restore", "parameters": {"b": 1}}}, "ParametersInvalid", id="a parameter"
    ),
]


@pytest.mark.parametrize(("changes", "reason"), FORBIDDEN)
async def test_what_may_not_be_started_is_rejected_at_once(served: Lab, changes: Json, reason: str) -> None:
    key = await served.drill(**changes)
    body = await served.until_reason(key, reason)
    assert body["status"]["phase"] == "Rejected"
    assert await served.runs() == []


async def test_a_tenant_that_may_not_rehearse_is_told_so_and_it_heals_once_it_may(served: Lab) -> None:
    await served.make_tenant(drills=False)
    key = await served.drill()
    body = await served.until_reason(key, "DrillsForbidden")
    assert "spec.drills.enabled of the Tenant" in ready(body)["message"]
    await served.make_tenant()
    body = await until_over(served, key)
    assert held(body)[0][1] == "Met"
