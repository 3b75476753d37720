"""The port `Git`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from bascule_workers.adapters import git
from bascule_workers.errors import SourceNotFoundError, SourceRefusedError, SourceUnreachableError, WorkerError
from bascule_workers.plans.failures import redacted

_ERRORS: dict[str, type[WorkerError]] = {
    "absent": SourceNotFoundError,
    "refused": SourceRefusedError,
    "unreachable": SourceUnreachableError,
}


class CommandLineGit:
    """Resolves revisions with the git of the image."""

    async def resolve(self, url: str, revision: str, credentials: Mapping[str, str]) -> str:
        try:
            return await asyncio.to_thread(git.resolve, url, revision, credentials, os.environ)
        except git.GitError as error:
            said = redacted(str(error), credentials.values())
            with_login = "with the login of spec.source.git.secretRef" if credentials else "without a login"
            raise _ERRORS.get(error.kind, SourceRefusedError)(
                f"{revision} of {url}, asked for {with_login}: {said}"
            ) from None
