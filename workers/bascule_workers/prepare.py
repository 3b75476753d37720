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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bascule_workers.adapters.git_checkout import Checkout, CheckoutError

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
    source_limit: int = SOURCE_LIMIT


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


def _fetch(source: Mapping[str, Any], target: Path, places: Places) -> None:
    """Exactly the pinned commit, without history and repository settings."""
    credentials = {}
    if places.git_credentials.is_dir():
        credentials = {
            entry.name: entry.read_text()
            for entry in places.git_credentials.iterdir()
            if entry.is_file() and not entry.name.startswith("..")
        }
    url, commit = source["url"], source["commit"]
    with tempfile.TemporaryDirectory(dir=places.shared) as folder:
        checkout = Checkout(
            url=url,
            credentials=credentials,
            inherited=places.environment,
            submodules=bool(source.get("submodules")),
            limit=places.source_limit,
            patience=places.patience,
            folder=Path(folder),
        )
        try:
            tree = checkout.tree(commit)
        except CheckoutError as error:
            failure = _FAILURES.get(error.kind, "SourceRefused")
            raise PrepareError(failure, f"{commit} of {url}: {error}", retryable=error.kind == "unreachable") from None
        chosen = _subfolder(tree, source.get("path", ""))
        check_tree(chosen)
        shutil.move(chosen, target)


_FAILURES = {"absent": "SourceNotFound", "unreachable": "SourceUnreachable"}


def check_tree(root: Path) -> None:
    """Refuse links that point outside, and files that are none."""
    base = root.resolve()
    for folder, folders, files in os.walk(root, followlinks=False):
        for name in (*folders, *files):
            path = Path(folder, name)
            shown = path.relative_to(root)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if _leads_outside(path, base):
                    raise PrepareError("SourceRefused", f"the source holds the link {shown}, which points outside")
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise PrepareError("SourceRefused", f"the source holds {shown}, which is neither file nor folder")


def _leads_outside(link: Path, base: Path) -> bool:
    try:
        return link.readlink().is_absolute() or not link.resolve().is_relative_to(base)
    except RuntimeError:
        # A circle of links leads nowhere.
        return False


def _subfolder(root: Path, path: str) -> Path:
    try:
        chosen = (root / path).resolve() if path else root
    except RuntimeError:
        raise PrepareError("SourceNotFound", f"the path {path!r} is a circle of links") from None
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
