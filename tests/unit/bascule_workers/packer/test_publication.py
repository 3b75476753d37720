"""What is published of what a template yielded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bascule_workers.in_step.contract import StepError
from bascule_workers.in_step.oci_artifacts import Layout
from bascule_workers.packer import publication
from bascule_workers.packer.machine_readable import NOTHING, Artifact
from bascule_workers.packer.publication import Kind

CLOUD = Artifact("ami", "mitchellh.amazonebs", "eu-west-1:ami-1", "AMIs were created")
NULL = Artifact("n", NOTHING, "Null")


def of_files(*names: str) -> Artifact:
    return Artifact("file", "packer.file", "File", "Stored", names)


def manifest(layout: Layout, digest: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((layout.root / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    return content


def test_files_are_layers_and_the_record_is_the_last(tmp_path: Path) -> None:
    sources = tmp_path / "s"
    (sources / "out").mkdir(parents=True)
    (sources / "out/disk.raw").write_text("disk")
    layout = Layout(tmp_path / "layout")
    digest = publication.write(layout, Kind.FILE, [of_files("out/disk.raw"), NULL], sources, "uid/1")
    content = manifest(layout, digest)
    assert content["artifactType"] == publication.FILES_TYPE
    assert content["annotations"] == {"dev.bascule.run": "uid/1"}
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in content["layers"]]
    assert titles == ["out/disk.raw", "packer-artifacts.json"]
    record = manifest(layout, content["layers"][1]["digest"])
    assert [artifact["build"] for artifact in record["artifacts"]] == ["file", "n"]


def test_a_file_of_two_artifacts_is_one_layer(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    layout = Layout(tmp_path / "layout")
    made = [of_files("a"), Artifact("zip", "packer.post-processor.compress", "", "", (str(tmp_path / "a"),))]
    content = manifest(layout, publication.write(layout, Kind.FILE, made, tmp_path, "uid/1"))
    assert len(content["layers"]) == 2


def test_ids_are_published_as_a_record(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    content = manifest(layout, publication.write(layout, Kind.RECORD, [CLOUD], tmp_path, "uid/1"))
    assert content["artifactType"] == publication.RECORD_TYPE
    assert manifest(layout, content["layers"][0]["digest"])["artifacts"][0]["id"] == CLOUD.id


@pytest.mark.parametrize(
    ("kind", "made", "expected"),
    [
        pytest.param(Kind.FILE, [NULL], "use a builder that makes one", id="null yields nothing"),
        pytest.param(Kind.RECORD, [NULL], "use a builder that makes one", id="not even a record"),
        pytest.param(Kind.FILE, [], "use a builder that makes one", id="nothing at all"),
        pytest.param(Kind.FILE, [CLOUD], "parameter artifact to `record`", id="an id is no file"),
        pytest.param(Kind.FILE, [of_files("gone")], "gone is not there", id="a file that is missing"),
        pytest.param(Kind.FILE, [of_files("folder")], "is not there, or is no file", id="a folder"),
        pytest.param(Kind.FILE, [of_files("/etc/hostname")], "outside of the sources", id="a file of the container"),
        pytest.param(Kind.FILE, [of_files("link")], "outside of the sources", id="a link to one"),
    ],
)
def test_what_cannot_be_published_says_what_to_do(
    tmp_path: Path, kind: Kind, made: list[Artifact], expected: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(StepError, match=expected):
        publication.write(Layout(tmp_path / "layout"), kind, made, tmp_path, "uid/1")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    names = [str(number) for number in range(257)]
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(StepError, match="post-processor `compress`"):
        publication.write(Layout(tmp_path / "layout"), Kind.FILE, [of_files(*names)], tmp_path, "uid/1")


def test_the_summary_fits_and_has_first_what_an_undo_deletes() -> None:
    made = [Artifact(f"b{number}", "packer.file", "x" * 50, "", ("f",)) for number in range(100)] + [CLOUD]
    summary = publication.summary(made)
    assert len(summary.encode()) <= 2100
    first, *others = json.loads(summary)
    assert first == {"build": "ami", "builder": "mitchellh.amazonebs", "id": "eu-west-1:ami-1", "elsewhere": True}
    assert not any("elsewhere" in item for item in others)
