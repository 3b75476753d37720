"""A fake of the port `Velero`, in memory: a Restore stands as the test says, and is gone at the second asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bascule_api import names
from bascule_api.failures import FailureType
from bascule_workers.errors import StepFailedError
from bascule_workers.plans.velero import COMPLETED, Backup, RestoreStanding, newest, standing_of
from tests.support.fake_registry import Troubles


@dataclass
class FakeVelero:
    """Backups and Restores by name."""

    troubles: Troubles = field(default_factory=Troubles)
    backups: dict[str, Backup] = field(default_factory=dict)
    schedules: dict[str, list[str]] = field(default_factory=dict)
    """Names of the Backups that a Schedule made."""
    restores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As they were made."""
    standings: dict[str, RestoreStanding] = field(default_factory=dict)
    outcome: str = COMPLETED
    """The phase in which Restores end; empty: Velero does nothing."""
    errors: int = 0
    seconds: int = 5
    """How long a Restore takes."""
    now: int = 1_000
    deleting: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    """Restores that do not go although they are deleted."""

    def put(self, backup: Backup, schedule: str = "") -> Backup:
        self.backups[backup.name] = backup
        if schedule:
            self.schedules.setdefault(schedule, []).append(backup.name)
        return backup

    # the port

    async def backup(self, name: str) -> Backup | None:
        async with self.troubles.around("backup"):
            return self.backups.get(name)

    async def newest_backup(self, schedule: str) -> Backup | None:
        async with self.troubles.around("newest_backup"):
            return newest(self.backups[name] for name in self.schedules.get(schedule, ()) if name in self.backups)

    async def ensure(self, restore: Mapping[str, Any]) -> RestoreStanding:
        async with self.troubles.around("ensure"):
            name, run = restore["metadata"]["name"], restore["metadata"]["labels"][names.LABEL_RUN]
            if name not in self.restores:
                self.restores[name] = dict(restore)
                self.standings[name] = standing_of(restore)
            if self.standings[name].run != run:
                raise StepFailedError(f"the Restore velero/{name} is not this run's", FailureType.RESTORE_FAILED)
            return self.standings[name]

    async def standing(self, name: str, wait_seconds: float = 0) -> RestoreStanding | None:
        async with self.troubles.around("standing"):
            found = self.standings.get(name)
            if found and wait_seconds and not found.over and self.outcome:
                begun = max(self.now, found.recovery_point)
                ends = {"started": begun, "finished": begun + self.seconds}
                found = replace(found, phase=self.outcome, errors=self.errors, **ends)
                self.standings[name] = found
            return found

    async def delete(self, run: str) -> list[str]:
        async with self.troubles.around("delete"):
            names_of_run = [name for name, standing in self.standings.items() if standing.run == run]
            for name in names_of_run:
                if name in self.deleting and name not in self.stuck:
                    del self.standings[name], self.restores[name]
            self.deleting |= set(names_of_run)
            return [f"Restore velero/{name}" for name in names_of_run if name in self.standings]
