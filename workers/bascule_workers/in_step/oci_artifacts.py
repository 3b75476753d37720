"""OCI artifacts: a folder in the OCI image layout, and its way into a registry."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bascule_workers.in_step import registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
RUN = "dev.bascule.run"
"""Annotation with the run that made the artifact: its digest then belongs to that run alone, and may be deleted."""
TITLE = "org.opencontainers.image.title"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Descriptor:
    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return content | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True)
class Layout:
    """An OCI image layout being written; equal content gives equal digests."""

    root: Path

    @property
    def _blobs(self) -> Path:
        folder = self.root / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add_bytes(self, content: bytes, media_type: str, title: str = "") -> Descriptor:
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return _described(media_type, digest, len(content), title)

    def add_file(self, path: Path, media_type: str, title: str) -> Descriptor:
        """Add a copy of the file, hashed while it is copied: what is pushed is what was hashed."""
        partial, hashed = self._blobs / "partial", hashlib.sha256()
        with path.open("rb") as source, partial.open("wb") as target:
            while chunk := source.read(_CHUNK):
                hashed.update(chunk)
                target.write(chunk)
        size = partial.stat().st_size
        partial.rename(self._blobs / hashed.hexdigest())
        return _described(media_type, hashed.hexdigest(), size, title)

    def finish(
        self,
        artifact_type: str,
        layers: Sequence[Descriptor],
        annotations: Mapping[str, str],
        subject: Descriptor | None = None,
    ) -> str:
        """Write the manifest and the index. Returns the manifest's digest."""
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.add_bytes(b"{}", EMPTY).to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if subject is not None:
            manifest["subject"] = subject.to_json()
        manifest["annotations"] = dict(sorted(annotations.items()))
        described = self.add_bytes(json.dumps(manifest, separators=(",", ":")).encode(), MANIFEST)
        index = {"schemaVersion": 2, "manifests": [described.to_json()]}
        (self.root / "index.json").write_text(json.dumps(index))
        (self.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return described.digest


def _described(media_type: str, digest: str, size: int, title: str) -> Descriptor:
    return Descriptor(media_type, f"sha256:{digest}", size, {TITLE: title} if title else {})


def push(layout: Layout, reference: str, environment: Mapping[str, str], patience: float = 0) -> None:
    """Push the layout's only manifest. Raises StepError: REFUSED, or UNAVAILABLE after `patience` seconds."""
    scratch = layout.root.parent / "skopeo"
    scratch.mkdir(exist_ok=True)
    registry.copy(f"oci:{layout.root}", f"docker://{reference}", environment, scratch, patience)
    shutil.rmtree(scratch)
