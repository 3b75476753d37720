"""Bills of materials with syft, out of the registry; nothing but the registry is ever asked."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule_workers.adapters.processes import Finished, execute
from bascule_workers.adapters.registry_login import docker_config
from bascule_workers.errors import RegistryRefusedError, RegistryUnavailableError, SbomFailedError
from bascule_workers.plans.failures import redacted, shortened
from bascule_workers.ports.registry import Repository

SBOM_LIMIT = 32 << 20
"""Bytes of a document as syft writes it. Debian's own base image has 3.5 MB."""
_LIMIT_SECONDS = 300.0
_ENVIRONMENT = {
    "SYFT_CHECK_FOR_APP_UPDATE": "false",
    # Packages are what is asked for; digests of every file would multiply time and size.
    "SYFT_FILE_METADATA_SELECTION": "none",
    "SYFT_PARALLELISM": "1",
    # Seen: 210 MB for Debian's base image. Go collects harder near this, and may still exceed it.
    "GOMEMLIMIT": "384MiB",
    "NO_COLOR": "1",
}
_AWAY = re.compile(
    r"connection (refused|reset)|no such host|no route to host|i/o timeout|handshake timeout|network is unreachable"
    r"|unexpected EOF|status code 5[0-9][0-9]|TOOMANYREQUESTS|server misbehaving|deadline exceeded",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"UNAUTHORIZED|DENIED|authentication required|status code 40[13]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Syft:
    """The port `Sboms`. One at a time: an image is unpacked below the temporary folder, and its index in memory."""

    def __init__(self, command: str = "") -> None:
        # The wheel puts it beside Python, which need not be on PATH.
        self._command = command or shutil.which("syft") or str(Path(sys.executable).with_name("syft"))
        self._alone = asyncio.Semaphore(1)

    async def describe(self, repository: Repository, digest: str) -> Mapping[str, Any]:
        async with self._alone:
            with tempfile.TemporaryDirectory() as home:
                return await self._described(repository, digest, Path(home))

    async def _described(self, repository: Repository, digest: str, home: Path) -> Mapping[str, Any]:
        document = home / "sbom.json"
        argv = [self._command, "scan", "--output", f"spdx-json={document}", f"registry:{repository.name}@{digest}"]
        environment = _ENVIRONMENT | {"TMPDIR": str(home)} | docker_config(home, repository)
        try:
            finished = await execute(argv, environment, str(home), _LIMIT_SECONDS)
        except TimeoutError:
            raise SbomFailedError(f"syft did not end within {_LIMIT_SECONDS:.0f} s", retryable=True) from None
        except OSError as error:
            raise SbomFailedError(f"syft cannot be run: {error}") from None
        if finished.code != 0:
            raise _error(finished, repository)
        if not document.is_file():
            raise SbomFailedError("syft ended well, and wrote nothing")
        if (size := document.stat().st_size) > SBOM_LIMIT:
            raise SbomFailedError(f"the bill of materials has {size >> 20} MiB; the limit is {SBOM_LIMIT >> 20} MiB")
        return await asyncio.to_thread(_parsed, document)


def _parsed(document: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(document.read_bytes())
    except ValueError as error:
        raise SbomFailedError(f"syft wrote no JSON: {error}") from None
    if not isinstance(content, dict):
        raise SbomFailedError("syft wrote no document")
    return content


def _error(finished: Finished, repository: Repository) -> Exception:
    secrets = [repository.login.password] if repository.login else []
    said = shortened(redacted(_COLOURS.sub("", finished.last_error), secrets), 512)
    if finished.code < 0:
        # Killed, as by the kernel when memory runs out: another time there may be more.
        return SbomFailedError(f"syft was ended by signal {-finished.code}: {said}", retryable=True)
    if _REFUSED.search(finished.errors):
        return RegistryRefusedError(f"syft cannot read the image: {said}")
    if _AWAY.search(finished.errors):
        return RegistryUnavailableError(f"syft cannot read the image: {said}")
    return SbomFailedError(f"syft failed with exit code {finished.code}: {said}")
