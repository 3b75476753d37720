"""How drills end before their time, and that their namespace goes and their report is made whatever comes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase, WaitKind
from bascule_api.failures import FailureType
from bascule_codec import Keyring, data_converter
from bascule_workers import supervisor
from bascule_workers.dr_drills import ProbeReport
from bascule_workers.errors import ApiUnavailableError, EnvironmentFailedError, ManifestsRefusedError, StepFailedError
from bascule_workers.messages import NotYet
from tests.support.drill_runs import Drills, Story
from tests.support.drills import PLAN, Drilled, drill, probe, undo_of
from tests.support.temporal import skipping_time, worker_of

STEPS = ("plan", "provision", "isolate", "apply", "restore", "apply-after", "probe-rows")
"""Steps of a drill's story, in their order."""
FOREVER = [NotYet(reason="not ready: 1 of 3", again_after=60)] * 1000
HELD = "pods/db-0 has the finalizer example.com/backup"


@pytest.fixture(autouse=True)
def _after(drilled: Drilled) -> None:
    """Every drill applies something after its restore as well."""
    drilled.play.plan_made = PLAN.model_copy(update={"after": 1})


async def in_the_midst(drills: Drills, drilled: Drilled, step: str, **changes: Any) -> WorkflowHandle[Any, Any]:
    """A drill that is in the midst of a step."""
    hold = drilled.troubles.hold(step)
    # One probe: the test server breaks where an activity ends just as another is cancelled.
    handle = await drills.start(drill(probes=[probe("rows")], **changes))
    await hold.began.wait()
    drilled.troubles.release_holds()
    if step in ("teardown", "report"):
        # What takes back is never interrupted.
        asyncio.get_running_loop().call_later(1, hold.let_go.set)
    return handle


def assert_torn_down(drilled: Drilled, story: Story, *, provisioned: bool = True, made: bool = True) -> None:
    """The namespace went once, and the report came after it. `made`: whether it was there before."""
    drilled.assert_gone()
    asked = [step for step, _ in drilled.play.calls]
    assert asked[-1] == "report"
    assert asked.count("teardown") == (1 if provisioned else 0)
    assert story.steps["teardown"] == ("Succeeded" if provisioned else "Skipped")
    assert (story.steps["report"], story.drill.report) == ("Succeeded", drilled.play.report_digest)
    assert story.drill.searched == (drilled.play.searched if provisioned and made else [])


# Cancelled and deleted


@pytest.mark.parametrize(
    "reason", ["cancelled: not today", names.CANCEL_DELETED, names.CANCEL_DELETED_RELEASES_ONLY], ids=["c", "d", "r"]
)
@pytest.mark.parametrize("step", STEPS)
async def test_cancelled_or_deleted_in_any_step(drills: Drills, drilled: Drilled, step: str, reason: str) -> None:
    handle = await in_the_midst(drills, drilled, step, keepFor="1h")
    await handle.cancel(reason=reason)

    story = await drills.story(handle)

    assert (story.closed, story.result.phase) == ("CANCELED", Phase.CANCELLED)
    assert story.verdict == ("Inconclusive", "NotMeasured")
    assert story.steps[step] == "Cancelled"
    assert story.drill.timeline.kept is None
    assert_torn_down(drilled, story, provisioned=step != "plan", made=step != "provision")
    assert story.result.compensation.state.settled


@pytest.mark.parametrize("step", ["teardown", "report"])
async def test_cancelled_in_its_end_a_drill_stays_what_it_was(drills: Drills, drilled: Drilled, step: str) -> None:
    handle = await in_the_midst(drills, drilled, step)
    await handle.cancel(reason=names.CANCEL_DELETED)

    story = await drills.story(handle)

    assert (story.closed, *story.verdict) == ("COMPLETED", "Met", "ObjectivesMet")
    assert_torn_down(drilled, story)


