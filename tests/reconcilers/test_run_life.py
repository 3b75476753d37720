"""Lives of runs that need a hand on the ports: the real workflow on a real Temporal, its registry held or slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab, condition, ready
from tests.support.fake_world import World

Json = dict[str, Any]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def real(lab: Lab, world: World) -> Lab:
    """The lab with an operator, its tenant ready and a worker of the real workflow on the ports of `world`."""
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_real_worker(world)
    return lab


def run(body: Json) -> Json:
    return dict(body.get("status", {}).get("run", {}))


async def compensating(lab: Lab, world: World) -> Key:
    """A build whose candidate cannot be deleted yet."""
    sign, delete = world.troubles.hold("sign"), world.troubles.hold("delete")
    key = await lab.build()
    async with asyncio.timeout(20):
        await sign.began.wait()
    await lab.annotate(key, cancel="wrong base image")
    # A run that hears of it after its last step has succeeded: it deletes its candidate as well, and stays what it is.
    [workflow_id] = await lab.runs()
    await lab.until_cancel_requested(workflow_id)
    sign.let_go.set()
    async with asyncio.timeout(20):
        await delete.began.wait()
    await lab.until_phase(key, "Compensating")
    return key


async def test_suspended_while_it_compensates_a_run_goes_on_compensating_and_nothing_starts_after_it(
    real: Lab, world: World
) -> None:
    key = await compensating(real, world)
    await real.patch(key, {"spec": {"suspend": True}})
    await real.annotate(key, requested_at="meanwhile")
    await real.until(key, lambda body: body["status"]["observedGeneration"] == 2, "was looked at")
    assert (await real.until_phase(key, "Compensating"))["status"]["compensation"]["state"] == "Running"
    world.troubles.hold("delete").let_go.set()
    body = await real.until_phase(key, "Suspended")
    assert (run(body)["number"], run(body)["outcome"]) == (1, "Cancelled")
    assert body["status"]["compensation"]["state"] == "Succeeded"
    assert condition(body, "Compensated")["status"] == "True"
    await asyncio.sleep(1)
    assert len(await real.runs()) == 1
    await real.patch(key, {"spec": {"suspend": False}})
    body = await real.until(key, lambda found: run(found)["number"] == 2 and "outcome" in run(found), "ran again")
    assert run(body)["outcome"] == "Succeeded"
    assert body["status"]["handled"]["request"] == "meanwhile"


async def test_a_request_while_it_compensates_waits_until_that_is_settled(real: Lab, world: World) -> None:
    key = await compensating(real, world)
    await real.annotate(key, requested_at="again")
    await asyncio.sleep(1)
    assert len(await real.runs()) == 1
    world.troubles.hold("delete").let_go.set()
    body = await real.until(key, lambda found: run(found)["number"] == 2 and "outcome" in run(found), "ran again")
    assert run(body)["trigger"] == "Request"
    first = body["status"]["history"][-1]
    assert first["finishedAt"] <= run(body)["startedAt"]


async def test_a_second_cancellation_while_it_compensates_changes_nothing(real: Lab, world: World) -> None:
    key = await compensating(real, world)
    await real.annotate(key, cancel="really")
    await asyncio.sleep(0.5)
    world.troubles.hold("delete").let_go.set()
    body = await real.until_phase(key, "Cancelled")
    assert ready(body)["message"].startswith("run 1 was cancelled (wrong base image)")
    assert body["status"]["compensation"]["state"] == "Succeeded"


async def test_a_changed_spec_while_it_compensates_starts_when_that_is_settled(real: Lab, world: World) -> None:
    key = await compensating(real, world)
    await real.build(repository="registry.example.com/acme/other")
    await asyncio.sleep(1)
    assert len(await real.runs()) == 1
    world.troubles.hold("delete").let_go.set()
    body = await real.until_phase(key, "Succeeded")
    assert (run(body)["number"], run(body)["trigger"]) == (2, "Revision")


async def test_suspended_again_and_again_the_last_word_counts(real: Lab, world: World) -> None:
    sign = world.troubles.hold("sign")
    key = await real.build()
    async with asyncio.timeout(20):
        await sign.began.wait()
    for _ in range(3):
        await real.patch(key, {"spec": {"suspend": True}})
        await real.patch(key, {"spec": {"suspend": False}})
    await real.patch(key, {"spec": {"suspend": True}})
    await real.until(key, lambda body: run(body).get("suspended") is True, "was told")
    sign.let_go.set()
    body = await real.until_phase(key, "Suspended")
    assert run(body)["number"] == 1
    await real.stop_operator()
    await real.patch(key, {"spec": {"suspend": False}})
    await real.start_operator()
    body = await real.until_phase(key, "Succeeded")
    assert len(await real.runs()) == 1
