"""Whole logs as OCI artifacts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urljoin

from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.ports.logs import LOG, PLAN
from bascule_workers.ports.registry import Repository

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
_DAY = re.compile(r"^(\d{4})(\d{2})(\d{2})-")


def _day(match: re.Match[str]) -> date:
    """The day with which a tag begins; one that is none counts as of today's logs: it is kept."""
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return date.max


class OciLogs:
    """The port `Logs`. Equal logs have equal digests, so that a repetition changes nothing."""

    def __init__(self, http: RegistryHttp) -> None:
        self._http = http

    async def keep(
        self, repository: Repository, tag: str, log: bytes, annotations: Mapping[str, str], media_type: str = LOG
    ) -> str:
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": media_type,
            "config": await self._blob(repository, b"{}", EMPTY),
            "layers": [await self._blob(repository, log, media_type)],
            "annotations": dict(sorted(annotations.items())),
        }
        raw = json.dumps(manifest, separators=(",", ":")).encode()
        await self._http.request(
            "PUT",
            repository,
            # With a tag: what has none is what a registry's garbage collection takes away.
            f"manifests/{tag}",
            accept=(200, 201, 202),
            headers={"Content-Type": MANIFEST},
            body=lambda: raw,
        )
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"

    async def expire(self, repository: Repository, before: date, most: int) -> int:
        old = [tag for tag in await self._http.tags(repository) if (match := _DAY.match(tag)) and _day(match) < before]
        gone = 0
        for tag in sorted(old)[:most]:
            found = await self._http.request(
                "GET", repository, f"manifests/{tag}", accept=(200, 404), headers={"Accept": MANIFEST}
            )
            # Whoever may write there may give anything such a tag; it is not ours to delete.
            if found.status != 200 or json.loads(found.body).get("artifactType") not in (LOG, PLAN):
                continue
            digest = f"sha256:{hashlib.sha256(found.body).hexdigest()}"
            path = f"manifests/{digest}"
            answer = await self._http.request("DELETE", repository, path, accept=(200, 202, 400, 404, 405))
            if answer.status in (400, 405):
                return gone
            gone += 1
        return gone

    async def _blob(self, repository: Repository, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        found = await self._http.request("HEAD", repository, f"blobs/{digest}", accept=(200, 404))
        if found.status != 200:
            opened = await self._http.request("POST", repository, "blobs/uploads/", accept=(202,))
            location = urljoin(f"https://{repository.host}/", opened.headers["Location"])
            await self._http.request(
                "PUT",
                repository,
                f"{location}{'&' if '?' in location else '?'}digest={digest}",
                accept=(201, 204),
                headers={"Content-Type": "application/octet-stream"},
                body=lambda: content,
            )
        return {"mediaType": media_type, "digest": digest, "size": len(content)}
