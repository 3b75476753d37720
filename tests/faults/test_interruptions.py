"""What goes wrong for a while rather than at one call: watches, servers that are away, a second operator, a pause.

They are mostly waiting: all that were chosen are begun at once, each in a shard of its own.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest

from bascule_operator.errors import GoneError
from tests.support.harness import oracles
from tests.support.harness.at_once import interruption
from tests.support.harness.calls import Call
from tests.support.harness.campaign import Lab, judge, live
from tests.support.harness.gate import Kind
from tests.support.harness.life import Life
from tests.support.harness.lives import LIVES
from tests.support.harness.packing import Case, packed
from tests.support.harness.scene import Scene, step_state
from tests.support.harness.shard import Shard, shard

pytestmark = pytest.mark.asyncio(loop_scope="session")
EVERY_LIFE = pytest.mark.parametrize("life", LIVES.values(), ids=lambda life: life.name)


async def _meanwhile(trouble: Callable[[], Awaitable[None]], shard: Shard, life: Life) -> None:
    """Live a life while the trouble goes on. Raises AssertionError with what was wrong."""
    task = asyncio.create_task(trouble())
    try:
        wrong = await live(shard, Case(life.name))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert not wrong, "\n".join(wrong)


@EVERY_LIFE
@interruption
async def test_watches_that_break_every_two_seconds_lose_nothing(chosen: Shard, life: Life) -> None:
    broken = 0

    async def trouble() -> None:
        nonlocal broken
        while True:
            await asyncio.sleep(2)
            broken += chosen.operator_api.cut() + chosen.worker_api.cut()

    await _meanwhile(trouble, chosen, life)
    assert broken


@EVERY_LIFE
@interruption
async def test_watches_that_are_told_410_list_again(chosen: Shard, life: Life) -> None:
    async def trouble() -> None:
        while True:
            for proxy in (chosen.operator_api, chosen.worker_api):
                proxy.expired = True
                proxy.cut()
            await asyncio.sleep(3)
            for proxy in (chosen.operator_api, chosen.worker_api):
                proxy.expired = False
            await asyncio.sleep(2)

    try:
        await _meanwhile(trouble, chosen, life)
    finally:
        chosen.operator_api.expired = chosen.worker_api.expired = False


@interruption
async def test_watches_that_fall_silent_are_noticed(chosen: Shard) -> None:
    assert chosen.operator_api.freeze()
    chosen.worker_api.freeze()
    wrong = await live(chosen, Case("success"))
    assert not wrong, wrong


@interruption
async def test_an_event_that_never_arrives_is_made_up_for_by_the_resync(lab: Lab) -> None:
    async with shard(lab.shards[0].plane, "unseen", lab.folder / "unseen", BASCULE_RESYNC_SECONDS="4") as chosen:
        chosen.operator_api.dropped = lambda event: event["type"] in ("ADDED", "MODIFIED", "DELETED")
        wrong = await live(chosen, Case("success"))
        assert not wrong, wrong


@interruption
async def test_a_resource_that_goes_unseen_has_its_run_cancelled(lab: Lab) -> None:
    async with shard(lab.shards[0].plane, "orphaned", lab.folder / "orphaned", BASCULE_RESYNC_SECONDS="4") as chosen:
        scene = Scene(chosen, "orphaned-c0")
        chosen.gate.begin(chosen.concerns)
        await scene.apply("hold")
        await scene.until(lambda body: step_state(body, "test-try") == "Running", "testing")
        chosen.operator_api.dropped = lambda event: event["type"] == "DELETED"
        await scene.let_go()
        await scene.delete()
        await scene.until_gone()
        await oracles.until_nothing_is_left(scene)


@interruption
async def test_a_namespace_deleted_under_a_live_run_goes_with_everything_taken_back(lab: Lab) -> None:
    """Its Secrets and ConfigMaps may go first; the run has its own copies."""
    kube = lab.shards[0].plane.kube
    async with shard(lab.shards[0].plane, "leaving", lab.folder / "leaving") as chosen:
        scene = Scene(chosen, "leaving-c0")
        chosen.gate.begin(chosen.concerns)
        await scene.apply("hold")
        await scene.until(lambda body: step_state(body, "test-try") == "Running", "testing")
        path = f"/api/v1/namespaces/{chosen.namespace}"
        await kube.request("DELETE", path, resource="test")
        scene.deleted = True
        await scene.until_gone()
        wrong = await oracles.after_deletion_of_a_build(scene)
        assert not wrong, wrong
        for _ in range(60):
            try:
                await kube.request("GET", path, resource="test")
            except GoneError:
                return
            await asyncio.sleep(1)
        raise AssertionError("the namespace never went")


@EVERY_LIFE
@interruption
async def test_an_operator_that_starts_from_an_older_list_goes_on_where_the_world_is(chosen: Shard, life: Life) -> None:
    """Its first list and the watch from there show states long past, as an API server that lags behind may."""

    async def trouble() -> None:
        path = f"/apis/bascule.dev/v1alpha1/{life.scene.kind.lower()}s"
        for _ in range(3):
            await chosen.operator_api.remember(path, "operator", labelSelector=f"shard={chosen.name}")
            await asyncio.sleep(4)
            chosen.kill("operator")
            await chosen.operator_api.told_old.wait()

    try:
        await _meanwhile(trouble, chosen, life)
    finally:
        chosen.operator_api.old.clear()


@EVERY_LIFE
@interruption
async def test_a_third_of_all_writes_refused_only_delays(chosen: Shard, life: Life) -> None:
    chance = random.Random(life.name)  # noqa: S311 - chance, not secrets

    def refusal(call: Call) -> int:
        return chance.choice((429, 500, 503)) if call.writes and chance.random() < 0.3 else 0

    chosen.operator_api.refusal = chosen.worker_api.refusal = refusal
    try:
        wrong = await live(chosen, Case(life.name))
    finally:
        chosen.operator_api.refusal = chosen.worker_api.refusal = None
    assert not wrong, wrong


async def _probe(chosen: Shard, what: str) -> int:
    port = chosen.operator.environment["BASCULE_HTTP_PORT"]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{what}") as answer:
        return answer.status


@pytest.mark.parametrize("away", ["api", "temporal"])
@interruption
async def test_a_server_that_is_away_for_a_minute_is_waited_for(chosen: Shard, away: str) -> None:
    proxies = (
        (chosen.operator_api, chosen.worker_api)
        if away == "api"
        else (chosen.operator_temporal, chosen.worker_temporal)
    )
    scene = Scene(chosen, f"{chosen.name}-away-{away}")
    chosen.gate.begin(chosen.concerns)
    await scene.apply("fail-once")
    await scene.until(lambda body: step_state(body, "build") == "Running", "building")
    for proxy in proxies:
        proxy.down = True
    for server in proxies:
        if hasattr(server, "cut"):
            server.cut()
    await asyncio.sleep(60)
    health = await _probe(chosen, "healthz"), await _probe(chosen, "readyz")
    for proxy in proxies:
        proxy.down = False
    wrong = await oracles.settled_for_good(scene)
    wrong += await oracles.after_run(scene)
    assert not wrong, wrong
    assert health == (200, 503)
    await scene.delete()
    await scene.until_gone()


@interruption
async def test_an_operator_that_was_stopped_for_half_a_minute_is_alive_and_goes_on(chosen: Shard) -> None:
    scene = Scene(chosen, f"{chosen.name}-stopped")
    chosen.gate.begin(chosen.concerns)
    await scene.apply("fail-once")
    await scene.until(lambda body: step_state(body, "build") == "Running", "building")
    chosen.operator.send(signal.SIGSTOP)
    await asyncio.sleep(32)
    chosen.operator.send(signal.SIGCONT)
    assert await _probe(chosen, "healthz") == 200
    wrong = await oracles.settled_for_good(scene)
    wrong += await oracles.after_run(scene)
    assert not wrong, wrong
    assert chosen.operator.exit_code is None
    await scene.delete()
    await scene.until_gone()


async def test_two_operators_at_once_do_no_harm(lab: Lab, time_left: Callable[[], float | None]) -> None:
    """Neither knows of the other, as if there were no Lease."""
    found = await lab.found("ImageBuild")
    others = [one.operator.twin() for one in lab.shards]
    for other in others:
        other.start()
    edits = found.faults([Kind.EDIT], found.of("operator", "kubernetes")[::3])
    cases = [*(Case(life) for life in LIVES), *packed(edits, "two operators")]
    try:
        await judge(lab, "two operators at once", cases, time_left())
    finally:
        for other in others:
            other.kill()
