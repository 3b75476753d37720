"""OCI layouts and the registry's storage as files: how built images get into a registry without being sent there."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_ALGORITHM = "sha256"


def blob(layout: Path, digest: str) -> Path:
    """Return the file of a blob in an OCI layout."""
    return layout / "blobs" / _ALGORITHM / digest.removeprefix(f"{_ALGORITHM}:")


def manifest_blobs(layout: Path, manifest: str) -> Iterator[str]:
    """Yield the digests of a manifest's configuration and layers."""
    content = json.loads(blob(layout, manifest).read_text())
    yield content["config"]["digest"]
    for layer in content["layers"]:
        yield layer["digest"]


def is_complete(layout: Path, manifest: str) -> bool:
    """Tell whether a layout has a manifest and everything that it names."""
    if not blob(layout, manifest).exists():
        return False
    return all(blob(layout, digest).exists() for digest in manifest_blobs(layout, manifest))


def publish(layout: Path, manifest: str, storage: Path, repository: str, tag: str) -> None:
    """Put an image into the storage of a docker-registry (its file system driver, version 2), running or not.

    Blobs become hard links where that is possible: the registry writes a blob once and never changes it. The small
    files that it does rewrite are written anew.
    """
    home = storage / "docker/registry/v2"
    repository_home = home / "repositories" / repository
    for digest in (*manifest_blobs(layout, manifest), manifest):
        _link_blob(blob(layout, digest), home / "blobs" / _ALGORITHM / _short(digest)[:2] / _short(digest) / "data")
    for digest in manifest_blobs(layout, manifest):
        _write_link(repository_home / "_layers" / _ALGORITHM / _short(digest), digest)
    _write_link(repository_home / "_manifests/revisions" / _ALGORITHM / _short(manifest), manifest)
    tag_home = repository_home / "_manifests/tags" / tag
    _write_link(tag_home / "index" / _ALGORITHM / _short(manifest), manifest)
    _write_link(tag_home / "current", manifest)


def _short(digest: str) -> str:
    return digest.removeprefix(f"{_ALGORITHM}:")


def _link_blob(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system: a copy does as well.
        partial = target.with_name("data.partial")
        shutil.copyfile(source, partial)
        partial.rename(target)


def _write_link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "link.partial"
    partial.write_text(digest)
    partial.rename(folder / "link")
