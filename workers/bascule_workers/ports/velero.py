"""Velero, which backs up namespaces and restores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bascule_workers.plans.velero import Backup, RestoreStanding


class Velero(Protocol):
    """Backups and Restores in Velero's own namespace. Every call may be repeated with the same effect.

    Raises ApiUnavailableError when the API server does not answer or refuses for now, StepFailedError of type
    RestoreFailed where the platform has no Velero.
    """

    async def backup(self, name: str) -> Backup | None:
        """The Backup of that name, whatever its phase."""

    async def newest_backup(self, schedule: str) -> Backup | None:
        """The newest completed Backup of a Schedule, which itself may be gone."""

    async def ensure(self, restore: Mapping[str, Any]) -> RestoreStanding:
        """Make sure that the Restore exists, and tell how it stands: one of that name and run is left as it is.

        The namespace that it restores into has to be there: Velero would make one without any of our labels. Raises
        StepFailedError of type RestoreFailed when it is refused, or another's.
        """

    async def standing(self, name: str, wait_seconds: float = 0) -> RestoreStanding | None:
        """How the Restore stands once it is over, or after so long. None: there is no such Restore (any more)."""

    async def delete(self, run: str) -> list[str]:
        """Ask for the deletion of the run's Restores (`names.run_label`), and name those that are still there.

        One is gone only when Velero works on it no more. As long as it is there Velero may make the drill's namespace
        anew: so that one is deleted after it. Where the platform has no Velero there is nothing.
        """
