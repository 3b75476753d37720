"""The port `Git`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bascule_workers.adapters import git
from bascule_workers.adapters.git_checkout import Checkout, CheckoutError
from bascule_workers.errors import SourceNotFoundError, SourceRefusedError, SourceUnreachableError, WorkerError
from bascule_workers.plans.drill_plans import FileLimits
from bascule_workers.plans.failures import redacted

_ERRORS: dict[str, type[WorkerError]] = {
    "absent": SourceNotFoundError,
    "refused": SourceRefusedError,
    "unreachable": SourceUnreachableError,
}


FETCH_LIMIT = 256 << 20
"""Bytes of a commit that a server may send."""
FETCH_SECONDS = 120.0
FETCHES = 2
"""Commits that are fetched at the same time: each may fill that much of the worker's disk."""


class CommandLineGit:
    """Resolves revisions, and reads files of commits, with the git of the image."""

    def __init__(self) -> None:
        self._fetches = asyncio.Semaphore(FETCHES)

    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        try:
            return await asyncio.to_thread(git.resolve, url, revision, credentials, os.environ)
        except git.GitError as error:
            said = redacted(str(error), credentials.values())
            with_login = "with the login of spec.source.git.secretRef" if credentials else "without a login"
            raise _ERRORS.get(error.kind, SourceRefusedError)(
                f"{revision} of {url}, asked for {with_login}: {said}"
            ) from None

    async def files(
        self, url: str, commit: str, path: str, credentials: Mapping[str, str], limits: FileLimits
    ) -> dict[str, bytes]:
        def read() -> dict[str, bytes]:
            with tempfile.TemporaryDirectory() as folder:
                checkout = Checkout(
                    url=url,
                    credentials=credentials,
                    inherited=os.environ,
                    submodules=False,
                    limit=FETCH_LIMIT,
                    # The workflow asks again.
                    patience=0,
                    folder=Path(folder),
                    seconds=FETCH_SECONDS,
                )
                return checkout.files(commit, path, limits.suffixes, most=limits.files, most_bytes=limits.bytes)

        async with self._fetches:
            try:
                return await asyncio.to_thread(read)
            except CheckoutError as error:
                said = redacted(str(error), credentials.values())
                raise _ERRORS.get(error.kind, SourceRefusedError)(f"{commit} of {url}: {said}") from None
