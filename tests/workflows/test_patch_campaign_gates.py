"""Where a campaign waits: approvals, windows, soaks and gates; and how large it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bascule_api import names
from bascule_api.approvals import Decision
from bascule_api.conditions import Phase, WaitKind
from bascule_api.progress import ApprovalMessage
from bascule_codec import Keyring, data_converter
from bascule_workers.plans.outcomes import Failed
from tests.support.campaign_runs import Campaigns, Fleet
from tests.support.campaigns import campaign
from tests.support.temporal import serving_runs

GATE = [{"name": "judge", "procedure": {"name": "judge"}}]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(4)


@pytest.fixture
async def campaigns(fleet: Fleet) -> AsyncIterator[Campaigns]:
    async with serving_runs(fleet, data_converter(Keyring.generate(), "default")) as runs:
        yield Campaigns(runs)


async def test_a_soak_lets_time_pass_that_does_not_count(campaigns: Campaigns, fleet: Fleet) -> None:
    waves = [{"name": "canary", "size": 1, "soak": "1d"}, {"name": "fleet"}]

    story = await campaigns.carried_out(campaign(waves=waves, timeout_seconds=600))

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.waited_seconds >= 86_400
    assert any(told.waiting and told.waiting.kind == WaitKind.SOAK for told in story.progress)
    fleet.assert_free()


async def at_the_gate(campaigns: Campaigns, **changes: Any) -> tuple[Any, ApprovalMessage]:
    waves = [{"name": "canary", "size": 1}, {"name": "fleet", "approval": {"required": True, "timeout": "1h"}}]
    given = campaign(waves=waves, **changes)
    handle = await campaigns.start(given)
    told = await campaigns.until(handle, lambda told: told.waiting and told.waiting.kind == WaitKind.APPROVAL)
    assert told.waiting is not None
    assert told.waiting.gate == "fleet"
    assert told.waiting.subject == told.facts["plan"]["digest"]
    return handle, ApprovalMessage(
        uid=given.run.uid,
        run=1,
        gate="fleet",
        subject=told.waiting.subject,
        decision=Decision.APPROVE,
        approver="somebody",
    )


async def test_a_wave_begins_once_its_plan_is_approved(campaigns: Campaigns, fleet: Fleet) -> None:
    handle, message = await at_the_gate(campaigns)
    assert len(fleet.steps.patched) == 1
    await handle.execute_update(names.UPDATE_APPROVAL, message)

    assert (await campaigns.story(handle)).cells == ["P", "PPP"]
    fleet.assert_free()


@pytest.mark.parametrize("rejected", [True, False], ids=["rejected", "too late"])
async def test_a_wave_that_nobody_approves_fails_the_campaign(
    campaigns: Campaigns, fleet: Fleet, rejected: bool
) -> None:
    handle, message = await at_the_gate(campaigns)
    if rejected:
        await handle.execute_update(names.UPDATE_APPROVAL, message.model_copy(update={"decision": Decision.REJECT}))

    story = await campaigns.story(handle)

    assert story.failure_type == ("ApprovalRejected" if rejected else "ApprovalTimedOut")
    assert story.cells == ["P", "..."]
    fleet.assert_free()


async def test_gates_that_pass_let_the_next_wave_begin(campaigns: Campaigns, fleet: Fleet) -> None:
    story = await campaigns.carried_out(campaign(gates=GATE))

    assert story.result.phase == Phase.SUCCEEDED
    assert len(fleet.steps.targets("gate")) == 2
    fleet.assert_free()


@pytest.mark.parametrize(
    ("verdict", "kind"), [("Fail", "GateFailed"), ("Inconclusive", "GateInconclusive")], ids=["fails", "says nothing"]
)
async def test_a_gate_that_does_not_pass_stops_the_campaign(
    campaigns: Campaigns, fleet: Fleet, verdict: str, kind: str
) -> None:
    fleet.steps.results["gate"] = {"verdict": verdict}

    story = await campaigns.carried_out(campaign(gates=GATE, failurePolicy={"action": "RollbackWave"}))

    assert story.failure_type == kind
    assert story.cells == ["R", "..."]
    assert "canary/judge" in (story.result.failure.message if story.result.failure else "")
    fleet.assert_free()


async def test_targets_begin_within_a_window_only(campaigns: Campaigns, fleet: Fleet) -> None:
    now = await campaigns.env.get_current_time()
    hour = (now.hour + 5) % 24
    window = {"start": f"{hour:02}:00", "end": f"{hour:02}:30"}

    story = await campaigns.carried_out(campaign(windows=[window], timeout_seconds=900))

    assert story.result.phase == Phase.SUCCEEDED
    assert story.result.waited_seconds > 3 * 3600
    assert any(told.waiting and told.waiting.kind == WaitKind.WINDOW for told in story.progress)
    [first, *_] = [wave.started_at for wave in story.result.waves]
    assert first is not None
    fleet.assert_free()


async def test_a_failed_gate_procedure_fails_the_campaign(campaigns: Campaigns, fleet: Fleet) -> None:
    fleet.steps.script["gate"] = [Failed("exit code 9", exit_code=9, pod="p", container="step")] * 9

    story = await campaigns.carried_out(campaign(gates=GATE))

    assert story.failure_type in ("GateFailed", "GateInconclusive")
    fleet.assert_free()