async def test_cancelled_before_its_first_step(drills: Drills, drilled: Drilled) -> None:
    handle = await drills.start(drill(suspended=True))
    await drills.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    await handle.cancel(reason=names.CANCEL_DELETED)

    story = await drills.story(handle)

    assert (story.closed, story.result.compensation.state) == ("CANCELED", CompensationState.NOTHING_TO_DO)
    assert_torn_down(drilled, story, provisioned=False)


# Failed and out of time


@pytest.mark.parametrize(
    ("step", "error", "verdict"),
    [
        pytest.param("plan", ManifestsRefusedError("2: hostPath"), "NotMeasured", id="manifests refused"),
        pytest.param("provision", StepFailedError("no"), "NotMeasured", id="provisioning"),
        pytest.param("isolate", StepFailedError("no"), "NotMeasured", id="proof of isolation"),
        pytest.param("apply", EnvironmentFailedError("web is not ready"), "EnvironmentFailed", id="never ready"),
        pytest.param(
            "apply-after", EnvironmentFailedError("it is not ready"), "EnvironmentFailed", id="never ready later"
        ),
        pytest.param("restore", StepFailedError("no", FailureType.RESTORE_FAILED), "RestoreFailed", id="restore"),
        pytest.param("restore", StepFailedError("no", FailureType.BACKUP_NOT_FOUND), "RestoreFailed", id="no backup"),
        pytest.param("restore", StepFailedError("no", FailureType.REGISTRY_UNAVAILABLE), "NotMeasured", id="no store"),
        pytest.param("probe-rows", StepFailedError("no"), "NotMeasured", id="a probe that cannot be asked"),
    ],
)
async def test_a_step_that_fails_ends_the_drill(
    drills: Drills, drilled: Drilled, step: str, error: StepFailedError, verdict: str
) -> None:
    drilled.troubles.before[step] = [error]

    story = await drills.carried_out(drill())

    assert (story.closed, story.failure_type, story.drill.reason) == ("FAILED", error.type, verdict)
    assert story.result.failure is not None
    assert (story.result.failure.step, story.steps[step]) == (step, "Failed")
    assert str(error) in story.drill.message
    assert_torn_down(
        drilled, story, provisioned=step not in ("plan",)
    ) if step != "provision" else drilled.assert_gone()
    [asked] = drilled.play.asked("report")
    assert asked.failure == f"{error.type} in {step}: {error}"


@pytest.mark.parametrize("step", STEPS)
async def test_out_of_time_in_any_step(drills: Drills, drilled: Drilled, step: str) -> None:
    drilled.play.answers[step] = list(FOREVER)

    story = await drills.carried_out(drill(timeout_seconds=600))

    assert (story.closed, story.failure_type) == ("FAILED", "RunTimedOut")
    assert story.verdict == ("Inconclusive", "NotMeasured")
    assert story.steps[step] == "Failed"
    assert_torn_down(drilled, story, provisioned=step != "plan")


async def test_a_report_that_cannot_be_made_changes_nothing(drills: Drills, drilled: Drilled) -> None:
    drilled.troubles.before["report"] = [ApiUnavailableError("the registry is away") for _ in range(1000)]

    story = await drills.carried_out(drill())

    assert (story.closed, *story.verdict) == ("COMPLETED", "Met", "ObjectivesMet")
    assert (story.steps["report"], story.drill.report) == ("Failed", None)
    assert "the registry is away" in story.messages["report"]
    assert story.result.compensation.state == CompensationState.NOTHING_TO_DO
    drilled.assert_gone()


# A teardown that is held


async def test_what_holds_the_teardown_is_told_while_it_is_waited_for(drills: Drills, drilled: Drilled) -> None:
    drilled.play.answers["teardown"] = [NotYet(reason=HELD, again_after=30, cursor="2 pods")] * 3

    story = await drills.carried_out(drill())

    assert (story.closed, *story.verdict) == ("COMPLETED", "Met", "ObjectivesMet")
    assert f"teardown: {HELD}" in [told.message for told in story.progress]
    assert any(told.facts["drill"].get("left") == [HELD] for told in story.progress)
    assert [request.cursor for request in drilled.play.asked("teardown")] == ["", *["2 pods"] * 3]
    assert (story.drill.left, story.result.compensation.state) == ([], CompensationState.NOTHING_TO_DO)
    drilled.assert_gone()


