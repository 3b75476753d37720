"""Git repositories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Git(Protocol):
    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        """The commit that a branch, tag or commit means now.

        `credentials` has `username` and `password`, or `ssh-privatekey` and `known_hosts`, or nothing. Raises
        SourceNotFoundError, SourceUnreachableError, SourceRefusedError.
        """
