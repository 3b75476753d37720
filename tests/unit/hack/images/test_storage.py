"""Images get from one registry's storage into another's without being sent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from hack.images import storage


def put(store: Path, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    file = storage.blob(store, digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return digest


def image(store: Path, content: str = "layer") -> str:
    config, layer = put(store, b"config"), put(store, content.encode())
    return put(store, json.dumps({"config": {"digest": config}, "layers": [{"digest": layer}]}).encode())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_a_published_image_is_whole_and_tagged(source: Path, target: Path) -> None:
    manifest = image(source)

    storage.publish(source, manifest, target, "bascule/worker", "dev")

    current = target / "docker/registry/v2/repositories/bascule/worker/_manifests/tags/dev/current/link"
    assert storage.is_complete(target, manifest)
    assert current.read_text() == manifest


def test_a_tag_moves_to_the_image_published_last_and_keeps_the_cache_as_it_is(source: Path, target: Path) -> None:
    first, second = image(source, "first"), image(source, "second")

    storage.publish(source, first, target, "bascule/worker", "dev")
    storage.publish(source, second, target, "bascule/worker", "dev")

    tags = target / "docker/registry/v2/repositories/bascule/worker/_manifests/tags/dev"
    assert (tags / "current/link").read_text() == second
    assert len(list((tags / "index/sha256").iterdir())) == 2
    assert storage.is_complete(source, first)


def test_deleting_a_published_blob_leaves_the_cache_whole(source: Path, target: Path) -> None:
    manifest = image(source)
    storage.publish(source, manifest, target, "bascule/worker", "dev")

    storage.blob(target, manifest).unlink()

    assert not storage.is_complete(target, manifest)
    assert storage.is_complete(source, manifest)


@pytest.mark.parametrize("missing", ["config", "layer"])
def test_an_image_with_a_missing_blob_is_not_complete(source: Path, missing: str) -> None:
    manifest = image(source)

    storage.blob(source, f"sha256:{hashlib.sha256(missing.encode()).hexdigest()}").unlink()

    assert not storage.is_complete(source, manifest)
