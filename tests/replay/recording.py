"""Records the histories that the replay test replays: `python -m tests.replay.recording [STORY …]`.

Histories of a released version are never recorded anew: they are what runs of that version look like, and today's code
must be able to go on with them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.conditions import Phase
from bascule_api.progress import ApprovalMessage
from bascule_workers.dr_drills import ProbeReport
from bascule_workers.errors import RegistryUnavailableError
from bascule_workers.messages import NotYet
from bascule_workers.plans.outcomes import Failed, Lost, Running, Succeeded
from tests.support import undos
from tests.support.campaign_runs import Campaigns, Fleet, undo_of
from tests.support.campaigns import campaign
from tests.support.drill_runs import Drills
from tests.support.drills import PLAN, Drilled, approval, drill
from tests.support.drills import undo_of as undo_of_drill
from tests.support.fake_world import World, secret
from tests.support.runs import REPOSITORY, Runs, image_build
from tests.support.temporal import serving_runs

FOLDER = Path(__file__).parent
UID = "00000000-0000-4000-8000-000000000000"
Handle = WorkflowHandle[Any, Any]


async def success(runs: Runs, world: World) -> Handle:
    return await runs.start(image_build(UID, tests=("smoke", "load")))


async def failed_test(runs: Runs, world: World) -> Handle:
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    return await runs.start(image_build(UID, tests=("smoke", "load")))


async def cancelled_in_a_test(runs: Runs, world: World) -> Handle:
    held = world.troubles.hold("test-smoke")
    handle = await runs.start(image_build(UID))
    await held.began.wait()
    await handle.cancel(reason="Deleted")
    return handle


async def troubles_waited_out(runs: Runs, world: World) -> Handle:
    world.steps.script["build"] = [Running("no node takes the pod"), Lost("its node was drained")]
    world.troubles.before["sign"] = [RegistryUnavailableError("the registry is away") for _ in range(3)]
    world.leases.taken = 2
    return await runs.start(image_build(UID))


async def suspended_and_resumed(runs: Runs, world: World) -> Handle:
    handle = await runs.start(image_build(UID, suspended=True))
    await runs.until(handle, Phase.SUSPENDED)
    await runs.desire(handle, 1, suspended=False)
    return handle


async def timed_out(runs: Runs, world: World) -> Handle:
    world.troubles.before["check_push"] = [RegistryUnavailableError("the registry is away") for _ in range(100)]
    return await runs.start(image_build(UID, timeout_seconds=300))


async def compensation_failed(runs: Runs, world: World) -> Handle:
    world.steps.script["test-smoke"] = [Failed("exit code 3", exit_code=3)]
    world.registry.deletes = False
    return await runs.start(image_build(UID))


async def at_the_gate(runs: Runs) -> tuple[Handle, ApprovalMessage]:
    publish = {"repository": REPOSITORY, "tags": ["v1"], "approval": {"required": True, "timeout": "1d"}}
    handle = await runs.start(image_build(UID, publish=publish))
    told = await runs.until(handle, Phase.WAITING)
    assert told.waiting is not None
    message = ApprovalMessage(
        uid=UID, run=1, gate="publish", subject=told.waiting.subject, decision=Decision.APPROVE, approver="somebody"
    )
    return handle, message


async def approved(runs: Runs, world: World) -> Handle:
    handle, message = await at_the_gate(runs)
    await handle.execute_update(names.UPDATE_APPROVAL, message, id="00000000-0000-4000-8000-000000000001")
    return handle


async def rejected(runs: Runs, world: World) -> Handle:
    handle, message = await at_the_gate(runs)
    message = message.model_copy(update={"decision": Decision.REJECT, "reason": "not on a Friday"})
    await handle.execute_update(names.UPDATE_APPROVAL, message, id="00000000-0000-4000-8000-000000000001")
    return handle


async def approval_timed_out(runs: Runs, world: World) -> Handle:
    handle, _ = await at_the_gate(runs)
    return handle


async def suspended_at_the_gate(runs: Runs, world: World) -> Handle:
    handle, message = await at_the_gate(runs)
    await runs.desire(handle, 1, suspended=True)
    await runs.until(handle, Phase.SUSPENDED)
    await runs.desire(handle, 2, suspended=False)
    await runs.until(handle, Phase.WAITING)
    await handle.execute_update(names.UPDATE_APPROVAL, message, id="00000000-0000-4000-8000-000000000001")
    return handle


async def cancelled_while_suspended(runs: Runs, world: World) -> Handle:
    handle = await runs.start(image_build(UID, suspended=True))
    await runs.until(handle, Phase.SUSPENDED)
    await handle.cancel(reason="cancelled: not needed any more")
    return handle


async def superseded(runs: Runs, world: World) -> Handle:
    return await _cancelled(runs, world, "superseded: the spec changed")


async def released_only(runs: Runs, world: World) -> Handle:
    return await _cancelled(runs, world, names.CANCEL_DELETED_RELEASES_ONLY)


async def _cancelled(runs: Runs, world: World, reason: str) -> Handle:
    held = world.troubles.hold("build")
    handle = await runs.start(image_build(UID))
    await held.began.wait()
    await handle.cancel(reason=reason)
    return handle


async def login_kept(runs: Runs, world: World) -> Handle:
    login = '{"auths": {"registry.example.com": {"username": "me", "password": "hunter22"}}}'
    world.objects.add(secret("push", "registry", {".dockerconfigjson": login}, host="registry.example.com"))
    publish = {"repository": REPOSITORY, "tags": ["v1"], "secretRef": {"name": "push"}}
    return await runs.start(image_build(UID, publish=publish, compensation={"onDelete": "Always"}))


async def undone(runs: Runs, world: World) -> Handle:
    build = image_build(UID)
    await runs.carried_out(build)
    return await undos.start(runs, undos.undo_of(build, final=True))


async def undo_failed(runs: Runs, world: World) -> Handle:
    build = image_build(UID)
    await runs.carried_out(build)
    world.troubles.before["tags"] = [RegistryUnavailableError("the registry is away") for _ in range(1000)]
    return await undos.start(runs, undos.undo_of(build, timeout_seconds=120))


async def undo_retried(runs: Runs, world: World) -> Handle:
    failed = await undo_failed(runs, world)
    await failed.result()
    del world.troubles.before["tags"]
    return await undos.start(runs, undos.undo_of(image_build(UID), attempt=2, abandoned=False))


async def undo_of_nothing(runs: Runs, world: World) -> Handle:
    return await undos.start(runs, undos.undo_of(image_build(UID), undo=False))


def _fleet(world: World) -> Fleet:
    assert isinstance(world, Fleet)
    return world


async def campaign_success(runs: Runs, world: World) -> Handle:
    _fleet(world).steps.results["patch"] = {"rebootRequired": "true"}
    gates = [{"name": "judge", "procedure": {"name": "judge"}}]
    waves = [{"name": "canary", "size": 1, "soak": "1h"}, {"name": "fleet", "maxParallel": 2}]
    return await Campaigns(runs).start(campaign(UID, waves=waves, gates=gates, verify={"procedure": "smoke"}))


async def campaign_rolled_back(runs: Runs, world: World) -> Handle:
    wrong = Failed("exit code 3", exit_code=3, pod="p", container="step")
    _fleet(world).steps.script["patch"] = [Succeeded(pod="p"), Succeeded(pod="p"), wrong]
    return await Campaigns(runs).start(campaign(UID, failurePolicy={"action": "RollbackAll"}))


async def campaign_cancelled(runs: Runs, world: World) -> Handle:
    held = world.troubles.hold("patch")
    handle = await Campaigns(runs).start(campaign(UID))
    await held.began.wait()
    world.troubles.release_holds()
    await handle.cancel(reason=names.CANCEL_DELETED)
    return handle


async def campaign_batch(runs: Runs, world: World) -> Handle:
    handle = await campaign_success(runs, world)
    await handle.result()
    return runs.env.client.get_workflow_handle(names.batch_workflow_id(handle.id, "fleet", 2))


async def campaign_batch_failed(runs: Runs, world: World) -> Handle:
    handle = await campaign_rolled_back(runs, world)
    with suppress(WorkflowFailureError):
        await handle.result()
    return runs.env.client.get_workflow_handle(names.batch_workflow_id(handle.id, "fleet", 2))


async def campaign_undone(runs: Runs, world: World) -> Handle:
    given = campaign(UID)
    await Campaigns(runs).carried_out(given)
    return await Campaigns(runs).undo(undo_of(given, abandoned=False))


def _drilled(world: World) -> Drilled:
    assert isinstance(world, Drilled)
    return world


async def drill_met(runs: Runs, world: World) -> Handle:
    _drilled(world).play.plan_made = PLAN.model_copy(update={"after": 1})
    return await Drills(runs).start(drill(UID))


async def drill_approved_and_suspended(runs: Runs, world: World) -> Handle:
    drills, given = Drills(runs), drill(UID, approval={"required": True})
    handle = await drills.start(given)
    told = await drills.until(handle, lambda told: told.phase == Phase.WAITING)
    assert told.waiting is not None
    await runs.desire(handle, 1, suspended=True)
    await drills.until(handle, lambda told: told.phase == Phase.SUSPENDED)
    await handle.execute_update(names.UPDATE_APPROVAL, approval(given, told.waiting), id=UID)
    await runs.desire(handle, 2, suspended=False)
    return handle


async def drill_missed_and_kept(runs: Runs, world: World) -> Handle:
    play = _drilled(world).play
    play.probes = {"rows": ProbeReport(passed=False, message="0 rows")}
    play.answers = {"teardown": [NotYet(reason="pods/db-0 has a finalizer", again_after=30, cursor="1")]}
    return await Drills(runs).start(drill(UID, keepFor="1d"))


async def drill_not_isolated(runs: Runs, world: World) -> Handle:
    _drilled(world).play.leak = "it answered"
    return await Drills(runs).start(drill(UID))


async def drill_cancelled(runs: Runs, world: World) -> Handle:
    velero = {"velero": {"backup": "nightly", "includedNamespaces": ["acme-dev"]}}
    held = world.troubles.hold("restore")
    handle = await Drills(runs).start(drill(UID, restore=velero))
    await held.began.wait()
    await handle.cancel(reason=names.CANCEL_DELETED)
    return handle


async def drill_undone(runs: Runs, world: World) -> Handle:
    play, given = _drilled(world).play, drill(UID)
    play.namespaces = {names.drill_namespace(UID, 1): UID}
    play.answers = {"teardown": [NotYet(reason="pods/db-0 has a finalizer", again_after=30, cursor="1")]}
    return await Drills(runs).undo(undo_of_drill(given))


STORIES: dict[str, Callable[[Runs, World], Awaitable[Handle]]] = {
    "success": success,
    "approved": approved,
    "failed-test": failed_test,
    "cancelled-in-a-test": cancelled_in_a_test,
    "troubles-waited-out": troubles_waited_out,
    "suspended-and-resumed": suspended_and_resumed,
    "timed-out": timed_out,
    "compensation-failed": compensation_failed,
    "rejected": rejected,
    "approval-timed-out": approval_timed_out,
    "suspended-at-the-gate": suspended_at_the_gate,
    "cancelled-while-suspended": cancelled_while_suspended,
    "superseded": superseded,
    "released-only": released_only,
    "login-kept": login_kept,
    "undone": undone,
    "undo-failed": undo_failed,
    "undo-retried": undo_retried,
    "undo-of-nothing": undo_of_nothing,
    "campaign-success": campaign_success,
    "campaign-rolled-back": campaign_rolled_back,
    "campaign-cancelled": campaign_cancelled,
    "campaign-batch": campaign_batch,
    "campaign-batch-failed": campaign_batch_failed,
    "campaign-undone": campaign_undone,
    "drill-met": drill_met,
    "drill-approved-and-suspended": drill_approved_and_suspended,
    "drill-missed-and-kept": drill_missed_and_kept,
    "drill-not-isolated": drill_not_isolated,
    "drill-cancelled": drill_cancelled,
    "drill-undone": drill_undone,
}


def _world(name: str) -> World:
    if name.startswith("campaign-"):
        return Fleet(3)
    return Drilled() if name.startswith("drill-") else World()


async def record(name: str) -> None:
    world = _world(name)
    async with serving_runs(world, pydantic_data_converter) as runs:
        handle = await STORIES[name](runs, world)
        with suppress(WorkflowFailureError):
            await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
    (FOLDER / f"{name}.json").write_text(json.dumps(anonymous(history), indent=1) + "\n")


def anonymous(value: Any) -> Any:
    """Without the names of processes and machines, and without stack traces."""
    if isinstance(value, dict):
        hidden = {"identity": "recorded", "stackTrace": ""}
        return {key: hidden.get(key, anonymous(item)) for key, item in value.items()}
    return [anonymous(item) for item in value] if isinstance(value, list) else value


async def main(chosen: Sequence[str]) -> None:
    for name in chosen or STORIES:
        await record(name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
