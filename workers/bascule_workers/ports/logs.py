"""Where whole logs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from bascule_workers.ports.registry import Repository


class Logs(Protocol):
    """Keeps logs for as long as the tenant's repository does. Every call may be repeated with the same effect."""

    async def keep(self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str]) -> str:
        """Keep a compressed log under a tag. Returns its digest.

        Raises RegistryRefusedError, RegistryUnavailableError.
        """

    async def expire(self, repository: Repository, before: date, most: int) -> int:
        """Delete logs whose tag begins with an earlier day (`20260131-…`), the oldest first. Returns how many went.

        Deletes nothing but logs, and nothing where the registry cannot. Raises as `keep` does.
        """
