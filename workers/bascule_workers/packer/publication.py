"""What a template yielded, as an OCI artifact: a record of everything, and the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from bascule_workers.in_step.contract import ExitCode, StepError
from bascule_workers.in_step.oci_artifacts import RUN, Descriptor, Layout
from bascule_workers.packer.machine_readable import NOTHING, Artifact

FILES_TYPE = "application/vnd.bascule.packer.files.v1"
RECORD_TYPE = "application/vnd.bascule.packer.record.v1"
_RECORD_MEDIA = "application/vnd.bascule.packer.record.v1+json"
_FILE_MEDIA = "application/octet-stream"
_MOST_FILES = 256
_SUMMARY_BYTES = 2000


class Kind(StrEnum):
    """What of an artifact is published."""

    FILE = "file"
    """Its files. Everything that was made has to be a file."""
    RECORD = "record"
    """The record of what was made, such as the ids of images at a cloud provider."""


def left(made: Sequence[Artifact]) -> list[Artifact]:
    """What lies outside the container and stays when it ends."""
    return [artifact for artifact in made if artifact.elsewhere]


def write(layout: Layout, kind: Kind, made: Sequence[Artifact], sources: Path, run: str) -> str:
    """Write the artifact into the layout. Returns its digest; raises StepError when there is nothing to publish."""
    something = [artifact for artifact in made if artifact.builder != NOTHING and (artifact.files or artifact.id)]
    if not something:
        raise StepError(
            ExitCode.INVALID,
            "the template yields no artifact, so there is nothing to publish: "
            "use a builder that makes one (`null` makes none), or a post-processor that does",
        )
    if kind is Kind.FILE and not any(artifact.files for artifact in something):
        raise StepError(
            ExitCode.INVALID,
            "the template yields no file: set the parameter artifact to `record` to publish the ids of what it made",
        )
    paths = _paths(something, sources) if kind is Kind.FILE else []
    files = [layout.add_file(path, _FILE_MEDIA, title) for title, path in paths]
    record = layout.add_bytes(_record(made, run, files), _RECORD_MEDIA, "packer-artifacts.json")
    artifact_type = FILES_TYPE if kind is Kind.FILE else RECORD_TYPE
    return layout.finish(artifact_type, [*files, record], {RUN: run})


def _paths(made: Sequence[Artifact], sources: Path) -> list[tuple[str, Path]]:
    """Name and place of every file, each once. Raises StepError for one that is not there, or not within the sources'
    copy: what a template names must not make the container's own files part of an image.
    """
    root = sources.resolve()
    found: dict[str, Path] = {}
    for artifact in made:
        for name in artifact.files:
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                problem = "lies outside of the sources; write it to a path relative to the template's folder"
            elif not path.is_file():
                problem = "is not there, or is no file"
            else:
                found[str(path.relative_to(root))] = path
                continue
            raise StepError(ExitCode.INVALID, f"build {artifact.build}: the artifact's file {name} {problem}")
    if len(found) > _MOST_FILES:
        raise StepError(
            ExitCode.INVALID,
            f"the template yields {len(found)} files, the limit is {_MOST_FILES}: "
            "pack them into one with the post-processor `compress`",
        )
    return sorted(found.items())


def _record(made: Sequence[Artifact], run: str, files: Sequence[Descriptor]) -> bytes:
    content = {
        "run": run,
        "artifacts": [
            {"build": a.build, "builder": a.builder, "id": a.id, "description": a.text, "files": list(a.files)}
            for a in made
        ],
        "files": [file.to_json() for file in files],
    }
    return json.dumps(content, indent=2, sort_keys=True).encode()


def summary(made: Sequence[Artifact]) -> str:
    """A JSON list for the workflow, cut to whole items: those that an undo has to delete come first."""
    kept: list[dict[str, str | bool]] = []
    for artifact in sorted(made, key=lambda artifact: not artifact.elsewhere):
        item: dict[str, str | bool] = {"build": artifact.build, "builder": artifact.builder, "id": artifact.id}
        if artifact.elsewhere:
            item["elsewhere"] = True
        if len(json.dumps([*kept, item]).encode()) > _SUMMARY_BYTES:
            break
        kept.append(item)
    return json.dumps(kept)


def story(made: Sequence[Artifact]) -> str:
    """One line for people."""
    first = [f"{a.build}: {a.text or a.id}" for a in made[:5]]
    more = f" and {len(made) - 5} more" if len(made) > 5 else ""
    return f"Packer made {len(made)} artifact{'s' if len(made) != 1 else ''} ({'; '.join(first)}{more})"
