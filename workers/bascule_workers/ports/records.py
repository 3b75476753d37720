"""What earlier runs left in Temporal."""

from __future__ import annotations

from typing import Protocol


class Records(Protocol):
    """The memos of runs."""

    async def patched(self, workflow_id: str, run_id: str) -> str | None:
        """What a run patched, as its memo `patched` says; of one that did not come to its end, as its batches say, too.

        None if Temporal does not know the run any more, or it has no such memo.
        `run_id` may be empty: then it is the latest execution's. Raises TemporalUnavailableError.
        """
