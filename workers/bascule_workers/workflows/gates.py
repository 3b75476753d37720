"""Gates at which a run waits for people."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api.approvals import Decision
    from bascule_api.conditions import WaitKind
    from bascule_api.failures import Failure, FailureType
    from bascule_api.progress import ApprovalMessage, WaitingProgress
    from bascule_workers.plans import failures


class ApprovalGate:
    """One wait for an Approval of one subject."""

    def __init__(self, gate: str, subject: str, timeout_seconds: int) -> None:
        self._gate = gate
        self._subject = subject
        self._timeout = timeout_seconds
        self._since: int | None = None
        self._decision: ApprovalMessage | None = None
        self.seconds_left = float(timeout_seconds)

    def awaits(self, message: ApprovalMessage) -> bool:
        """Whether the message is for what is waited for."""
        return not self.decided and (message.gate, message.subject) == (self._gate, self._subject)

    def decide(self, message: ApprovalMessage) -> None:
        """Take the decision. One that comes when another has counted already changes nothing."""
        if self.awaits(message):
            self._decision = message

    @property
    def decided(self) -> bool:
        return self._decision is not None

    def waiting(self, now: int, *, deadline: bool) -> WaitingProgress:
        """For the progress: what is waited for, and until when."""
        self._since = self._since or now
        return WaitingProgress(
            gate=self._gate,
            kind=WaitKind.APPROVAL,
            subject=self._subject,
            detail=f"an Approval of {self._subject}",
            since=self._since,
            until=now + round(self.seconds_left) if deadline else None,
        )

    @property
    def approval(self) -> ApprovalMessage | None:
        """Who opened the gate; None while nobody has."""
        decision = self._decision
        return decision if decision and decision.decision == Decision.APPROVE else None

    @property
    def rejection(self) -> Failure | None:
        if self._decision is None or self._decision.decision == Decision.APPROVE:
            return None
        # Who it was is in the Approval: names of people stay out of results and logs.
        # The whole reason is in the Approval, too: a failure has less room than that.
        message = failures.shortened(f"the approval was rejected: {self._decision.reason}", 1024)
        return Failure(step=self._gate, type=FailureType.APPROVAL_REJECTED, message=message)

    def too_late(self) -> Failure:
        message = f"nobody approved {self._subject} within {self._timeout} s"
        return Failure(step=self._gate, type=FailureType.APPROVAL_TIMED_OUT, message=message, retryable=True)