@pytest.mark.parametrize("cancelled", [False, True], ids=["of a drill that met", "of one that is cancelled"])
async def test_a_teardown_that_is_held_too_long_is_left_to_an_undo(
    drills: Drills, drilled: Drilled, cancelled: bool
) -> None:
    drilled.play.answers["teardown"] = [NotYet(reason=HELD, again_after=60)] * 1000
    given = drill(compensation={"timeout": "10m"}, probes=[probe("rows")])
    hold = drilled.troubles.hold("probe-rows")
    handle = await drills.start(given)
    await hold.began.wait()
    if cancelled:
        # Its activity ends by that: the test server breaks where one ends by itself just as it is cancelled.
        await handle.cancel(reason=names.CANCEL_DELETED)
    else:
        hold.let_go.set()

    story = await drills.story(handle)

    assert story.closed == ("CANCELED" if cancelled else "COMPLETED")
    assert story.drill.verdict == ("Inconclusive" if cancelled else "Met")
    assert (story.result.compensation.state, story.drill.left) == (CompensationState.FAILED, [HELD])
    assert HELD in story.result.compensation.left[0]
    assert (story.steps["teardown"], story.steps["report"]) == ("Failed", "Succeeded")
    assert len(drilled.play.namespaces) == 1

    again = await drills.undone(undo_of(given, abandoned=False, timeout_seconds=600))
    assert (again.compensation.state, len(again.compensation.left)) == (CompensationState.FAILED, 1)
    assert HELD in again.compensation.left[0]

    drilled.play.answers["teardown"] = []
    last = await drills.undone(undo_of(given, abandoned=False, attempt=2))
    assert (last.compensation.state, last.compensation.left) == (CompensationState.SUCCEEDED, [])
    drilled.assert_gone()


async def test_a_teardown_that_leaves_something_says_what(drills: Drills, drilled: Drilled) -> None:
    drilled.play.left = ["persistentvolume/pv-7: Released, kept by its reclaim policy"]

    story = await drills.carried_out(drill())

    assert (story.steps["teardown"], story.drill.left) == ("Failed", drilled.play.left)
    assert (story.result.compensation.state, story.result.compensation.left) == ("Failed", drilled.play.left)


async def test_a_teardown_waits_for_an_api_server_that_is_away(drills: Drills, drilled: Drilled) -> None:
    drilled.troubles.before["teardown"] = [ApiUnavailableError("the API server is away") for _ in range(30)]

    story = await drills.carried_out(drill())

    assert story.verdict == ("Met", "ObjectivesMet")
    assert any("the API server is away" in told.message for told in story.progress)
    drilled.assert_gone()


@pytest.mark.parametrize("undone", [False, True], ids=["in the run", "in its undo"])
async def test_past_the_deadline_the_namespace_still_goes(drills: Drills, drilled: Drilled, undone: bool) -> None:
    velero = {"velero": {"backup": "nightly", "includedNamespaces": ["acme-dev"]}}
    given = drill(restore=velero, compensation={"timeout": "10m"})
    drilled.play.answers["teardown"] = [NotYet(reason="counted what there is", cursor="2 pods")]
    drilled.troubles.before["remove-velero"] = [ApiUnavailableError("Velero's API is away") for _ in range(1000)]

    if undone:
        drilled.play.namespaces = {names.drill_namespace(given.run.uid, 1): given.run.uid}
        left = (await drills.undone(undo_of(given, abandoned=False, timeout_seconds=600))).compensation.left
    else:
        left = (await drills.carried_out(given)).result.compensation.left

    assert [item.partition(":")[0] for item in left] == ["delete the run's Restores of Velero"]
    assert drilled.play.namespaces == {}
    assert [request.cursor for request in drilled.play.asked("teardown")] == ["", "2 pods"]


# People who look at it


def kept(told: Any) -> bool:
    return told.waiting is not None and told.waiting.gate == "keep"


