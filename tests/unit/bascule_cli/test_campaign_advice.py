"""Why a campaign waits or failed, and what to do about it."""

from __future__ import annotations

import re

import pytest

from bascule_api.conditions import ConditionType, Reason, WaitKind
from bascule_cli.explanations import Verdict, explain
from bascule_cli.resources import Item
from bascule_cli.views.explanations import paragraphs
from bascule_cli.views.wording import Speech
from tests.support.campaign_items import DIGEST, TARGETS, campaign, failed, waiting
from tests.support.items import NOW, condition, with_spec

SPEECH = Speech("kubectl bascule")
PLACE = "web-nodes -n acme-dev"
SHOW = f"kubectl bascule campaign show {PLACE}"
WATCH = "kubectl bascule campaign show web-nodes --watch -n acme-dev"
RERUN = f"kubectl bascule rerun {PLACE}"
EDIT = f"kubectl edit patchcampaign {PLACE}"
PLAN = f"kubectl bascule campaign plan {PLACE}"
DRAINING = TARGETS | {"inProgress": TARGETS["inProgress"][:1]}
NODES = "kubectl get tenants -o custom-columns=TENANT:.metadata.name,NODES:.spec.nodeSelector"
REJECT = "kubectl bascule reject web-nodes --reason WHY -n acme-dev"
PODS = "kubectl get pods -A -o wide --field-selector spec.nodeName=node-31"
BUDGETS = "kubectl get poddisruptionbudgets -A"
CAMPAIGNS = "kubectl get patchcampaigns -A"


def commands(item: Item) -> list[str]:
    return [advice.command for advice in explain(item, SPEECH, NOW).first.advice if advice.command]


def words(item: Item) -> str:
    return " ".join(advice.text for advice in explain(item, SPEECH, NOW).first.advice)


WAITS = {
    WaitKind.APPROVAL: [PLAN, SHOW, f"kubectl bascule approve {PLACE}", REJECT, WATCH],
    WaitKind.SOAK: [WATCH],
    WaitKind.WINDOW: [EDIT, WATCH],
    WaitKind.CHECK: [WATCH],
    WaitKind.DISRUPTION: [BUDGETS, WATCH],
    WaitKind.LEASE: [CAMPAIGNS, WATCH],
}
FAILURES = {
    "PlanRefused": [SHOW, EDIT],
    "TooManyFailures": [SHOW, RERUN, EDIT],
    "DrainBlocked": [SHOW, RERUN, EDIT],
    "RebootTimedOut": [SHOW, RERUN, EDIT],
    "TargetNotReady": [SHOW, RERUN, EDIT],
    "TargetGone": [SHOW, RERUN, EDIT],
    "TargetRefused": [SHOW, NODES, EDIT],
    "GateFailed": [SHOW, RERUN, EDIT],
    "GateInconclusive": [SHOW, RERUN, EDIT],
    "ApprovalRejected": [SHOW, EDIT, RERUN],
    "ApprovalTimedOut": [SHOW, RERUN],
    # Whatever else: the message names it.
    "SecretMissing": [SHOW, RERUN],
}


@pytest.mark.parametrize(("kind", "told"), [pytest.param(*case, id=case[0]) for case in WAITS.items()])
def test_what_it_waits_for(kind: WaitKind, told: list[str]) -> None:
    item = waiting(kind, "staged", until="2026-11-22T07:00:00Z")
    found = explain(item, SPEECH, NOW)
    assert (found.verdict, commands(item)) == (Verdict.WAITS, told)
    assert found.first.until is not None


@pytest.mark.parametrize("kind", [kind for kind in WaitKind if kind not in WAITS])
def test_what_all_kinds_can_wait_for_is_told_too(kind: WaitKind) -> None:
    assert commands(waiting(kind, "staged")) == ["kubectl bascule get web-nodes --watch -n acme-dev"]


def test_a_blocked_drain_names_the_node() -> None:
    waits = {"gate": "staged", "kind": "Disruption", "detail": "node-31: pod acme-dev/web-1, budget web"}
    conditions = [
        condition(ConditionType.READY, "Unknown", Reason.WAITING),
        condition(ConditionType.RECONCILING, "True", Reason.WAITING),
    ]
    item = campaign(phase="Waiting", conditions=conditions, waitingFor=waits, targets=DRAINING)
    assert commands(item) == [BUDGETS, PODS, WATCH]


def test_a_gate_is_named_with_its_limit() -> None:
    item = with_spec(waiting("Check", "staged/errors"), gates=[{"name": "errors", "failureLimit": 2}])
    assert "the gate errors looks at" in words(item)
    assert "more than 2 measurements" in words(item)


@pytest.mark.parametrize(
    ("action", "then"),
    [
        pytest.param("Halt", "what is patched stays patched", id="halt"),
        pytest.param("RollbackWave", "this wave is rolled back", id="the wave"),
        pytest.param("RollbackAll", "all that it patched is rolled back", id="all"),
    ],
)
def test_who_rejects_knows_what_follows(action: str, then: str) -> None:
    item = with_spec(waiting("Approval", "staged", subject=DIGEST), failurePolicy={"action": action})
    assert then in words(item)


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        pytest.param("Draining", [BUDGETS, PODS], id="a pod that stays"),
        pytest.param("Acquiring", [CAMPAIGNS], id="another campaign"),
        pytest.param("Verifying", ["kubectl describe node node-31"], id="a node that is not ready"),
        pytest.param("Patching", [], id="the patch itself"),
    ],
)
def test_while_it_runs_targets_that_are_held_up_are_told(phase: str, told: list[str]) -> None:
    held_up = {"name": "node-31", "phase": phase, "message": "held up"}
    item = campaign(targets=TARGETS | {"inProgress": [held_up]})
    assert explain(item, SPEECH, NOW).verdict is Verdict.UNDER_WAY
    assert commands(item) == [*told, WATCH]


@pytest.mark.parametrize(("kind", "told"), [pytest.param(*case, id=case[0]) for case in FAILURES.items()])
def test_what_failed(kind: str, told: list[str]) -> None:
    item = failed(kind)
    assert (explain(item, SPEECH, NOW).verdict, commands(item)) == (Verdict.STALLED, told)


def test_after_a_cancellation_the_rest_can_be_patched() -> None:
    conditions = [
        condition(ConditionType.READY, "False", Reason.CANCELLED),
        condition(ConditionType.STALLED, "True", Reason.CANCELLED),
    ]
    assert commands(campaign(phase="Cancelled", conditions=conditions)) == [SHOW, RERUN]


def test_the_answer_has_waves_and_targets() -> None:
    text = "\n".join(line.plain for line in paragraphs(campaign(), explain(campaign(), SPEECH, NOW), [], NOW))
    assert "canary 1/1 Succeeded, staged 2/6 Running, fleet 0/33 Pending" in text
    assert re.search("node-31 +Draining: pod acme-dev/web-1 stays: the PodDisruptionBudget web allows no", text)
    assert re.search("node-29 +failed, Patching: apt-upgrade ended with exit code 100: unmet dependencies", text)
