"""Fetches an image by digest and reads it: manifest, configuration, and the table of its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bascule_workers.image_policy import layers
from bascule_workers.image_policy.layers import Bounds, Budget
from bascule_workers.image_policy.rules import Image
from bascule_workers.image_policy.table import FileTable, MalformedImageError
from bascule_workers.in_step import registry
from bascule_workers.in_step.oci_artifacts import Descriptor

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_MOST_JSON = 8 << 20


@dataclass(frozen=True)
class FetchedImage:
    """An image as a folder of blobs, each named by its digest; its manifest is byte for byte the registry's."""

    folder: Path
    descriptor: Descriptor
    config: dict[str, Any]
    layers: tuple[tuple[str, str], ...]
    """Digest and media type, the lowest first."""

    def blob(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")


def fetch(reference: str, folder: Path, environment: Mapping[str, str]) -> FetchedImage:
    """Fetch `repository@digest`. Raises StepError, and MalformedImageError for what is no image."""
    scratch = folder.parent / "fetching"
    scratch.mkdir()
    # The transport `dir` keeps the manifest as it is; an OCI layout would have Docker's manifests converted.
    registry.copy(f"docker://{reference}", f"dir:{folder}", environment, scratch)
    return read(folder, reference.rpartition("@")[2])


def read(folder: Path, digest: str) -> FetchedImage:
    """Read manifest and configuration. Raises MalformedImageError."""
    path = folder / "manifest.json"
    content = path.read_bytes()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise MalformedImageError(f"the registry answered with something else than {digest}")
    try:
        manifest = json.loads(content)
        media_type = manifest.get("mediaType", _MANIFESTS[0])
        if media_type not in _MANIFESTS or "manifests" in manifest:
            raise MalformedImageError(f"this is no single image but {media_type}; image-policy looks at one image")
        if (kind := manifest["config"]["mediaType"]) not in _CONFIGS:
            raise MalformedImageError(f"this is no container image: its configuration is {kind}")
        config = _json(folder / _hex(manifest["config"]["digest"])).get("config") or {}
        found = tuple((f"sha256:{_hex(layer['digest'])}", str(layer["mediaType"])) for layer in manifest["layers"])
        if not isinstance(config, dict):
            raise MalformedImageError("the image's configuration is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedImageError(f"manifest or configuration cannot be read: {error!r}") from None
    return FetchedImage(folder, Descriptor(media_type, digest, len(content)), config, found)


def _hex(digest: Any) -> str:
    """A digest becomes the name of a file here, so nothing else may pass."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise MalformedImageError(f"{str(digest)[:100]!r} is no sha256 digest")
    return digest.removeprefix("sha256:")


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_JSON:
        raise MalformedImageError(f"the image's configuration is larger than {_MOST_JSON} bytes")
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def merged(image: FetchedImage, bounds: Bounds) -> Image:
    """The image as the rules look at it. Raises MalformedImageError."""
    if len(image.layers) > bounds.layers:
        raise MalformedImageError(f"the image has {len(image.layers)} layers, the limit is {bounds.layers}")
    table, budget = FileTable(bounds.entries), Budget(bounds)
    for number, (digest, media_type) in enumerate(image.layers):
        layers.apply(table, number, layers.unpacked(image.blob(digest), media_type), budget)
    return Image(image.config, table)
