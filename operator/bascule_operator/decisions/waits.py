"""What a run waits for, so that `kubectl describe` alone answers: why, for whom, until when, and what to do."""

from __future__ import annotations

import json

from bascule_api import names
from bascule_api.conditions import WaitKind
from bascule_api.progress import WaitingProgress
from bascule_api.runs import WaitingFor
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.wording import at, stamp


def words(subject: Subject, waiting: WaitingProgress) -> str:
    """One line for conditions and Events."""
    until = f" until {stamp(at(waiting.until))}" if waiting.until else ""
    if waiting.kind is not WaitKind.APPROVAL:
        detail = f": {waiting.detail}" if waiting.detail else ""
        return f"waits at {waiting.gate} for {waiting.kind}{until}{detail}"
    namespace = subject.meta.namespace or ""
    return (
        f"run {_number(subject)} waits at gate {waiting.gate}{until} for an Approval of {waiting.subject} by somebody "
        f"who may create Approvals in {namespace}: {_short(subject)}; "
        f"status.waitingFor.detail has a command without the plugin"
    )


def waiting_for(subject: Subject, waiting: WaitingProgress | None) -> WaitingFor | None:
    """The field of the status."""
    if waiting is None:
        return None
    detail = _command(subject, waiting) if waiting.kind is WaitKind.APPROVAL else waiting.detail
    return WaitingFor(
        gate=waiting.gate,
        kind=waiting.kind,
        subject=waiting.subject,
        detail=detail[:4096],
        since=at(waiting.since),
        until=at(waiting.until),
    )


def _number(subject: Subject) -> int:
    return subject.run.number if subject.run else 0


def _short(subject: Subject) -> str:
    resource = f"{subject.kind.lower()}/{subject.meta.name}"
    return f"`kubectl bascule approve {resource} -n {subject.meta.namespace}`, or `reject`"


def _command(subject: Subject, waiting: WaitingProgress) -> str:
    """A line for a shell that approves. Without resource, run or subject changed it cannot approve anything else."""
    user = "$(kubectl auth whoami -o jsonpath={.status.userInfo.username})"
    owner = {"apiVersion": names.API_VERSION, "kind": subject.kind, "name": subject.meta.name, "uid": subject.meta.uid}
    approval = {
        "apiVersion": names.API_VERSION,
        "kind": "Approval",
        "metadata": {"generateName": "approval-", "ownerReferences": [owner]},
        "spec": {
            "for": {"kind": subject.kind, "name": subject.meta.name, "uid": subject.meta.uid},
            "run": _number(subject),
            "gate": waiting.gate,
            "subject": waiting.subject,
            "decision": "Approve",
            "approver": user,
        },
    }
    quoted = json.dumps(approval, separators=(",", ":")).replace("'", "'\\''").replace(user, f"'\"{user}\"'")
    return f"echo '{quoted}' | kubectl create -n {subject.meta.namespace} -f -"
