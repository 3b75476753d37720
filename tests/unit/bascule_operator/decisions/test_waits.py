"""What is said of a wait."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bascule_api.approvals import Approval
from bascule_api.conditions import WaitKind
from bascule_api.progress import WaitingProgress
from bascule_operator.decisions import status, waits
from bascule_operator.decisions.happenings import happenings
from tests.support.subjects import NOW, UID, an_open, build, progress

DIGEST = "sha256:" + "1" * 64
APPROVAL = WaitingProgress(gate="publish", kind=WaitKind.APPROVAL, subject=DIGEST, since=1, until=1_800_000_000)
LEASE = WaitingProgress(gate="publish", kind=WaitKind.LEASE, detail="held by acme-dev/other", since=1)


def test_an_approval_is_asked_for_with_digest_deadline_place_and_command() -> None:
    assert waits.words(build().running().subject, APPROVAL) == (
        f"run 1 waits at gate publish until 2027-01-15T08:00:00Z for an Approval of {DIGEST} by somebody who may "
        "create Approvals in acme-dev: `kubectl bascule approve imagebuild/web -n acme-dev`, or `reject`; "
        "status.waitingFor.detail has a command without the plugin"
    )


def test_other_waits_say_what_for() -> None:
    assert waits.words(build().running().subject, LEASE) == "waits at publish for Lease: held by acme-dev/other"


def test_the_command_makes_the_approval_that_is_asked_for(tmp_path: Path) -> None:
    found = waits.waiting_for(build().running().subject, APPROVAL)
    assert found is not None
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\ncase $1 in auth) echo "al\'ice";; *) cat > {tmp_path}/in; echo $* > {tmp_path}/args;; esac\n'
    )
    kubectl.chmod(0o755)
    subprocess.run(["sh", "-c", found.detail], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    assert (tmp_path / "args").read_text() == "create -n acme-dev -f -\n"
    body = json.loads((tmp_path / "in").read_text())
    made = Approval.parse(body | {"metadata": {"name": "x"}}).spec
    assert (made.for_.uid, made.run, made.gate, made.subject, made.approver) == (UID, 1, "publish", DIGEST, "al'ice")
    assert body["metadata"]["ownerReferences"][0]["uid"] == UID


def test_each_new_wait_is_an_event_and_the_same_one_is_none() -> None:
    subject = build().running().subject
    first = status.running(subject, an_open(progress=progress(1, "Waiting", waiting=LEASE)), NOW)
    second = status.running(subject.with_status(first), an_open(progress=progress(2, "Waiting", waiting=APPROVAL)), NOW)
    third = status.running(
        subject.with_status(second),
        an_open(progress=progress(3, "Waiting", waiting=APPROVAL.model_copy(update={"until": 2_000_000_000}))),
        NOW,
    )
    assert [item.reason for item in happenings(subject.status, first)] == ["Waiting"]
    assert [item.reason for item in happenings(first, second)] == ["Waiting"]
    assert happenings(second, third) == []
