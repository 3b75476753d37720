"""The workflow DRDrill, from its plan to its report."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bascule_api.conditions import Phase, WaitKind
from bascule_api.progress import PROGRESS_LIMIT
from bascule_workers.dr_drills import ProbeReport, Restored
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import NotYet
from bascule_workers.plans.progress import size
from tests.support.drill_runs import Drills
from tests.support.drills import DISASTER, PLAN, RPO, RTO, Drilled, approval, drill, probe, time_of
from tests.support.fake_world import secret

STEPS = ("plan", "provision", "isolate", "apply", "restore", "probe-rows", "probe-db", "teardown", "report")


async def test_a_drill_meets_its_objectives(drills: Drills, drilled: Drilled) -> None:
    story = await drills.carried_out(drill())

    assert (story.closed, story.result.phase) == ("COMPLETED", Phase.SUCCEEDED)
    assert story.verdict == ("Met", "ObjectivesMet")
    assert story.drill.message == "RTO 4m12s of 15m, RPO 7m of 1h"
    assert (story.drill.rto_seconds, story.drill.rto_gross_seconds, story.drill.rpo_seconds) == (RTO, RTO, RPO)
    assert story.steps == dict.fromkeys(STEPS, "Succeeded")
    assert set(drilled.play.steps) == set(STEPS)
    assert drilled.play.steps[:5] + drilled.play.steps[7:] == [*STEPS[:5], *STEPS[7:]]
    assert story.drill.report == drilled.play.report_digest
    assert story.drill.searched == drilled.play.searched
    assert story.drill.backup == "sha256:backup"
    assert story.result.compensation.state == "NothingToDo"
    drilled.assert_gone()


async def test_its_timeline_is_what_servers_recorded(drills: Drills) -> None:
    story = await drills.carried_out(drill())

    timeline = story.drill.timeline
    assert timeline.restore is not None
    assert timeline.teardown is not None
    assert timeline.validate_ is not None
    assert (timeline.restore.started_at, timeline.restore.finished_at) == (
        time_of(DISASTER + 60),
        time_of(DISASTER + 200),
    )
    assert (timeline.teardown.started_at, timeline.teardown.finished_at) == (
        time_of(DISASTER + 300),
        time_of(DISASTER + 320),
    )
    assert (timeline.decide, timeline.kept) == (None, None)
    assert {probe.name: probe.passed_at for probe in story.drill.probes} == {
        "rows": time_of(DISASTER + RTO),
        "db": time_of(DISASTER + RTO),
    }


async def test_the_report_knows_all_of_it(drills: Drills, drilled: Drilled) -> None:
    story = await drills.carried_out(drill())

    [asked] = drilled.play.asked("report")
    assert asked.drill == story.drill.model_copy(update={"report": None})
    assert (asked.failure, asked.plan, asked.started > 0) == ("", PLAN, True)
    assert asked.procedures.keys() == {"postgres-restore", "sql-probe"}


async def test_requests_say_what_the_spec_says(drills: Drills, drilled: Drilled) -> None:
    environment = {
        "manifests": {"configMap": {"name": "pilot-light"}},
        "namespaceLabels": {"team": "orders"},
        "timeout": "7m",
    }
    await drills.carried_out(drill(environment=environment))

    play = drilled.play
    [provision], [apply], [restore] = play.asked("provision"), play.asked("apply"), play.asked("restore")
    assert (provision.namespace_labels, provision.quota) == ({"team": "orders"}, {"pods": "20"})
    assert (apply.stage, apply.timeout_seconds) == ("BeforeRestore", 420)
    assert (restore.parameters, restore.timeout_seconds, restore.secret) == ({"backup": "nightly"}, 1200, False)
    [rows], [db] = play.asked("probe-rows"), play.asked("probe-db")
    assert (rows.recovery_point, rows.procedure.name, db.procedure) == (DISASTER - RPO, "sql-probe", None)
    assert len({request.namespace for _, request in play.calls}) == 1


# What is not asked for


async def test_what_is_not_needed_is_skipped_and_says_why(drills: Drills, drilled: Drilled) -> None:
    drilled.play.plan_made = PLAN.model_copy(update={"before": 0})
    environment = {"isolation": "None", "manifests": {"configMap": {"name": "pilot-light"}}}

    story = await drills.carried_out(drill(environment=environment))

    assert story.verdict == ("Met", "ObjectivesMet")
    assert {name for name, state in story.steps.items() if state == "Skipped"} == {"isolate", "apply"}
    assert story.messages["isolate"] == "spec.environment.isolation is None"
    assert not {"isolate", "apply"} & set(drilled.play.steps)


async def test_what_is_applied_after_the_restore_is_a_step_behind_it(drills: Drills, drilled: Drilled) -> None:
    drilled.play.plan_made = PLAN.model_copy(update={"after": 2})

    story = await drills.carried_out(drill())

    assert list(story.steps) == [*STEPS[:5], "apply-after", *STEPS[5:]]
    assert [request.stage for _, request in drilled.play.calls if hasattr(request, "stage")] == [
        "BeforeRestore",
        "AfterRestore",
    ]


async def test_velero_restores_and_its_restore_goes_before_the_namespace(drills: Drills, drilled: Drilled) -> None:
    restore = {"velero": {"schedule": "nightly", "includedNamespaces": ["acme-dev"]}}

    story = await drills.carried_out(drill(restore=restore))

    assert story.verdict == ("Met", "ObjectivesMet")
    [asked] = drilled.play.asked("restore")
    assert (asked.tenant_namespaces, asked.timeout_seconds) == (["acme-dev"], 3600)
    steps = drilled.play.steps
    assert steps.index("remove-velero") < steps.index("teardown")
    drilled.assert_gone()


async def test_the_backups_secret_is_copied_and_its_copy_goes(drills: Drills, drilled: Drilled) -> None:
    drilled.objects.add(secret("store", "backup", {"accessKey": "canary-secret"}))
    restore = {"procedure": "postgres-restore", "secretRef": {"name": "store"}}
    held = drilled.troubles.hold("restore")
    handle = await drills.start(drill(restore=restore))
    await held.began.wait()
    assert len(drilled.objects.of_run(drilled.steps_namespace)) == 1
    held.let_go.set()

    story = await drills.story(handle)

    assert story.verdict == ("Met", "ObjectivesMet")
    assert drilled.play.asked("restore")[0].secret
    drilled.assert_gone()


# Verdicts, as a run reaches them


@pytest.mark.parametrize(
    ("given", "restored", "probes", "verdict"),
    [
        pytest.param({}, {}, {"rows": {"at": DISASTER + 901}}, "RTOExceeded", id="too slow"),
        pytest.param({}, {"recovery_point": DISASTER - 3601}, {}, "RPOExceeded", id="too old"),
        pytest.param({}, {"recovery_point": 0}, {}, "RecoveryPointUnknown", id="no recovery point"),
        pytest.param({}, {"recovery_point": 10**18}, {}, "RecoveryPointUnknown", id="an absurd recovery point"),
        pytest.param({}, {"recovery_point": DISASTER + 9}, {}, "RecoveryPointUnknown", id="a later recovery point"),
        pytest.param(
            {}, {}, {"rows": {"data_as_of": DISASTER - 3700}}, "RecoveryPointContradicted", id="a restore that lies"
        ),
        pytest.param({}, {}, {"rows": {"passed": False, "message": "0 rows"}}, "ProbeFailed", id="a probe fails"),
        pytest.param({"objectives": None}, {"recovery_point": 0}, {}, "ObjectivesMet", id="no objectives"),
        pytest.param({"disaster": {"declaredAt": "2199-01-01T00:00:00Z"}}, {}, {}, "NotMeasured", id="declared later"),
        pytest.param(
            {"disaster": {"declaredAt": "0001-01-01T00:00:00+14:00"}}, {}, {}, "RTOExceeded", id="declared long ago"
        ),
    ],
)
async def test_a_drill_that_does_not_meet_its_objectives_succeeded_as_a_run(
    drills: Drills,
    drilled: Drilled,
    given: dict[str, Any],
    restored: dict[str, Any],
    probes: dict[str, Any],
    verdict: str,
) -> None:
    play = drilled.play
    play.restored = play.restored.model_copy(update=restored)
    play.probes = {
        name: ProbeReport(**{"passed": True, "at": DISASTER + RTO} | fields) for name, fields in probes.items()
    }

    story = await drills.carried_out(drill(**given))

    assert (story.closed, story.result.phase, story.result.failure) == ("COMPLETED", Phase.SUCCEEDED, None)
    assert story.drill.reason == verdict
    assert (story.steps["teardown"], story.steps["report"]) == ("Succeeded", "Succeeded")
    drilled.assert_gone()


async def test_without_a_declaration_the_disaster_is_when_the_run_started(drills: Drills, drilled: Drilled) -> None:
    hold = drilled.troubles.hold("restore")
    handle = await drills.start(drill(disaster=None))
    await hold.began.wait()
    started = int((await handle.describe()).start_time.timestamp())
    drilled.play.restored = Restored(recovery_point=started - 60)
    drilled.play.probes = {name: ProbeReport(passed=True, at=started + 100) for name in ("rows", "db")}
    hold.let_go.set()

    story = await drills.story(handle)

    assert story.drill.declared_at == time_of(started)
    assert (story.drill.rto_gross_seconds, story.drill.rpo_seconds) == (100, 60)
    assert story.verdict == ("Met", "ObjectivesMet")


async def test_a_leak_ends_the_drill_before_anything_is_applied(drills: Drills, drilled: Drilled) -> None:
    drilled.play.leak = "a connection to 10.96.0.1:443 got through"

    story = await drills.carried_out(drill())

    assert (story.closed, story.verdict) == ("COMPLETED", ("Inconclusive", "IsolationNotEnforced"))
    assert story.drill.message == "nothing was applied or restored: a connection to 10.96.0.1:443 got through"
    assert drilled.play.steps == ["plan", "provision", "isolate", "teardown", "report"]
    assert (story.steps["isolate"], story.steps["restore"]) == ("Failed", "Skipped")
    assert story.messages["restore"] == "isolation is not enforced"
    drilled.assert_gone()


# Probes


async def test_all_probes_are_asked_at_the_same_time_and_each_to_its_end(drills: Drills, drilled: Drilled) -> None:
    names = [f"p{number}" for number in range(16)]
    holds = [drilled.troubles.hold(f"probe-{name}") for name in names]
    drilled.play.probes = {
        "p3": ProbeReport(passed=False, message="no"),
        "p9": ProbeReport(passed=False, message="nor"),
    }
    handle = await drills.start(drill(probes=[probe(name) for name in names]))
    async with asyncio.timeout(60):
        await asyncio.gather(*(hold.began.wait() for hold in holds))
    for hold in holds:
        hold.let_go.set()

    story = await drills.story(handle)

    assert story.drill.message == "p3, p9 did not pass: no"
    assert len({request.since for name in names for request in drilled.play.asked(f"probe-{name}")}) == 1
    assert [told.name for told in story.drill.probes] == names
    assert [told.name for told in story.drill.probes if told.passed_at is None] == ["p3", "p9"]
    assert (story.steps["probe-p3"], story.messages["probe-p9"]) == ("Failed", "nor")


@pytest.mark.parametrize("required", [True, False], ids=["required", "not required"])
async def test_a_probe_that_cannot_be_asked_counts_only_where_it_is_required(
    drills: Drills, drilled: Drilled, required: bool
) -> None:
    drilled.troubles.before["probe-web"] = [StepFailedError("its image cannot be pulled")]

    story = await drills.carried_out(drill(probes=[probe("web", required=required), probe("db")]))

    told = ("FAILED", "Inconclusive", "NotMeasured") if required else ("COMPLETED", "Met", "ObjectivesMet")
    assert (story.closed, *story.verdict) == told
    assert (story.steps["probe-web"], story.steps["probe-db"]) == ("Failed", "Succeeded")
    drilled.assert_gone()


async def test_what_a_probe_waits_for_shows_and_its_cursor_comes_back(drills: Drills, drilled: Drilled) -> None:
    waits = NotYet(reason="connection refused", waits_for=WaitKind.CHECK, again_after=30, cursor="2")
    drilled.play.answers = {"probe-db": [waits, waits]}

    story = await drills.carried_out(drill())

    assert [request.cursor for request in drilled.play.asked("probe-db")] == ["", "2", "2"]
    assert any("connection refused" in told.message for told in story.progress)
    assert Phase.WAITING in story.phases
    assert len({request.since for request in drilled.play.asked("probe-db")}) == 1


async def test_the_largest_progress_is_within_its_bound(drills: Drills, drilled: Drilled) -> None:
    names = [f"{number:040}" for number in range(16)]
    drilled.play.probes = {name: ProbeReport(passed=False, message="é" * 3000) for name in names}
    drilled.play.answers = {"teardown": [NotYet(reason="é" * 3000, again_after=60)]}

    story = await drills.carried_out(drill(probes=[probe(name) for name in names]))

    assert max(size(told) for told in story.progress) <= PROGRESS_LIMIT
    assert all("drill" in told.facts for told in story.progress)
    assert len(story.drill.probes) == 16
    assert json.dumps(story.result.to_wire())


# People


async def test_an_approval_is_waited_for_and_counts_for_the_gross_time_only(drills: Drills, drilled: Drilled) -> None:
    given = drill(approval={"required": True}, disaster=None, objectives={"rto": "15m"})
    handle = await drills.start(given)
    waiting = (await drills.until(handle, lambda told: told.phase == Phase.WAITING)).waiting
    assert waiting is not None
    assert (waiting.gate, waiting.kind, waiting.subject) == ("declare", WaitKind.APPROVAL, PLAN.digest)
    assert drilled.play.steps == ["plan"]
    await drills.env.sleep(5000)
    started = int((await handle.describe()).start_time.timestamp())
    drilled.play.probes = {name: ProbeReport(passed=True, at=started + 5300) for name in ("rows", "db")}
    await handle.execute_update("approval", approval(given, waiting))

    story = await drills.story(handle)

    assert story.verdict == ("Met", "ObjectivesMet")
    assert story.drill.rto_gross_seconds == 5300
    assert story.drill.rto_seconds is not None
    assert 0 <= story.drill.rto_seconds <= 300
    assert story.drill.timeline.decide is not None
    [asked] = drilled.play.asked("report")
    assert [line.partition(",")[0] for line in asked.approvals] == [
        f"somebody approved {PLAN.digest} at the gate declare"
    ]
    # Names of people are the report's alone.
    assert "somebody" not in json.dumps([told.to_wire() for told in story.progress] + [story.result.to_wire()])


@pytest.mark.parametrize("decided", [True, False], ids=["rejected", "nobody decides"])
async def test_what_is_not_approved_is_not_begun(drills: Drills, drilled: Drilled, decided: bool) -> None:
    given = drill(approval={"required": True, "timeout": "1h"})
    handle = await drills.start(given)
    waiting = (await drills.until(handle, lambda told: told.phase == Phase.WAITING)).waiting
    assert waiting is not None
    if decided:
        await handle.execute_update("approval", approval(given, waiting, decision="Reject", reason="not today"))

    story = await drills.story(handle)

    assert story.failure_type == ("ApprovalRejected" if decided else "ApprovalTimedOut")
    assert story.verdict == ("Inconclusive", "NotMeasured")
    assert drilled.play.steps == ["plan", "report"]
    assert story.messages["teardown"] == "nothing was provisioned"


SUSPENDED_BEFORE = ("plan", "provision", "isolate", "apply", "restore", "apply-after", "probe-rows")


@pytest.mark.parametrize("step", SUSPENDED_BEFORE)
async def test_suspended_it_pauses_before_the_next_step_and_that_time_is_nobodys(
    drills: Drills, drilled: Drilled, step: str
) -> None:
    drilled.play.plan_made = PLAN.model_copy(update={"after": 1})
    before = SUSPENDED_BEFORE.index(step) - 1
    hold = drilled.troubles.hold(SUSPENDED_BEFORE[before]) if before >= 0 else None
    handle = await drills.start(drill(suspended=hold is None, timeout_seconds=600))
    if hold is not None:
        await hold.began.wait()
        await drills.runs.desire(handle, 1, suspended=True)
        hold.let_go.set()
    await drills.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    assert step not in drilled.play.steps
    await drills.env.sleep(100_000)
    await drills.runs.desire(handle, 2, suspended=False)

    story = await drills.story(handle)

    assert story.closed == "COMPLETED"
    assert story.result.waited_seconds >= 100_000
    started = int((await handle.describe()).start_time.timestamp())
    since = [request.since for name, request in drilled.play.calls if name == step and hasattr(request, "since")]
    assert all(moment >= started + 100_000 for moment in since)
    assert (story.drill.rto_gross_seconds, story.drill.rto_seconds) == (RTO, 0)
    drilled.assert_gone()


async def test_suspended_while_probes_run_nothing_changes_for_them(drills: Drills, drilled: Drilled) -> None:
    hold = drilled.troubles.hold("probe-rows")
    handle = await drills.start(drill())
    await hold.began.wait()
    await drills.runs.desire(handle, 1, suspended=True)
    hold.let_go.set()

    story = await drills.story(handle)

    assert story.verdict == ("Met", "ObjectivesMet")
    drilled.assert_gone()


# Troubles that pass


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("step", [*STEPS, "remove-velero"])
async def test_any_activity_may_fail_once_and_is_tried_again(
    drills: Drills, drilled: Drilled, step: str, after: bool
) -> None:
    trouble = drilled.troubles.after if after else drilled.troubles.before
    trouble[step] = [StepFailedError("the API server is away", retryable=True)]
    velero = {"velero": {"backup": "nightly", "includedNamespaces": ["acme-dev"]}}

    story = await drills.carried_out(drill(**({"restore": velero} if step == "remove-velero" else {})))

    assert story.verdict == ("Met", "ObjectivesMet")
    assert drilled.troubles.calls[step] == 2
    drilled.assert_gone()


async def test_a_history_stays_small(drills: Drills, drilled: Drilled) -> None:
    waits = NotYet(reason="not ready: 1 of 3", again_after=10)
    drilled.play.answers = {step: [waits] * 20 for step in STEPS}

    handle = await drills.start(drill())
    story = await drills.story(handle)

    assert story.verdict == ("Met", "ObjectivesMet")
    assert len((await handle.fetch_history()).events) < 5000
