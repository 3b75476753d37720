"""May this step be carried out?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bascule_workers.messages import StepRequest


@dataclass(frozen=True)
class Question:
    """What policy is asked, and audit told."""

    tenant: str
    """Whose worker asks."""
    action: str
    """The activity's name."""
    request: StepRequest


class Policy(Protocol):
    async def authorize(self, question: Question) -> None:
        """Return when it may. Raises PolicyDeniedError saying why not; any other error counts as a no."""
