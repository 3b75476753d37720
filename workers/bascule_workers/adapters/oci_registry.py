"""OCI registries, by the distribution specification; no image is ever taken apart, so that digests stay."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.errors import RegistryUnavailableError, VerificationFailedError
from bascule_workers.ports.registry import Manifest, Repository

INDEX = "application/vnd.oci.image.index.v1+json"
_INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_ACCEPT = {
    "Accept": ", ".join(
        (
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
            *_INDEXES,
        )
    )
}
_COMPANION = re.compile(r"^sha256-[0-9a-f]{64}(\.[a-z]+(-[a-z0-9-]+)?)?$")
"""Tags that carry what refers to an image: signatures, attestations, SBOMs."""
_CHUNK = 1 << 20
_MANIFEST_LIMIT = 4 << 20


@dataclass(frozen=True)
class Fetched:
    """A manifest as the registry has it, byte for byte."""

    digest: str
    media_type: str
    raw: bytes
    content: Mapping[str, Any]

    @property
    def children(self) -> list[Mapping[str, Any]]:
        return list(self.content.get("manifests") or []) if self.media_type in _INDEXES else []

    @property
    def blobs(self) -> list[Mapping[str, Any]]:
        config = self.content.get("config")
        return [*([config] if config else []), *(self.content.get("layers") or [])]


class OciRegistry:
    """The port `Registry`."""

    def __init__(self, http: RegistryHttp) -> None:
        self._http = http

    async def check_push(self, repository: Repository) -> None:
        answer = await self._http.request("POST", repository, "blobs/uploads/", accept=(202,))
        if location := answer.headers.get("Location"):
            # An upload that is not taken back expires by itself; not every registry can.
            await self._http.request(
                "DELETE", repository, self._absolute(repository, location), accept=(200, 202, 204, 400, 404, 405)
            )

    async def manifest(self, repository: Repository, reference: str) -> Manifest | None:
        fetched = await self.fetch(repository, reference)
        if fetched is None:
            return None
        size = len(fetched.raw) + sum(int(blob.get("size", 0)) for blob in fetched.blobs)
        for child in fetched.children:
            found = await self.manifest(repository, child["digest"])
            size += found.size if found else 0
        annotations = fetched.content.get("annotations") or {}
        config_type = (fetched.content.get("config") or {}).get("mediaType", "")
        return Manifest(fetched.digest, fetched.media_type, size, annotations, config_type)

    async def tags(self, repository: Repository) -> list[str]:
        return [tag for tag in await self._http.tags(repository) if not _COMPANION.match(tag)]

    async def copy(self, source: Repository, target: Repository, digest: str) -> None:
        await self._copy_manifest(source, target, digest)
        descriptors = [
            companion
            for companion in await self.referrers(source, digest)
            if not await self._copy_manifest(source, target, companion["digest"])
        ]
        if descriptors:
            await self._refer(target, digest, descriptors)
        for tag, fetched in await self._companion_images(source, digest):
            await self._copy_manifest(source, target, fetched.digest)
            await self._put(target, tag, fetched)

    async def tag(self, repository: Repository, digest: str, tag: str) -> None:
        fetched = await self.fetch(repository, digest)
        if fetched is None:
            raise RegistryUnavailableError(f"{repository.name}@{digest} is not there any more")
        await self._put(repository, tag, fetched)

    async def delete_tag(self, repository: Repository, tag: str) -> bool:
        answer = await self._http.request("DELETE", repository, f"manifests/{tag}", accept=(202, 200, 400, 404, 405))
        return answer.status in (200, 202, 404)

    async def delete(self, repository: Repository, digest: str) -> bool:
        companions = [entry["digest"] for entry in await self.referrers(repository, digest)]
        fallback = await self.fetch(repository, _fallback_tag(digest))
        companions += [fallback.digest] if fallback else []
        companions += [fetched.digest for _, fetched in await self._companion_images(repository, digest)]
        # The image last: what refers to it is found through it.
        return all([await self._delete_manifest(repository, item) for item in [*companions, digest]])

    async def referrers(self, repository: Repository, digest: str) -> list[Mapping[str, Any]]:
        """Descriptors of the manifests that refer to a digest, through the API or the tag that stands in for it."""
        answer = await self._http.request("GET", repository, f"referrers/{digest}", accept=(200, 404, 400, 405))
        if answer.status == 200:
            return list(json.loads(answer.body).get("manifests") or [])
        fallback = await self.fetch(repository, _fallback_tag(digest))
        return fallback.children if fallback else []

    async def fetch(self, repository: Repository, reference: str) -> Fetched | None:
        """A manifest by tag or digest; its bytes are checked against the digest."""
        answer = await self._http.request(
            "GET", repository, f"manifests/{reference}", accept=(200, 404), headers=_ACCEPT
        )
        if answer.status == 404:
            return None
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if ":" in reference and digest != reference:
            raise VerificationFailedError(f"{repository.name}@{reference} holds other content than its digest says")
        if len(answer.body) > _MANIFEST_LIMIT:
            raise VerificationFailedError(
                f"the manifest {repository.name}@{digest} is larger than {_MANIFEST_LIMIT} bytes"
            )
        content = json.loads(answer.body)
        media_type = content.get("mediaType") or answer.headers.get("Content-Type", "")
        return Fetched(digest, media_type, answer.body, content)

    async def blob(self, repository: Repository, digest: str, limit: int) -> bytes:
        """The content of a small blob, checked against its digest. Raises VerificationFailedError beyond `limit`."""
        content = bytearray()
        async with self._http.stream("GET", repository, f"blobs/{digest}", accept=(200,)) as answer:
            async for chunk in answer.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > limit:
                    raise VerificationFailedError(f"{repository.name}@{digest} is larger than {limit} bytes")
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise VerificationFailedError(f"{repository.name}@{digest} holds other content than its digest says")
        return bytes(content)

    async def _copy_manifest(self, source: Repository, target: Repository, digest: str) -> bool:
        """Copy a manifest and all that it lists. Whether the target keeps its list of referrers itself."""
        fetched = await self.fetch(source, digest)
        if fetched is None:
            raise RegistryUnavailableError(f"{source.name}@{digest} is not there any more")
        for child in fetched.children:
            await self._copy_manifest(source, target, child["digest"])
        for blob in fetched.blobs:
            await self._copy_blob(source, target, blob["digest"])
        return await self._put(target, digest, fetched)

    async def _copy_blob(self, source: Repository, target: Repository, digest: str) -> None:
        found = await self._http.request("HEAD", target, f"blobs/{digest}", accept=(200, 404))
        if found.status == 200:
            return
        mount = f"?mount={digest}&from={quote(source.path, safe='')}" if source.host == target.host else ""
        opened = await self._http.request("POST", target, f"blobs/uploads/{mount}", accept=(201, 202))
        if opened.status == 201:
            return
        location = self._absolute(target, opened.headers["Location"])
        upload = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        async with self._http.stream("GET", source, f"blobs/{digest}", accept=(200,)) as blob:
            headers = {"Content-Type": "application/octet-stream"}
            if length := blob.headers.get("Content-Length"):
                headers["Content-Length"] = length

            def chunks() -> AsyncIterator[bytes]:
                return blob.content.iter_chunked(_CHUNK)

            await self._http.request("PUT", target, upload, accept=(201, 204), headers=headers, body=chunks)

    async def _put(self, repository: Repository, reference: str, fetched: Fetched) -> bool:
        answer = await self._http.request(
            "PUT",
            repository,
            f"manifests/{reference}",
            accept=(200, 201, 202),
            headers={"Content-Type": fetched.media_type},
            body=lambda: fetched.raw,
        )
        return "OCI-Subject" in answer.headers

    async def _refer(self, repository: Repository, digest: str, descriptors: Iterable[Mapping[str, Any]]) -> None:
        """Add to the list of referrers that a tag keeps where the registry doesn't."""
        existing = await self.fetch(repository, _fallback_tag(digest))
        entries = {entry["digest"]: entry for entry in existing.children} if existing else {}
        merged = entries | {entry["digest"]: entry for entry in descriptors}
        if existing and merged.keys() == entries.keys():
            return
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(merged.values())}
        raw = json.dumps(index, separators=(",", ":")).encode()
        await self._put(repository, _fallback_tag(digest), Fetched("", INDEX, raw, index))

    async def _companion_images(self, repository: Repository, digest: str) -> list[tuple[str, Fetched]]:
        """What lies under a tag made from the digest: signatures in the older way, the reports of `image-policy`."""
        prefix = f"{_fallback_tag(digest)}."
        tags = [tag for tag in await self._http.tags(repository) if tag.startswith(prefix) and _COMPANION.match(tag)]
        fetched = [(tag, await self.fetch(repository, tag)) for tag in sorted(tags)]
        return [(tag, found) for tag, found in fetched if found is not None]

    async def _delete_manifest(self, repository: Repository, digest: str) -> bool:
        answer = await self._http.request("DELETE", repository, f"manifests/{digest}", accept=(200, 202, 400, 404, 405))
        return answer.status in (200, 202, 404)

    def _absolute(self, repository: Repository, location: str) -> str:
        return urljoin(f"https://{repository.host}/", location)


def _fallback_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)
