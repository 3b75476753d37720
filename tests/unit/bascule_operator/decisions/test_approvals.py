"""What becomes of an Approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_api.approvals import Approval, ApprovalState, ApprovalStatus
from bascule_api.conditions import Phase, WaitKind
from bascule_api.progress import WaitingProgress
from bascule_operator.decisions import approvals
from bascule_operator.decisions.approvals import AskRun, HandOver, Observed, Settle, decide
from bascule_operator.decisions.views import RunView
from tests.support.subjects import ABSENT, NOW, UID, ABuild, a_closed, an_open, build, progress

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
SINCE = NOW - timedelta(minutes=10)
WAITS = WaitingProgress(gate="publish", kind=WaitKind.APPROVAL, subject=DIGEST, since=int(SINCE.timestamp()))


def approval(made: datetime = NOW, **changes: Any) -> Approval:
    spec = {
        "for": {"kind": "ImageBuild", "name": "web", "uid": UID}, "run": 1, "gate": "publish", "subject": DIGEST,
        "decision": "Approve", "approver": "alice", "groups": ["team-a"],
    }  # fmt: skip
    metadata = {"name": "one", "uid": "approval-1", "creationTimestamp": made.isoformat()}
    return Approval.parse({"metadata": metadata, "spec": spec | changes})


def at_the_gate(subject: str = DIGEST, kind: str = "Approval") -> ABuild:
    waits = {"gate": "publish", "kind": kind, "subject": subject, "since": SINCE.isoformat()}
    return build().running().saying(phase="Waiting", waitingFor=waits)


def observed(made: ABuild | None, given: Approval | None = None, **more: Any) -> Observed:
    return Observed(given or approval(), made.subject if made else None, **more)


def asked(made: ABuild, view: RunView, given: Approval | None = None, **more: Any) -> Observed:
    return observed(made, given, asked=True, view=view, **more)


def test_what_the_status_says_is_waited_for_is_handed_over_with_who_decided() -> None:
    decision = decide(observed(at_the_gate()))
    assert isinstance(decision, HandOver)
    message = decision.message
    assert (message.uid, message.run, message.gate, message.subject) == (UID, 1, "publish", DIGEST)
    assert (message.approver, message.groups) == ("alice", ["team-a"])


UNCLEAR = [
    pytest.param(build().running(), id="the status shows no wait"),
    pytest.param(at_the_gate(OTHER), id="the status shows another image"),
    pytest.param(at_the_gate(kind="Lease"), id="the status shows another kind of wait"),
    pytest.param(at_the_gate().deleting(), id="the resource is being deleted"),
    pytest.param(build().running(cancelCause="Requested"), id="the run is being cancelled"),
    pytest.param(build().finished(), id="the run is over"),
    pytest.param(build().running(2), id="another run goes on"),
]


@pytest.mark.parametrize("made", UNCLEAR)
def test_before_anything_is_called_stale_the_run_itself_is_asked(made: ABuild) -> None:
    assert decide(observed(made)) == AskRun(1)


@pytest.mark.parametrize("made", UNCLEAR)
def test_a_run_that_has_it_already_counts_whatever_the_status_shows(made: ABuild) -> None:
    assert decide(asked(made, an_open(), taken=True)) == Settle(approvals.counted(approval()))


def test_a_run_that_waits_though_the_status_does_not_show_it_yet_gets_it() -> None:
    assert isinstance(decide(asked(build().running(), an_open(progress=progress(waiting=WAITS)))), HandOver)


STALE = [
    pytest.param(asked(build().running(), an_open()), "run 1 waits for no approval now", id="too early"),
    pytest.param(
        asked(at_the_gate(OTHER), an_open(progress=progress(waiting=WAITS.model_copy(update={"subject": OTHER})))),
        f"run 1 waits at gate publish for an Approval of {OTHER} now",
        id="another image",
    ),
    pytest.param(
        asked(at_the_gate(kind="Lease"), an_open(progress=progress(waiting={"gate": "publish", "kind": "Lease"}))),
        "run 1 waits for no approval now, but at publish for Lease",
        id="another wait",
    ),
    pytest.param(asked(at_the_gate(), a_closed(), refused=True), "run 1 is over", id="the run ended meanwhile"),
    pytest.param(asked(build().finished(Phase.FAILED), a_closed()), "run 1 is over (Failed)", id="over"),
    pytest.param(asked(build().running(), ABSENT), "run 1 is over", id="Temporal knows no such run"),
    pytest.param(
        asked(build().running(2), ABSENT),
        "run 1 is over; the current one is run 2, which waits for no approval",
        id="an earlier run",
    ),
    pytest.param(
        asked(at_the_gate().deleting(), an_open(progress=progress(waiting=WAITS))),
        "run 1 is being cancelled",
        id="deleted",
    ),
    pytest.param(observed(None), "there is no ImageBuild web in this namespace", id="no such resource"),
    pytest.param(observed(build()), "there is no run 1 yet", id="no run at all"),
    pytest.param(
        observed(at_the_gate(), approval(run=2)),
        f"there is no run 2 yet; run 1 waits at gate publish for an Approval of {DIGEST}",
        id="a later run",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("case", "reason"), STALE)
def test_what_is_not_waited_for_is_stale_and_says_what_is(case: Observed, reason: str) -> None:
    assert decide(case) == Settle(ApprovalStatus(state=ApprovalState.STALE, reason=reason))


def test_one_for_a_resource_that_was_made_again_names_both_uids() -> None:
    decision = decide(observed(at_the_gate(), approval(**{"for": {"kind": "ImageBuild", "name": "web", "uid": "x"}})))
    assert isinstance(decision, Settle)
    assert UID in decision.status.reason


def test_one_made_before_the_wait_and_looked_at_in_it_is_too_early() -> None:
    early = approval(made=SINCE - timedelta(minutes=1))
    for case in (
        observed(at_the_gate(), early),
        asked(build().running(), an_open(progress=progress(waiting=WAITS)), early),
    ):
        decision = decide(case)
        assert isinstance(decision, Settle)
        assert decision.status.state is ApprovalState.STALE
        assert "before the run began to wait for it" in decision.status.reason


def test_clocks_may_differ_by_some_seconds() -> None:
    assert isinstance(decide(observed(at_the_gate(), approval(made=SINCE - timedelta(seconds=20)))), HandOver)


def test_what_a_run_of_an_unknown_place_waited_for_is_not_asked() -> None:
    lost = build().finished(temporalNamespace="")
    assert isinstance(decide(observed(lost)), Settle)


def test_events_name_nobody_and_stand_where_people_look() -> None:
    made = approval(decision="Reject", reason="frozen")
    at_resource, told = approvals.happening(made, approvals.counted(made))
    assert (at_resource, told.reason, told.warning) == (True, "ApprovalRejected", True)
    assert "frozen" in told.note
    at_resource, told = approvals.happening(made, ApprovalStatus(state=ApprovalState.STALE, reason="too late"))
    assert (at_resource, told.reason, told.note) == (False, "ApprovalStale", "too late")
    for _, happening in (approvals.happening(made, approvals.counted(made)),):
        assert "alice" not in happening.note


def test_a_run_that_would_not_have_it_is_asked_what_it_waits_for_and_gets_it_only_once() -> None:
    first = observed(at_the_gate(), refused=True)
    assert decide(first) == AskRun(1)
    again = replace(first, asked=True, view=an_open(progress=progress(waiting=WAITS)))
    assert isinstance(decide(again), Settle)


def test_times_are_read_as_utc() -> None:
    assert approval(made=datetime(2026, 11, 22, 12, tzinfo=UTC)).metadata.creation_timestamp == NOW
