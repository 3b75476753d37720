"""Whole logs, plans and reports that were kept as OCI artifacts, fetched with the user's own registry login."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from typing import Any

from bascule_cli.errors import CliError, ExitCode

MEDIA_TYPE = "application/vnd.bascule.log.v1+gzip"
PLAN_TYPE = "application/vnd.bascule.plan.v1+gzip"
DRILL_REPORT_TYPE = "application/vnd.bascule.drill-report.v1+html"
_WORDS = {MEDIA_TYPE: "log", PLAN_TYPE: "plan", DRILL_REPORT_TYPE: "report of a drill"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LIMIT_BYTES = 64 * 1024 * 1024
"""More than any kept log or plan has; an artifact that unpacks to more is none."""


def fetch(repository: str, digest: str, media_type: str = MEDIA_TYPE) -> str:
    """The text of a kept log, plan or report. Raises CliError when the registry gives none, or something else."""
    manifest = json.loads(_content(repository, digest, manifest=True))
    layers = [layer for layer in manifest.get("layers", []) if layer.get("mediaType") == media_type]
    if len(layers) != 1:
        raise CliError(ExitCode.FAILED, f"{repository}@{digest} is no {_WORDS[media_type]}")
    packed = _content(repository, str(layers[0]["digest"]), manifest=False)
    return (unpacked(packed) if media_type.endswith("+gzip") else packed).decode(errors="replace")


def unpacked(packed: bytes) -> bytes:
    """The text of a gzip file, which may not be larger than a log is."""
    reader = zlib.decompressobj(wbits=31)
    try:
        text = reader.decompress(packed, _LIMIT_BYTES)
    except zlib.error as error:
        raise CliError(ExitCode.FAILED, f"the kept log cannot be unpacked: {error}") from None
    if reader.unconsumed_tail:
        raise CliError(ExitCode.FAILED, f"the kept log has more than {_LIMIT_BYTES} bytes: that is none of ours")
    return text


def _content(repository: str, digest: str, *, manifest: bool) -> bytes:
    """A manifest or blob, with the content that its digest says. Raises CliError."""
    # Imported here: no other verb talks to registries, and these take a while.
    import requests
    from oras.client import OrasClient

    logging.getLogger("oras").setLevel(logging.CRITICAL)
    client = OrasClient(hostname=repository.partition("/")[0])
    container: Any = client.get_container(f"{repository}@{digest}")
    try:
        client.auth.load_configs(container)
        where = container.manifest_url() if manifest else container.get_blob_url(digest)
        headers = {"Accept": _MANIFEST} if manifest else {}
        answer = client.do_request(f"{client.prefix}://{where}", "GET", headers=headers)
    except (requests.RequestException, ValueError, OSError) as error:
        raise CliError(ExitCode.UNREACHABLE, f"the registry of {repository} does not answer: {error}") from None
    if answer.status_code in (401, 403):
        raise CliError(
            ExitCode.FORBIDDEN,
            f"the registry does not let you read {repository}",
            "log in with docker login",
        )
    if answer.status_code != 200:
        raise CliError(ExitCode.NOT_FOUND, f"{repository}@{digest}: the registry answered {answer.status_code}")
    if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
        raise CliError(ExitCode.FAILED, f"the registry of {repository} gave another content than {digest}")
    content: bytes = answer.content
    return content
