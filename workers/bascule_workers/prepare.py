"""Runs first in every step's pod: puts the parameters and the source where the step finds them.

Only the standard library, so that it starts quickly. What it is told comes as one JSON value in BASCULE_STEP; nothing
of it is ever executed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bascule_workers.adapters import git

SHARED = Path("/bascule")
GIT_CREDENTIALS = Path("/run/bascule/git")
TERMINATION_LOG = Path("/dev/termination-log")
SOURCE_LIMIT = 512 << 20
"""Bytes of a source, at most."""
PATIENCE_SECONDS = 60.0
"""How long a git server that does not answer is asked again."""
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class PrepareError(Exception):
    """The step cannot be prepared. `failure` is the type that the run reports."""

    def __init__(self, failure: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.failure = failure
        self.retryable = retryable


@dataclass(frozen=True)
class Places:
    """Where things are; another in tests."""

    shared: Path = SHARED
    git_credentials: Path = GIT_CREDENTIALS
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    patience: float = PATIENCE_SECONDS


def prepare(step: Mapping[str, Any], places: Places) -> None:
    """Write the parameters below `params/` and fetch the source into `source/`. Raises PrepareError."""
    write_parameters(step.get("parameters") or {}, places.shared / "params")
    target = places.shared / "source"
    # A container may be restarted by its kubelet: begin anew.
    shutil.rmtree(target, ignore_errors=True)
    source = step.get("source") or {}
    if "git" in source:
        _fetch(source["git"], target, places)
    elif "configMap" in source:
        _copy_config_map(Path(source["configMap"]), target)
    else:
        target.mkdir(parents=True)


def write_parameters(parameters: Mapping[str, Any], folder: Path) -> None:
    """One file per parameter, byte for byte; a list is a folder with one file per item, numbered from 0."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, value in parameters.items():
        if not _NAME.match(name):
            raise PrepareError("StepFailed", f"{name!r} is no name for a parameter")
        if isinstance(value, list):
            (folder / name).mkdir()
            for index, item in enumerate(value):
                (folder / name / str(index)).write_bytes(str(item).encode())
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            (folder / name).write_bytes(text.encode())


def _copy_config_map(mounted: Path, target: Path) -> None:
    """The files of a mounted ConfigMap. They are links into a hidden folder: what they point to is copied."""
    target.mkdir(parents=True)
    for entry in sorted(mounted.iterdir()):
        if not entry.name.startswith("..") and entry.is_file():
            shutil.copyfile(entry, target / entry.name)


def _fetch(source: Mapping[str, str], target: Path, places: Places) -> None:
    """Exactly the pinned commit, without history, submodules and repository settings."""
    credentials = {}
    if places.git_credentials.is_dir():
        credentials = {
            entry.name: entry.read_text()
            for entry in places.git_credentials.iterdir()
            if entry.is_file() and not entry.name.startswith("..")
        }
    with tempfile.TemporaryDirectory(dir=places.shared) as folder:
        clone = Path(folder, "clone")
        _clone(source["url"], source["commit"], clone, credentials, places)
        shutil.rmtree(clone / ".git")
        check_tree(clone)
        chosen = _subfolder(clone, source.get("path", ""))
        shutil.move(chosen, target)


def _clone(url: str, commit: str, clone: Path, credentials: Mapping[str, str], places: Places) -> None:
    if not git.COMMIT.match(commit):
        raise PrepareError("SourceNotFound", f"{commit!r} is no commit")
    clone.mkdir()
    with tempfile.TemporaryDirectory() as home:
        values = git.environment(Path(home), credentials)

        def run(*arguments: str) -> None:
            git.git(Path(home), values, ["-C", str(clone), *arguments], places.environment)

        deadline = time.monotonic() + places.patience
        while True:
            try:
                run("init", "--quiet")
                run("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, commit)
                run("checkout", "--quiet", "--force", "--detach", commit, "--")
            except git.GitError as error:
                unreachable = error.kind == "unreachable"
                if unreachable and time.monotonic() < deadline:
                    time.sleep(3)
                    continue
                failure = "SourceNotFound" if error.kind == "absent" else "SourceUnreachable"
                raise PrepareError(failure, f"{commit} of {url}: {error}", retryable=unreachable) from None
            else:
                return


def check_tree(root: Path, limit: int = SOURCE_LIMIT) -> None:
    """Refuse links that point outside, files that are none, and sources that are too large."""
    size = 0
    base = root.resolve()
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in (*folders, *files):
            path = Path(folder, name)
            shown = path.relative_to(root)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if path.readlink().is_absolute() or not path.resolve().is_relative_to(base):
                    raise PrepareError("StepFailed", f"the source holds the link {shown}, which points outside")
            elif stat.S_ISREG(mode):
                size += path.lstat().st_size
            elif not stat.S_ISDIR(mode):
                raise PrepareError("StepFailed", f"the source holds {shown}, which is neither file nor folder")
            if size > limit:
                raise PrepareError("StepFailed", f"the source is larger than {limit >> 20} MiB")


def _subfolder(root: Path, path: str) -> Path:
    chosen = (root / path).resolve() if path else root
    if Path(path).is_absolute() or not chosen.is_relative_to(root.resolve()):
        raise PrepareError("SourceNotFound", f"the path {path!r} leads out of the repository")
    if not chosen.is_dir():
        raise PrepareError("SourceNotFound", f"the repository has no folder {path!r}")
    return chosen


def main() -> int:
    try:
        prepare(json.loads(os.environ["BASCULE_STEP"]), Places())
    except PrepareError as error:
        report = {"failure": error.failure, "message": str(error), "retryable": error.retryable}
        TERMINATION_LOG.write_text(json.dumps(report)[:4096])
        print(f"bascule-prepare: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
