"""What becomes of an Approval: handed to the run that waits for it, or told why it changes nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bascule_api.approvals import Approval, ApprovalState, ApprovalStatus, Decision
from bascule_api.conditions import WaitKind
from bascule_api.progress import ApprovalMessage, WaitingProgress
from bascule_api.runs import RunRecord, WaitingFor
from bascule_operator.decisions.happenings import Happening
from bascule_operator.decisions.subjects import Subject
from bascule_operator.decisions.views import RunState, RunView
from bascule_operator.decisions.wording import at, stamp

_UNASKED = RunView()
_REJECTED = {
    "ImageBuild": "fails and takes back what it made",
    "PatchCampaign": "ends; what its earlier waves patched is kept or rolled back as spec.failurePolicy says",
    "DRDrill": "ends, and nothing is provisioned",
}
"""What a rejection means to a run of each kind."""
SKEW = timedelta(seconds=30)
"""By how much the clocks of Kubernetes and Temporal may differ before an Approval counts as too early."""


@dataclass(frozen=True)
class Observed:
    """Everything that the decision rests on."""

    approval: Approval
    subject: Subject | None
    """The resource that it is for, as it is now."""
    asked: bool = False
    """Whether the run itself was asked, which knows what the status may not know yet, or not any more."""
    taken: bool = False
    """Whether the run has this very Approval: handed over by an operator that died before it could say so."""
    refused: bool = False
    """Whether the run would not have it."""
    view: RunView = _UNASKED


@dataclass(frozen=True)
class AskRun:
    """The status does not show that the run waits for this: the run has to be asked."""

    number: int


@dataclass(frozen=True)
class HandOver:
    """The run waits for exactly this."""

    message: ApprovalMessage


@dataclass(frozen=True)
class Settle:
    """The end of it."""

    status: ApprovalStatus


def decide(observed: Observed) -> AskRun | HandOver | Settle:
    """Choose what to do with an Approval that nothing was said to yet."""
    approval, subject = observed.approval, observed.subject
    spec = approval.spec
    if subject is None:
        return _stale(f"there is no {spec.for_.kind} {spec.for_.name} in this namespace")
    if subject.meta.uid != spec.for_.uid:
        return _stale(
            f"{spec.for_.kind} {spec.for_.name} was deleted and made again: "
            f"its uid is {subject.meta.uid}, and spec.for.uid is another"
        )
    run = subject.run
    if run is None or run.number < spec.run:
        return _stale(f"there is no run {spec.run} yet{_present(subject)}")
    if not observed.refused and _opens(observed, subject, run):
        return _too_early(observed, subject) or HandOver(_message(approval))
    if not observed.asked and run.temporal_namespace:
        return AskRun(spec.run)
    if observed.taken:
        return Settle(counted(approval))
    return _stale(_why_not(observed, subject, run))


def counted(approval: Approval) -> ApprovalStatus:
    """What is said to the Approval that decided."""
    spec = approval.spec
    goes = "goes on" if spec.decision is Decision.APPROVE else _REJECTED.get(spec.for_.kind, "fails")
    return ApprovalStatus(state=ApprovalState.COUNTED, reason=f"run {spec.run} has it and {goes}")


def refused(reason: str) -> ApprovalStatus:
    """What is said to an approver whom the run does not let decide."""
    return ApprovalStatus(state=ApprovalState.REFUSED, reason=reason[:4096])


def pending(words: str) -> ApprovalStatus:
    """What is said while the run cannot be reached."""
    return ApprovalStatus(reason=f"the run does not have it yet: {words}; tried again until it does"[:4096])


def happening(approval: Approval, status: ApprovalStatus) -> tuple[bool, Happening]:
    """What people should hear: whether it concerns the resource (else the Approval), and what. Names nobody."""
    spec = approval.spec
    if status.state is ApprovalState.COUNTED:
        reason = "Approved" if spec.decision is Decision.APPROVE else "ApprovalRejected"
        why = f": {spec.reason}" if spec.reason else ""
        note = f"run {spec.run} has the decision at {spec.gate} by Approval {approval.metadata.name}{why}"
        return True, Happening(reason, note, spec.decision is Decision.REJECT)
    return False, Happening(f"Approval{status.state}", status.reason, True)


def _stale(reason: str) -> Settle:
    return Settle(ApprovalStatus(state=ApprovalState.STALE, reason=reason[:4096]))


def _message(approval: Approval) -> ApprovalMessage:
    spec = approval.spec
    return ApprovalMessage(
        uid=spec.for_.uid,
        run=spec.run,
        gate=spec.gate,
        subject=spec.subject,
        decision=spec.decision,
        approver=spec.approver,
        groups=spec.groups,
        reason=spec.reason,
    )


def _opens(observed: Observed, subject: Subject, run: RunRecord) -> bool:
    """Whether the run waits for this: as the status shows it, or as the run itself says where that was asked."""
    spec = observed.approval.spec
    if subject.unfinished is None or subject.deleting or run.cancel_cause is not None or run.number != spec.run:
        return False
    waiting = _waiting(observed, subject)
    return (
        waiting is not None
        and waiting.kind is WaitKind.APPROVAL
        and (waiting.gate, waiting.subject) == (spec.gate, spec.subject)
    )


def _waiting(observed: Observed, subject: Subject) -> WaitingFor | WaitingProgress | None:
    if not observed.asked:
        return subject.status.waiting_for
    progress = observed.view.progress
    return progress.waiting if progress is not None and observed.view.state is RunState.OPEN else None


def _too_early(observed: Observed, subject: Subject) -> Settle | None:
    """An Approval that was made before the run waited, and only looked at afterwards: the operator was away."""
    made, waiting = observed.approval.metadata.creation_timestamp, _waiting(observed, subject)
    told = waiting.since if waiting is not None else None
    since = at(told) if isinstance(told, int) else told
    if made is None or since is None or made >= since - SKEW:
        return None
    return _stale(f"it was made at {stamp(made)}, before the run began to wait for it at {stamp(since)}: make another")


def _why_not(observed: Observed, subject: Subject, run: RunRecord) -> str:
    spec = observed.approval.spec
    if run.number != spec.run:
        return f"run {spec.run} is over{_present(subject)}"
    if observed.view.state in (RunState.ABSENT, RunState.CLOSED) or run.outcome is not None:
        return f"run {run.number} is over" + (f" ({run.outcome})" if run.outcome else "")
    if subject.deleting or run.cancel_cause is not None:
        return f"run {run.number} is being cancelled"
    return f"run {run.number} {_now(observed.view)}"


def _now(view: RunView) -> str:
    waiting = view.progress.waiting if view.progress else None
    if waiting is None:
        return "waits for no approval now"
    if waiting.kind is not WaitKind.APPROVAL:
        return f"waits for no approval now, but at {waiting.gate} for {waiting.kind}"
    return f"waits at gate {waiting.gate} for an Approval of {waiting.subject or 'nothing in particular'} now"


def _present(subject: Subject) -> str:
    """What the current run does, where the Approval is for another."""
    run = subject.run
    if run is None:
        return ""
    if run.outcome is not None:
        return f"; the last one is run {run.number} ({run.outcome})"
    waiting = subject.status.waiting_for
    if waiting is not None and waiting.kind is WaitKind.APPROVAL:
        return f"; run {run.number} waits at gate {waiting.gate} for an Approval of {waiting.subject}"
    return f"; the current one is run {run.number}, which waits for no approval"
