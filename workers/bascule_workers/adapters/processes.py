"""Commands of the image, as argv lists; none outlives who waits for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_INHERITED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "LANG")
OUTPUT_LIMIT = 1_000_000


@dataclass(frozen=True)
class Finished:
    """How a command ended. Its output may quote secrets: whoever shows it redacts it first."""

    code: int
    output: str = field(repr=False)
    errors: str = field(repr=False)

    @property
    def last_error(self) -> str:
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


async def execute(
    argv: Sequence[str],
    environment: Mapping[str, str],
    home: str,
    limit_seconds: float,
    output_file: Path | None = None,
) -> Finished:
    """Run a command with the given environment and little else. Raises TimeoutError; then it has been killed.

    With a file for its output, however long that is, `Finished.output` stays empty.
    """
    with ExitStack() as files:
        output = files.enter_context(output_file.open("wb")) if output_file else asyncio.subprocess.PIPE
        return await _executed(argv, environment, home, limit_seconds, output)


async def _executed(
    argv: Sequence[str],
    environment: Mapping[str, str],
    home: str,
    limit_seconds: float,
    standard_output: int | IO[bytes],
) -> Finished:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=inherited | {"HOME": home} | dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=standard_output,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit_seconds):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            # The whole group: git and cosign have helpers.
            os.killpg(process.pid, 9)
            await process.wait()
    return Finished(
        process.returncode or 0,
        (output or b"")[:OUTPUT_LIMIT].decode(errors="replace"),
        errors[:OUTPUT_LIMIT].decode(errors="replace"),
    )
