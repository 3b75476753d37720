"""What a PatchCampaign's record says: from the intent over the end of runs to their undoing."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.conditions import CompensationState, Phase
from bascule_api.failures import FailureType
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_api.progress import TenantFacts
from bascule_api.runs import CompensationScope, RunRecord, Trigger
from bascule_operator.decisions import moves, status, undoing
from bascule_operator.decisions.campaign_effects import recorded, undo_input, undo_wants
from bascule_operator.decisions.life import decide
from bascule_operator.decisions.starts import handled_by_start
from bascule_operator.decisions.views import Closed, RunState, RunView
from tests.support.campaign_subjects import (
    PROCEDURES,
    ACampaign,
    campaign,
    grounds,
    procedure,
    result,
    targets,
    with_nodes,
)
from tests.support.subjects import NOW, a_closed_undo

TENANTS = {"acme": with_nodes(pool="web")}


def standing(told: PatchCampaignStatus) -> list[tuple[int, int]]:
    assert told.effects is not None
    return [(known.run, known.count) for known in told.effects.standing]


def after(made: ACampaign, view: RunView) -> PatchCampaignStatus:
    """The status once the run is over."""
    subject = made.subject
    new = undoing.finished(subject, view, NOW)
    assert isinstance(new, PatchCampaignStatus)
    return recorded(subject, new, view, TENANTS)


def undone(made: ACampaign, state: CompensationState = CompensationState.SUCCEEDED) -> PatchCampaignStatus:
    """The status once its undo workflow is over."""
    subject, view = made.subject, a_closed_undo(state)
    decision = undoing.go_on(moves.Observed(subject, True, grounds(), view, "", NOW))
    assert isinstance(decision, moves.Project)
    assert isinstance(decision.status, PatchCampaignStatus)
    return recorded(subject, decision.status, view, TENANTS)


def test_an_intent_records_what_undoing_will_need() -> None:
    subject = campaign().running().finished().recording(1).subject
    record = RunRecord.model_validate(
        {"number": 2, "revision": subject.revision, "trigger": "Revision", "tenant": "acme", "workflowId": "w/2"}
    )
    handled = handled_by_start(subject, Trigger.REVISION, NOW)
    new = status.intended(subject, record, handled, NOW)
    assert isinstance(new, PatchCampaignStatus)
    told = recorded(subject, new, RunView(), TENANTS)
    assert told.effects is not None
    assert told.effects.rollback is not None
    assert told.effects.rollback.procedure == "apt-rollback"
    assert told.effects.node_selector == {"pool": "web"}
    assert told.effects.drain.enabled
    assert standing(told) == [(1, 10)]


ENDS = [
    pytest.param(Phase.SUCCEEDED, targets(3), [(2, 3), (1, 10)], id="a success"),
    pytest.param(Phase.FAILED, targets(3, patched=2, failed=1), [(2, 2), (1, 10)], id="a failure that was halted"),
    pytest.param(Phase.CANCELLED, targets(3, patched=1), [(2, 1), (1, 10)], id="a cancellation"),
    pytest.param(Phase.FAILED, targets(3, patched=0, rolledBack=2), [(1, 10)], id="a failure that was rolled back"),
    pytest.param(Phase.FAILED, None, [(1, 10)], id="no plan came about"),
]


@pytest.mark.parametrize(("phase", "told", "expected"), ENDS)
def test_what_a_run_patched_and_left_stands(
    phase: Phase, told: dict[str, Any] | None, expected: list[tuple[int, int]]
) -> None:
    facts = {"targets": told} if told else {}
    failure = {"type": FailureType.TOO_MANY_FAILURES, "message": "no"} if phase is Phase.FAILED else None
    made = campaign().running(number=2).recording(1)
    assert standing(after(made, result(phase, failure, **facts))) == expected


def test_only_the_latest_are_remembered() -> None:
    made = campaign().running(number=5).recording(4, 3, 2, 1)
    assert [run for run, _ in standing(after(made, result(targets=targets(3))))] == [5, 4, 3, 2]


LOST = RunView(RunState.CLOSED, described=True, run_id="run-1", closed=Closed.TERMINATED, closed_at=NOW)


def test_a_lost_run_may_have_patched_more_than_was_seen() -> None:
    made = campaign().running().recording().saying(targets=targets(5, patched=2))
    told = after(made, LOST)
    assert standing(told) == [(1, 2)]
    assert told.compensation is not None
    assert told.compensation.scope is CompensationScope.RUN


def test_a_run_that_never_ran_stands_nowhere() -> None:
    told = after(campaign().running(run_id="").recording(), RunView(RunState.CLOSED, True, closed=Closed.CANCELED))
    assert standing(told) == []


UNDONE = [
    pytest.param("Run", CompensationState.SUCCEEDED, [1], id="what the last run patched"),
    pytest.param("All", CompensationState.SUCCEEDED, [], id="what all runs patched"),
    pytest.param("All", CompensationState.NOTHING_TO_DO, [], id="there was nothing any more"),
    pytest.param("Releases", CompensationState.SUCCEEDED, [2, 1], id="releases take no patch back"),
    pytest.param("All", CompensationState.FAILED, [2, 1], id="what failed still stands"),
]


@pytest.mark.parametrize(("scope", "state", "numbers"), UNDONE)
def test_what_an_undo_took_back_stands_no_more(scope: str, state: CompensationState, numbers: list[int]) -> None:
    made = campaign().running(number=2).recording(2, 1).finished(Phase.FAILED).undoing(scope)
    assert [run for run, _ in standing(undone(made, state))] == numbers


def test_without_a_rollback_an_undo_takes_nothing_back() -> None:
    made = campaign().running(number=2).recording(2, rollback=None).finished(Phase.FAILED).undoing()
    assert [run for run, _ in standing(undone(made))] == [2]


def test_deletion_rolls_back_what_stands_only_where_the_spec_says_so_and_can() -> None:
    always = campaign(compensation={"onDelete": "Always"}).running().recording(1).finished().deleting()
    assert undoing.leaves_something(always.subject)
    assert not undoing.leaves_something(always.recording(1, rollback=None).subject)
    assert not undoing.leaves_something(always.with_spec(compensation={}).subject)


def test_who_is_let_go_of_by_force_is_still_released_once() -> None:
    """Nodes, Leases and copies of keys: nobody else would give them back."""
    force = {"bascule.dev/force-delete": "the cluster is gone"}
    made = campaign().running().recording().deleting()
    made = made.with_metadata(annotations=force)
    told = decide(moves.Observed(made.subject, True, grounds(), RunView(), "", NOW))
    assert isinstance(told, moves.LetGo)
    assert told.release is not None
    assert (told.release.undo.scope, told.release.final) == (CompensationScope.RELEASES, True)
    assert told.release.delay_seconds > 0, "the run itself has its own time first"


# The undo's input

FACTS = TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="bascule-step")


def started(made: ACampaign) -> moves.StartUndo:
    found = decide(moves.Observed(made.subject, True, grounds(), RunView(RunState.ABSENT, described=True), "", NOW))
    assert isinstance(found, moves.StartUndo)
    return found


def intended(scope: str) -> ACampaign:
    made = campaign().running(number=2).recording(2, 1).finished(Phase.FAILED).undoing(scope)
    undo = {name: value for name, value in made.body["status"]["compensation"].items() if name != "runId"}
    return made.saying(compensation=undo)


SCOPES = [
    pytest.param("Run", [], {"apt-rollback"}, True, id="the run"),
    pytest.param("All", [2, 1], {"apt-rollback"}, True, id="all runs"),
    pytest.param("Releases", [], set(), False, id="releases"),
]


@pytest.mark.parametrize(("scope", "numbers", "procedures", "undo"), SCOPES)
def test_an_undo_gets_what_its_scope_needs(scope: str, numbers: list[int], procedures: set[str], undo: bool) -> None:
    made = intended(scope)
    told = undo_input(made.subject, started(made), FACTS, PROCEDURES)
    assert [known.run for known in told.effects.standing] == numbers
    assert set(told.procedures) == procedures == undo_wants(made.subject, CompensationScope(scope), PROCEDURES)
    assert (told.undo, told.unpinned) == (undo, {})
    assert (told.workflow_id, told.workflow_run_id) == (made.status.run.workflow_id if made.status.run else "", "run-1")
    assert told.node_selector == {"pool": "web"}, "as the run had it, whatever the Tenant says by now"


UNUSABLE = [
    pytest.param({}, "there is no Procedure apt-rollback", id="gone"),
    pytest.param({"apt-rollback": procedure("apt-rollback", "patch")}, "is not for PatchCampaign/rollback", id="use"),
    pytest.param(
        {"apt-rollback": procedure("apt-rollback", "rollback", parameters=[{"name": "to", "required": True}])},
        "is required",
        id="another parameter",
    ),
]


@pytest.mark.parametrize(("procedures", "words"), UNUSABLE)
def test_a_rollback_that_cannot_be_used_is_told_with_the_reason(procedures: dict[str, Any], words: str) -> None:
    made = intended("All")
    told = undo_input(made.subject, started(made), FACTS, procedures)
    assert told.procedures == {}
    assert words in told.unpinned["apt-rollback"]


def test_a_rollback_that_is_no_longer_offered_to_the_tenant_still_rolls_back() -> None:
    made = intended("All")
    others = {"apt-rollback": procedure("apt-rollback", "rollback", tenants=["others"])}
    assert set(undo_input(made.subject, started(made), FACTS, others).procedures) == {"apt-rollback"}


def test_files_are_never_given_to_a_rollback_that_became_a_host_procedure() -> None:
    made = intended("All").recording(2, rollback={"procedure": "apt-rollback", "files": {"name": "site"}})
    told = undo_input(made.subject, started(made), FACTS, PROCEDURES)
    assert told.procedures == {}
    assert "takes no files of a tenant" in told.unpinned["apt-rollback"]
