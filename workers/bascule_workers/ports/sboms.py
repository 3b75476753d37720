"""Bills of materials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bascule_workers.ports.registry import Repository


class Sboms(Protocol):
    async def describe(self, repository: Repository, digest: str) -> Mapping[str, Any]:
        """Look into an image of the registry. Returns an SPDX 2.3 document as its tool wrote it.

        Raises SbomFailedError, RegistryRefusedError, RegistryUnavailableError.
        """
