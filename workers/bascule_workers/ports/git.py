"""Git repositories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bascule_workers.plans.drill_plans import FileLimits


class Git(Protocol):
    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        """The commit that a branch, tag or commit means now.

        `credentials` has `username` and `password`, or `ssh-privatekey` and `known_hosts`, or nothing. Raises
        SourceNotFoundError, SourceUnreachableError, SourceRefusedError.
        """


class GitFiles(Git, Protocol):
    """Git repositories whose files are read by the worker itself, instead of by a step's pod."""

    async def files(
        self, url: str, commit: str, path: str, credentials: Mapping[str, str], limits: FileLimits
    ) -> dict[str, bytes]:
        """The wanted files that lie directly in a folder of a commit, by name.

        A link or a submodule among them is refused. Raises as `resolve` does, and SourceRefusedError beyond the limits.
        """
