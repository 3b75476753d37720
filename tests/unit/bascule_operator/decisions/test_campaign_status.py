"""What the status of a PatchCampaign says of its targets, and that it stays small."""

from __future__ import annotations

import json
from typing import Any

from bascule_api.conditions import ConditionType, Phase
from bascule_api.failures import FailureType
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_operator.decisions import happenings, status, undoing
from bascule_operator.decisions.campaign_status import complete
from bascule_operator.decisions.conditions import find
from bascule_operator.decisions.views import Closed, RunState, RunView
from bascule_operator.decisions.wire import STATUS_LIMIT, wire
from tests.support.campaign_subjects import PLAN, ACampaign, campaign, parsed, result, targets, waves
from tests.support.subjects import NOW, an_open, progress

FAILURE = {"step": "wave-canary", "type": FailureType.TOO_MANY_FAILURES, "message": "1 of 1 failed"}
FAILED = {"name": "node-a", "phase": "Draining", "message": "pod web-1 may not be evicted"}


def going_on(made: ACampaign, number: int = 5, **facts: Any) -> PatchCampaignStatus:
    subject = made.subject
    view = an_open(progress=progress(number, facts=facts))
    new = status.running(subject, view, NOW)
    assert isinstance(subject.status, PatchCampaignStatus)
    assert isinstance(new, PatchCampaignStatus)
    return complete(subject, subject.status, new, view, NOW)


def over(made: ACampaign, view: RunView) -> PatchCampaignStatus:
    subject = made.subject
    new = undoing.finished(subject, view, NOW)
    assert isinstance(subject.status, PatchCampaignStatus)
    assert isinstance(new, PatchCampaignStatus)
    return complete(subject, subject.status, new, view, NOW)


def message(told: PatchCampaignStatus, kind: ConditionType = ConditionType.READY) -> tuple[str, str]:
    found = find(told.conditions, kind)
    return (found.status, found.message) if found else ("", "")


IN_PROGRESS = [{"name": "node-a", "phase": "Draining"}]


def test_what_a_run_tells_of_its_targets_is_shown_while_it_goes_on() -> None:
    facts = {"plan": {"digest": PLAN}, "targets": targets(9, patched=3, summary="3/9"), "waves": waves(state="Running")}
    told = going_on(campaign().running(), **facts)
    assert told.plan is not None
    assert told.targets is not None
    assert (told.plan.digest, told.targets.patched, [wave.name for wave in told.waves]) == (
        PLAN,
        3,
        ["canary", "fleet"],
    )
    assert message(told)[1].endswith("; 3/9")
    assert message(told, ConditionType.RECONCILING)[1].endswith("; 3/9")


def test_older_news_take_nothing_back() -> None:
    made = campaign().running(progressNumber=7).saying(targets=targets(9, patched=5))
    told = going_on(made, number=6, targets=targets(9, patched=3))
    assert told.targets is not None
    assert told.targets.patched == 5


def test_facts_that_cannot_be_understood_leave_what_is_known() -> None:
    made = campaign().running().saying(targets=targets(9, patched=5), plan={"digest": PLAN})
    told = going_on(made, targets={"total": "many"}, plan={"digest": "no digest"}, waves=waves())
    assert told.targets is not None
    assert told.plan is not None
    assert (told.targets.patched, told.plan.digest, len(told.waves)) == (5, PLAN, 2)


def test_a_success_says_how_many_and_that_they_were_verified() -> None:
    gates = [{"name": "errors", "http": {"url": "http://a"}}]
    made = campaign(verify={"http": {"port": 80}}, gates=gates).running()
    told = over(made, result(targets=targets(3, patched=2, skipped=1), waves=waves()))
    assert message(told) == ("True", "2 of 3 targets patched, 1 needed nothing, in 2 waves")
    assert message(told, ConditionType.VERIFIED) == (
        "True",
        "the 2 targets that were patched were Ready after it and passed spec.verify; gates passed: errors",
    )


