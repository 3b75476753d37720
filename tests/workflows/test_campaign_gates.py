"""What a campaign waits for between its targets: windows, soaks and gates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_api.conditions import Phase, WaitKind
from bascule_api.gates import Verdict
from bascule_api.patch_campaign_status import WaveState
from bascule_api.progress import WaitingProgress
from bascule_codec import Keyring, data_converter
from bascule_workers.errors import ApiUnavailableError
from bascule_workers.plans.outcomes import Lost, Outcome, Running, Succeeded
from tests.support.campaign_runs import Campaigns, Fleet, Story
from tests.support.campaigns import campaign
from tests.support.fake_world import JOB_SETTINGS
from tests.support.temporal import serving_runs

ASKER, JUDGE = JOB_SETTINGS.tools_image, "gate"
ERRORS: dict[str, Any] = {
    "name": "errors",
    "prometheus": {"address": "http://prometheus:9090", "query": "errors"},
    "successCondition": "result < 0.05",
    "count": 3,
}
SMOKE: dict[str, Any] = {"name": "smoke", "procedure": {"name": "judge"}, "count": 3, "interval": "10m"}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(6)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


def says(verdict: Verdict, message: str = "3 of 3 passed") -> Succeeded:
    return Succeeded({"verdict": verdict.value}, message, pod="pod")


def waits(story: Story) -> list[WaitingProgress]:
    """What it waited for, one after the other."""
    seen = [progress.waiting for progress in story.progress if progress.waiting is not None]
    return [waiting for index, waiting in enumerate(seen) if index == 0 or seen[index - 1] != waiting]


# Gates


async def test_a_gate_is_asked_after_every_wave(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script[ASKER] = [Running("no node takes the pod"), says(Verdict.PASS), says(Verdict.PASS)]

    story = await campaigns.carried_out(campaign(gates=[ERRORS]))

    assert story.result.phase == Phase.SUCCEEDED
    assert [what for what, _ in fleet.steps.done] == ["patch", ASKER, *["patch"] * 5, ASKER]
    [waiting] = waits(story)
    assert (waiting.gate, waiting.kind, waiting.subject) == ("canary/errors", WaitKind.CHECK, "errors")
    assert waiting.detail == "no node takes the pod"
    fleet.assert_free()


@pytest.mark.parametrize(
    ("verdict", "failure_type"),
    [
        pytest.param(Verdict.FAIL, "GateFailed", id="failed"),
        pytest.param(Verdict.INCONCLUSIVE, "GateInconclusive", id="inconclusive"),
    ],
)
async def test_a_gate_that_does_not_pass_stops_the_campaign(
    campaigns: Campaigns, fleet: Fleet, verdict: Verdict, failure_type: str
) -> None:
    fleet.steps.script[ASKER] = [says(verdict, "1 of 3 passed, 1 failed (none may), last 0.2")]

    story = await campaigns.carried_out(campaign(gates=[ERRORS, SMOKE]))

    assert story.failure_type == failure_type
    assert story.result.failure is not None
    assert story.result.failure.step == "wave-canary"
    assert "canary/errors" in story.result.failure.message
    assert "1 of 3 passed, 1 failed (none may), last 0.2" in story.result.failure.message
    assert story.waves == {"canary": WaveState.FAILED, "fleet": WaveState.SKIPPED}
    # Halt: what was patched stays so, and the second gate is not asked any more.
    assert [what for what, _ in fleet.steps.done] == ["patch", ASKER]
    fleet.assert_free()


async def test_a_gate_that_fails_rolls_back_what_the_policy_says(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script[ASKER] = [says(Verdict.PASS), says(Verdict.FAIL)]

    story = await campaigns.carried_out(campaign(gates=[ERRORS], failurePolicy={"action": "RollbackWave"}))

    assert story.failure_type == "GateFailed"
    assert len(fleet.steps.targets("rollback")) == 5
    assert len(fleet.steps.patched) == 1
    fleet.assert_free()


async def test_a_lost_gate_is_asked_anew(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script[ASKER] = [Lost("its node was drained"), says(Verdict.PASS), says(Verdict.PASS)]

    story = await campaigns.carried_out(campaign(gates=[ERRORS]))

    assert story.result.phase == Phase.SUCCEEDED
    fleet.assert_free()


async def test_a_gate_that_takes_long_bears_trouble_then_as_well(campaigns: Campaigns, fleet: Fleet) -> None:
    """Counts are handed back from call to call, and what is over is not asked again."""
    passed: list[Outcome] = [says(Verdict.PASS, f"look {number}") for number in range(6)]
    fleet.steps.script[JUDGE] = passed

    handle = await campaigns.start(campaign(gates=[SMOKE]))
    await campaigns.until(handle, lambda told: told.waiting and "1 of 3 passed" in told.waiting.detail)
    await campaigns.env.sleep(timedelta(minutes=11))
    waiting = await campaigns.until(handle, lambda told: told.waiting and "2 of 3 passed" in told.waiting.detail)
    fleet.troubles.before[JUDGE] += [ApiUnavailableError("the API server is away")] * 3
    story = await campaigns.story(handle)

    assert waiting.waiting is not None
    assert (waiting.waiting.gate, waiting.waiting.detail) == ("canary/smoke", "2 of 3 passed, last look 1")
    assert story.result.phase == Phase.SUCCEEDED
    assert len([what for what, _ in fleet.steps.done if what == JUDGE]) == 6
    fleet.assert_free()


async def test_a_gate_that_cannot_work_is_refused_before_anything_is_touched(
    campaigns: Campaigns, fleet: Fleet
) -> None:
    story = await campaigns.carried_out(campaign(gates=[{**ERRORS, "successCondition": "reslut < 1"}]))

    assert story.failure_type == "PlanRefused"
    assert story.result.failure is not None
    assert "spec.gates[0].successCondition names reslut" in story.result.failure.message
    assert fleet.steps.done == []
    fleet.assert_free()


async def test_cancelled_while_a_gate_is_measured(campaigns: Campaigns, fleet: Fleet) -> None:
    hold = fleet.troubles.hold_after(ASKER)
    handle = await campaigns.start(campaign(gates=[ERRORS]))
    async with asyncio.timeout(60):
        await hold.began.wait()
    await handle.cancel()

    story = await campaigns.story(handle)

    assert story.result.phase == Phase.CANCELLED
    assert len(fleet.steps.targets("patch")) == 1
    fleet.assert_free()


# Windows and soaks


def in_hours(hours: int, length: int = 1) -> tuple[dict[str, str], datetime]:
    """A window that opens in some hours, and when that is."""
    opens = (datetime.now(UTC) + timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
    closes = opens + timedelta(hours=length)
    return {"start": f"{opens:%H:%M}", "end": f"{closes:%H:%M}"}, opens


async def test_targets_wait_for_the_window(campaigns: Campaigns, fleet: Fleet) -> None:
    window, opens = in_hours(5)

    story = await campaigns.carried_out(campaign(windows=[window]))

    assert story.result.phase == Phase.SUCCEEDED
    waiting = waits(story)[0]
    assert (waiting.gate, waiting.kind, waiting.until) == ("canary", WaitKind.WINDOW, int(opens.timestamp()))
    assert waiting.detail == f"the window daily {window['start']}–{window['end']} Etc/UTC"
    assert await campaigns.env.get_current_time() >= opens
    assert fleet.steps.patched == set(fleet.nodes.nodes)
    fleet.assert_free()


async def test_the_second_wave_waits_for_the_next_window(campaigns: Campaigns, fleet: Fleet) -> None:
    window, opens = in_hours(5)
    waves = [{"name": "canary", "size": 1, "soak": "3h"}, {"name": "fleet"}]

    story = await campaigns.carried_out(campaign(windows=[window], waves=waves, timeout_seconds=3600))

    # Neither windows nor soaks count towards the run's timeout.
    assert story.result.phase == Phase.SUCCEEDED
    kinds = [(waiting.gate, waiting.kind) for waiting in waits(story)]
    assert kinds == [("canary", WaitKind.WINDOW), ("canary", WaitKind.SOAK), ("fleet", WaitKind.WINDOW)]
    assert waits(story)[2].until == int((opens + timedelta(days=1)).timestamp())
    fleet.assert_free()


async def test_an_unknown_time_zone_is_refused_before_anything_is_touched(campaigns: Campaigns, fleet: Fleet) -> None:
    window = {"start": "22:00", "end": "23:00", "timeZone": "Europe/Atlantis"}

    story = await campaigns.carried_out(campaign(windows=[window]))

    assert story.failure_type == "PlanRefused"
    assert fleet.steps.done == []
    fleet.assert_free()
