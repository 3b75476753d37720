"""Small images for tests of registries, pushed as any client would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.ports.registry import Repository
from tests.support.fake_registry import FakeRegistry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Images:
    """Pushes images; the content makes the digest."""

    def __init__(self, into: RegistryHttp | FakeRegistry) -> None:
        self._into = into

    async def push(
        self, repository: Repository, tag: str, content: str = "", annotations: Mapping[str, str] | None = None
    ) -> str:
        """Push an image of one layer. Returns its digest."""
        if isinstance(self._into, FakeRegistry):
            return self._into.push(repository.name, tag, annotations or {}, content)
        config, layer = b"{}", content.encode() or b"layer"
        for blob in (config, layer):
            await self._push_blob(repository, blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            "annotations": dict(annotations or {}),
        }
        return await self._push_manifest(repository, tag, MANIFEST, manifest)

    async def push_index(self, repository: Repository, tag: str, *digests: str) -> str:
        """Push an index of manifests that are there already; on the real registry only."""
        manifests = [{"mediaType": MANIFEST, "digest": digest, "size": 1} for digest in digests]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        return await self._push_manifest(repository, tag, INDEX, index)

    async def _push_blob(self, repository: Repository, blob: bytes) -> None:
        assert isinstance(self._into, RegistryHttp)
        opened = await self._into.request("POST", repository, "blobs/uploads/", accept=(202,))
        where = f"{opened.headers['Location']}&digest={digest_of(blob)}"
        await self._into.request("PUT", repository, where, accept=(201,), body=lambda: blob)

    async def _push_manifest(self, repository: Repository, tag: str, kind: str, manifest: Mapping[str, Any]) -> str:
        assert isinstance(self._into, RegistryHttp)
        raw = json.dumps(manifest).encode()
        headers = {"Content-Type": kind}
        await self._into.request(
            "PUT", repository, f"manifests/{tag}", accept=(201,), headers=headers, body=lambda: raw
        )
        return digest_of(raw)


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(blob), "size": len(blob)}