def test_a_plan_says_that_nothing_was_touched() -> None:
    made = campaign(mode="Plan").running()
    told = over(made, result(plan={"digest": PLAN}, targets=targets(40, patched=0), waves=waves(state="Skipped")))
    assert message(told)[1] == (
        f"planned 40 targets in 2 waves (plan {PLAN}); nothing was touched: spec.mode Apply carries it out"
    )
    assert find(told.conditions, ConditionType.VERIFIED) is None


def test_a_failure_names_targets_and_phases() -> None:
    facts = targets(40, patched=12, failed=7, failures=[FAILED | {"name": f"node-{n}"} for n in range(7)])
    told = over(campaign().running(), result(Phase.FAILED, FAILURE, targets=facts, waves=waves(state="Failed")))
    named = ", ".join(f"node-{n}: Draining" for n in range(5))
    expected = f"12 of 40 targets patched, 7 failed ({named}, 2 more)"
    assert message(told)[0] == "False"
    assert message(told)[1].endswith(expected)
    assert message(told, ConditionType.STALLED)[1].endswith(expected)


def test_a_campaign_that_was_halted_claims_not_to_have_taken_its_patches_back() -> None:
    settled = {"state": "Succeeded", "completed": 2, "total": 2}
    view = result(Phase.FAILED, FAILURE, targets=targets(4, patched=3, failed=1), compensation=settled)
    assert message(over(campaign().running(), view))[1].endswith(
        "1 of 1 failed; 3 of 4 targets patched, 1 failed (names unknown)"
    )


def test_saying_it_again_adds_nothing() -> None:
    made = campaign().running()
    told = over(made, result(Phase.FAILED, FAILURE, targets=targets(4, patched=1, failed=1, failures=[FAILED])))
    subject = made.subject.with_status(told)
    again = undoing.endings.settled(subject, NOW)
    assert isinstance(again, PatchCampaignStatus)
    assert complete(subject, told, again, RunView(), NOW) == told


def test_a_gate_that_fails_is_a_verification_that_fails() -> None:
    failure = {"step": "wave-canary", "type": FailureType.GATE_FAILED, "message": "errors: 2 of 3 failed"}
    told = over(campaign().running(), result(Phase.FAILED, failure, targets=targets(4, patched=1)))
    assert message(told, ConditionType.VERIFIED) == ("False", "errors: 2 of 3 failed")


def test_nothing_is_worked_on_once_the_run_is_lost() -> None:
    made = campaign().running().saying(targets=targets(9, patched=3, inProgress=IN_PROGRESS))
    told = over(made, RunView(RunState.CLOSED, described=True, run_id="run-1", closed=Closed.TERMINATED))
    assert told.targets is not None
    assert (told.targets.patched, told.targets.in_progress) == (3, [])


def test_the_next_run_begins_without_the_last_ones_targets() -> None:
    made = campaign().running().finished().saying(targets=targets(3), waves=waves(), plan={"digest": PLAN})
    old, new = made.status, made.running(number=2, run_id="").status
    told = complete(made.subject, old, new, RunView(), NOW)
    assert (told.targets, told.waves, told.plan) == (None, [], None)


def test_each_target_that_fails_is_one_event() -> None:
    old = campaign().running().saying(targets=targets(9, failures=[FAILED])).status
    new = campaign().running().saying(targets=targets(9, failures=[FAILED, FAILED | {"name": "node-b"}])).status
    found = happenings.happenings(old, new)
    assert [(item.reason, item.note, item.warning) for item in found] == [
        ("TargetFailed", "node-b failed (Draining): pod web-1 may not be evicted", True)
    ]


# At the caps


def longest(length: int) -> str:
    return "é" * length


