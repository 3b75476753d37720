"""A registry's storage as files: how the cache's images get into a cluster's registry without being sent there.

The layout is that of docker-registry's file system driver, version 2, which every release since 2014 reads and writes.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_ALGORITHM = "sha256"


def blob(storage: Path, digest: str) -> Path:
    """Return the file of a blob in a registry's storage."""
    short = _short(digest)
    return storage / "docker/registry/v2/blobs" / _ALGORITHM / short[:2] / short / "data"


def is_complete(storage: Path, manifest: str) -> bool:
    """Tell whether a storage has a manifest and everything that it names."""
    if not blob(storage, manifest).exists():
        return False
    return all(blob(storage, digest).exists() for digest in _named_blobs(storage, manifest))


def publish(source: Path, manifest: str, target: Path, repository: str, tag: str) -> None:
    """Put an image of one storage into another one, whether a registry is serving that or not.

    Blobs become hard links where that is possible: the registry writes a blob once and never changes it. The small
    files that it does rewrite are written anew.
    """
    home = target / "docker/registry/v2/repositories" / repository
    named = list(_named_blobs(source, manifest))
    for digest in (*named, manifest):
        _link_blob(blob(source, digest), blob(target, digest))
    for digest in named:
        _write_link(home / "_layers" / _ALGORITHM / _short(digest), digest)
    _write_link(home / "_manifests/revisions" / _ALGORITHM / _short(manifest), manifest)
    _write_link(home / "_manifests/tags" / tag / "index" / _ALGORITHM / _short(manifest), manifest)
    _write_link(home / "_manifests/tags" / tag / "current", manifest)


def _named_blobs(storage: Path, manifest: str) -> Iterator[str]:
    """Yield the digests of a manifest's configuration and layers."""
    content = json.loads(blob(storage, manifest).read_text())
    yield content["config"]["digest"]
    for layer in content["layers"]:
        yield layer["digest"]


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
