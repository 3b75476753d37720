"""Where whole logs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from bascule_workers.ports.registry import Repository

LOG = "application/vnd.bascule.log.v1+gzip"
PLAN = "application/vnd.bascule.plan.v1+gzip"
DRILL_REPORT = "application/vnd.bascule.drill-report.v1+html"
"""Media types of what is kept."""


class Logs(Protocol):
    """Keeps logs, plans and reports, for as long as the tenant's repository does. Every call may be repeated with the
    same effect."""

    async def keep(
        self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str], media_type: str = LOG
    ) -> str:
        """Keep a compressed log, or plan, under a tag. Returns its digest.

        Raises RegistryRefusedError, RegistryUnavailableError.
        """

    async def expire(self, repository: Repository, before: date, most: int) -> int:
        """Delete logs and plans whose tag begins with an earlier day (`20260131-…`), the oldest first. Returns how
        many went.

        Deletes nothing else, and nothing where the registry cannot. Raises as `keep` does.
        """