def _selector(limit: int) -> dict[str, Any]:
    values = [f"{n:063d}" for n in range(limit // 66)]
    return {"nodes": {"selector": {"matchExpressions": [{"key": "pool", "operator": "In", "values": values}]}}}


def the_largest() -> dict[str, Any]:
    """A status with everything in it that there may be, as long as it may be."""
    name = "n" * 253
    target = {"name": name, "phase": "RollingBack", "since": "2026-11-22T11:50:00Z", "message": longest(256)}
    kinds = ["Ready", "Reconciling", "Stalled", "Compensated", "Verified", "RunHealthy"]
    condition = {"status": "False", "reason": "CompensationFailed", "message": longest(1024)}
    condition |= {"observedGeneration": 1, "lastTransitionTime": "2026-11-22T11:50:00Z"}
    run = dict.fromkeys(("runId", "version", "cancelReason", "duration", "waited", "temporalNamespace"), "x" * 255)
    run |= {"number": 9, "revision": "1-abcdef0123", "trigger": "Revision", "tenant": "t" * 40}
    run |= {"workflowId": "w" * 255, "url": "https://" + "u" * 900, "outcome": "Failed"}
    past = {"number": 9, "revision": "1-abcdef0123", "trigger": "Revision", "phase": "Failed"}
    past |= {"summary": longest(256), "startedAt": "2026-11-22T11:50:00Z", "finishedAt": "2026-11-22T11:50:00Z"}
    wave = {"name": "w" * 40, "state": "RollingBack", "total": 5000, "patched": 5000, "failed": 5000}
    wave |= {"names": [name] * 10, "cells": "P" * 256, "startedAt": "2026-11-22T11:50:00Z"}
    patched = {"run": 9, "workflowId": "w" * 255, "runId": "x" * 64, "count": 5000}
    return {
        "observedGeneration": 4,
        "phase": "Failed",
        "conditions": [condition | {"type": kind} for kind in kinds],
        "run": run,
        "handled": {"request": "r" * 213, "cancel": "c" * 213, "reruns": ["2026-11-22T11:50:00Z"] * 10},
        "progress": {"completed": 17, "total": 17, "percent": 100, "summary": "s" * 64, "message": longest(256)},
        "steps": [{"name": f"wave-{n}", "state": "Failed", "message": longest(4096)} for n in range(17)],
        "waitingFor": {"gate": "g" * 100, "kind": "Approval", "subject": PLAN, "detail": "d" * 2000},
        "compensation": {"state": "Failed", "lastError": longest(4096), "left": [longest(256)] * 50},
        "failure": {"step": "wave-1", "type": "TooManyFailures", "message": longest(4096), "log": longest(16_000)},
        "history": [past] * 5,
        "plan": {"digest": PLAN, "artifact": "a" * 400},
        "targets": targets(5000, inProgress=[target] * 10, failures=[target] * 20),
        "waves": [wave] * 16,
        "effects": {
            "rollback": {"procedure": "apt-rollback"},
            "targets": _selector(4000),
            "nodeSelector": {f"{n:02d}" + "k" * 100: "v" * 63 for n in range(16)},
            "standing": [patched] * 4,
        },
    }


def test_the_status_stays_under_its_limit_with_everything_as_long_as_it_may_be() -> None:
    told = parsed({"metadata": {"name": "web"}, "spec": {}, "status": the_largest()}).status
    assert isinstance(told, PatchCampaignStatus)
    assert len(told.waves) == 16, "the largest status fits its schema"
    written = wire(told)
    assert len(json.dumps(written, ensure_ascii=False).encode()) <= STATUS_LIMIT
    assert written["targets"]["total"] == written["targets"]["patched"] == 5000, "counts are exact"
    assert written["effects"]["standing"] == the_largest()["effects"]["standing"], "what undoing needs is kept"
    assert wire(parsed({"metadata": {"name": "web"}, "spec": {}, "status": written}).status) == written


def test_a_status_of_common_size_loses_nothing() -> None:
    names = [f"ip-10-0-0-{n}.eu-central-1.compute.internal" for n in range(20)]
    told = (
        campaign()
        .running()
        .recording(1)
        .saying(
            targets=targets(
                1000,
                inProgress=[FAILED | {"name": name} for name in names[:10]],
                failures=[FAILED | {"name": name} for name in names],
            ),
            waves=[
                wave | {"names": names[:10], "cells": "P" * 256} for wave in waves("canary", "tenth", "half", "fleet")
            ],
        )
    )
    written = wire(told.status)
    assert len(written["targets"]["failures"]) == 20
    assert len(written["waves"][0]["names"]) == 10