def fail_a_probe(drilled: Drilled) -> None:
    drilled.play.probes = {"rows": ProbeReport(passed=False, message="0 rows")}


@pytest.mark.parametrize("failing", ["probe", "restore", "isolation"])
async def test_what_did_not_meet_its_objectives_is_kept_for_people(
    drills: Drills, drilled: Drilled, failing: str
) -> None:
    match failing:
        case "probe":
            fail_a_probe(drilled)
        case "restore":
            drilled.troubles.before["restore"] = [StepFailedError("no", FailureType.RESTORE_FAILED)]
        case _:
            drilled.play.leak = "it answered"
    handle = await drills.start(drill(keepFor="2d", timeout_seconds=3600, compensation={"timeout": "1h"}))
    told = await drills.until(handle, kept)
    assert told.waiting is not None
    assert (told.phase, told.waiting.kind, "teardown" in drilled.play.steps) == (Phase.WAITING, WaitKind.SOAK, False)
    assert told.facts["drill"]["verdict"] in ("Missed", "Inconclusive")
    assert len(drilled.play.namespaces) == 1
    assert drilled.steps.stopped_in == [*drilled.play.namespaces], "no pod may reach out of what is kept"
    assert drilled.steps.stopped == [False], "logs of what is over stay"

    story = await drills.story(handle)

    assert story.closed == ("FAILED" if failing == "restore" else "COMPLETED")
    span = story.drill.timeline.kept
    assert span is not None
    assert span.started_at is not None
    assert span.finished_at is not None
    assert (span.finished_at - span.started_at).days == 2
    assert story.result.waited_seconds >= 2 * 86_400
    assert_torn_down(drilled, story)


async def test_one_that_met_its_objectives_is_not_kept(drills: Drills, drilled: Drilled) -> None:
    story = await drills.carried_out(drill(keepFor="2d"))

    assert (story.drill.verdict, story.drill.timeline.kept) == ("Met", None)
    assert Phase.WAITING not in story.phases


async def test_one_that_provisioned_nothing_is_not_kept(drills: Drills, drilled: Drilled) -> None:
    drilled.troubles.before["plan"] = [ManifestsRefusedError("2: hostPath")]

    story = await drills.carried_out(drill(keepFor="2d"))

    assert story.drill.timeline.kept is None
    assert_torn_down(drilled, story, provisioned=False)


async def test_one_that_is_out_of_time_is_kept(drills: Drills, drilled: Drilled) -> None:
    drilled.play.answers["restore"] = list(FOREVER)

    story = await drills.carried_out(drill(keepFor="2d", timeout_seconds=600))

    assert (story.failure_type, story.drill.timeline.kept is None) == ("RunTimedOut", False)
    assert_torn_down(drilled, story)


async def test_jobs_are_stopped_before_a_drill_out_of_time_is_kept(drills: Drills, drilled: Drilled) -> None:
    drilled.play.answers["restore"] = list(FOREVER)
    drilled.troubles.before["stop"] = [ApiUnavailableError("the API server is away")] * 3

    story = await drills.carried_out(drill(keepFor="2d", timeout_seconds=600))

    assert drilled.steps.stopped_in == [story.drill.namespace]
    assert (story.failure_type, story.drill.timeline.kept is None) == ("RunTimedOut", False)


async def test_a_namespace_whose_jobs_cannot_be_stopped_is_not_kept(drills: Drills, drilled: Drilled) -> None:
    fail_a_probe(drilled)
    drilled.troubles.before["stop"] = [ApiUnavailableError("the API server is away") for _ in range(1000)]

    story = await drills.carried_out(drill(keepFor="2d"))

    assert (story.closed, *story.verdict) == ("COMPLETED", "Missed", "ProbeFailed")
    assert story.drill.timeline.kept is None
    assert story.drill.message.startswith("not kept: ")
    assert "the API server is away" in story.drill.message
    assert_torn_down(drilled, story)


