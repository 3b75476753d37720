"""OCI artifacts as a layout on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bascule_workers.in_step.oci_artifacts import MANIFEST, RUN, Descriptor, Layout

SUBJECT = Descriptor(MANIFEST, "sha256:" + "1" * 64, 7)


def written(root: Path) -> str:
    layout = Layout(root)
    (root.parent / "file").write_bytes(b"content")
    layers = [layout.add_file(root.parent / "file", "application/octet-stream", "out/file")]
    return layout.finish("application/x", layers, {RUN: "uid/1", "a": "b"}, SUBJECT)


def test_equal_content_has_an_equal_digest(tmp_path: Path) -> None:
    assert written(tmp_path / "one") == written(tmp_path / "two")


def test_every_descriptor_names_a_blob_that_is_there(tmp_path: Path) -> None:
    digest = written(tmp_path / "layout")
    blobs = tmp_path / "layout/blobs/sha256"
    assert {file.name for file in blobs.iterdir()} == {
        hashlib.sha256(file.read_bytes()).hexdigest() for file in blobs.iterdir()
    }
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    assert manifest["artifactType"] == "application/x"
    assert manifest["annotations"] == {RUN: "uid/1", "a": "b"}
    assert manifest["subject"] == SUBJECT.to_json()
    assert manifest["layers"] == [
        {
            "mediaType": "application/octet-stream",
            "digest": f"sha256:{hashlib.sha256(b'content').hexdigest()}",
            "size": 7,
            "annotations": {"org.opencontainers.image.title": "out/file"},
        }
    ]
    for item in [manifest["config"], *manifest["layers"]]:
        assert (blobs / item["digest"].removeprefix("sha256:")).stat().st_size == item["size"]
