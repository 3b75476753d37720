"""What happened, for those who ask later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bascule_workers.messages import StepRequest


class Moment(StrEnum):
    STARTED = "started"
    SUCCEEDED = "succeeded"
    WAITING = "waiting"
    """The activity ended without the step's end; it is asked again."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Occurrence:
    """One moment of one activity. Equal keys mean the same occurrence."""

    moment: Moment
    action: str
    request: StepRequest
    key: tuple[str, ...]
    """Temporal namespace, workflow id, run id, activity id, attempt."""
    at: datetime
    outcome: str = ""
    """Type of the failure; never its message, which may quote a tenant's log."""


class Audit(Protocol):
    def record(self, occurrence: Occurrence) -> None:
        """Record it, or raise: what cannot be recorded is not carried out."""