async def test_cancelled_while_its_jobs_are_stopped_a_drill_is_not_kept(drills: Drills, drilled: Drilled) -> None:
    fail_a_probe(drilled)
    hold = drilled.troubles.hold("stop")
    handle = await drills.start(drill(keepFor="2000d"))
    await hold.began.wait()
    drilled.troubles.release_holds()
    asyncio.get_running_loop().call_later(1, hold.let_go.set)
    await handle.cancel(reason=names.CANCEL_DELETED)

    story = await drills.story(handle)

    assert (story.closed, *story.verdict) == ("COMPLETED", "Missed", "ProbeFailed")
    assert story.drill.timeline.kept is None
    assert_torn_down(drilled, story)


@pytest.mark.parametrize("reason", [names.CANCEL_DELETED, "cancelled: seen enough"], ids=["deleted", "cancelled"])
@pytest.mark.parametrize("suspended", [False, True], ids=["", "suspended"])
async def test_deletion_and_cancellation_end_the_keeping_and_change_no_verdict(
    drills: Drills, drilled: Drilled, reason: str, suspended: bool
) -> None:
    fail_a_probe(drilled)
    handle = await drills.start(drill(keepFor="2000d"))
    await drills.until(handle, kept)
    if suspended:
        await drills.runs.desire(handle, 1, suspended=True)
        await drills.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    await handle.cancel(reason=reason)

    story = await drills.story(handle)

    assert (story.closed, *story.verdict) == ("COMPLETED", "Missed", "ProbeFailed")
    assert story.result.waited_seconds < 2000 * 86_400
    assert_torn_down(drilled, story)


# Workers that go, and runs that were ended


@pytest.mark.parametrize("step", [*STEPS, "teardown", "report"])
async def test_another_worker_goes_on_in_any_step(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Unlike the real one, the test server never takes back what waits in the queue of a worker that is gone.
    monkeypatch.setattr(supervisor, "Worker", partial(Worker, max_cached_workflows=0))

    drilled, story = await _with_another_worker(step)

    assert story.verdict == ("Met", "ObjectivesMet")
    assert drilled.troubles.calls[step] >= 2
    drilled.assert_gone()


async def _with_another_worker(step: str, tries: int = 3) -> tuple[Drilled, Story]:
    """A drill whose worker goes in the midst of a step.

    Now and then, on a busy machine, the test server breaks ("invalid history builder state for action") and never
    hands the run out again, which no real server does: then all of it is done once more.
    """
    for left in reversed(range(tries)):
        drilled = Drilled()
        drilled.play.plan_made = PLAN.model_copy(update={"after": 1})
        async with skipping_time(data_converter(Keyring.generate(), "default")) as runs:
            drills = Drills(runs)
            async with worker_of(runs, drilled):
                hold = drilled.troubles.hold_after(step)
                # One probe: see `in_the_midst`.
                handle = await drills.start(drill(probes=[probe("rows")]))
                await hold.began.wait()
            drilled.troubles.release_holds()
            async with worker_of(runs, drilled):
                try:
                    return drilled, await drills.story(handle)
                except TimeoutError:
                    if not left:
                        raise
    raise AssertionError("never tried")


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("step", [*STEPS, "teardown", "report"])
async def test_of_a_drill_that_was_terminated_in_any_step_nothing_is_left(
    drills: Drills, drilled: Drilled, step: str, after: bool, hasty: None
) -> None:
    velero = {"velero": {"backup": "nightly", "includedNamespaces": ["acme-dev"]}}
    given = drill(restore=velero)
    hold = drilled.troubles.hold_after(step) if after else drilled.troubles.hold(step)
    handle = await drills.start(given)
    await hold.began.wait()
    drilled.troubles.release_holds()
    await handle.terminate(reason="by hand")

    result = await drills.undone(undo_of(given))

    assert result.compensation.state.settled
    assert result.compensation.left == []
    drilled.assert_gone()


async def test_an_undo_that_finds_nothing_says_so(drills: Drills, drilled: Drilled) -> None:
    result = await drills.undone(undo_of(drill(), abandoned=False, undo=False))

    assert (result.compensation.state, result.compensation.left) == (CompensationState.NOTHING_TO_DO, [])
    assert drilled.play.steps == ["remove-velero", "teardown"]
