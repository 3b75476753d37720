"""What a run writes down on a node: a repetition after a crash, and the rollback, know by it what was there before."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bascule_workers.in_step.contract import ExitCode, Step, StepError
from bascule_workers.on_node.host import Host

FOLDER = "/var/lib/bascule"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}/[0-9]{1,10}")
_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,239}")


@dataclass(frozen=True)
class Change:
    """A package that a run set out to change. An empty `old`: it was not installed."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Records:
    """The folder of one run on the node. What is written is complete or not there at all, and outlives a power cut."""

    place: str
    """The folder as the node names it."""
    folder: Path
    """The same as this container sees it."""

    def exists(self) -> bool:
        return (self.folder / "packages-before.json").exists()

    def keep_first(self, packages: Mapping[str, str]) -> dict[str, str]:
        """Write down the versions of before the run's first change, once. Returns the first record."""
        path = self.folder / "packages-before.json"
        if not path.exists():
            _write(path, dict(packages))
        return self.before()

    def before(self) -> dict[str, str]:
        return {str(name): str(version) for name, version in _read(self.folder / "packages-before.json").items()}

    def keep_last(self, packages: Mapping[str, str]) -> None:
        """Write down the versions of after the latest change."""
        _write(self.folder / "packages-after.json", dict(packages))

    def intend(self, changes: Iterable[Change], boot_id: str) -> None:
        """Write down what is about to be changed; of a package that is there already the first `old` counts."""
        known = {change.name: change for change in self.intended()}
        for change in changes:
            first = known.get(change.name, change)
            known[change.name] = Change(change.name, first.old, change.new)
        content = {"changes": [asdict(change) for change in known.values()], "bootId": boot_id}
        _write(self.folder / "changes.json", content)

    def intended(self) -> list[Change]:
        path = self.folder / "changes.json"
        return [Change(**change) for change in _read(path)["changes"]] if path.exists() else []

    def changed_under(self) -> str:
        """The boot id under which packages were changed last; empty: none were."""
        path = self.folder / "changes.json"
        return str(_read(path)["bootId"]) if path.exists() else ""

    def copies(self, name: str) -> tuple[str, Path]:
        """The folder for a copy of a package, as the node names it and as we see it."""
        part = f"packages/{name.replace(':', '_')}"
        return f"{self.place}/{part}", self.folder / part

    def forget_others(self, keep: int = 10) -> None:
        """Remove the folders of older runs, all but the latest: copies of packages take space."""
        runs = [path for path in self.folder.parent.parent.glob("*/*") if path.is_dir() and path != self.folder]
        for path in sorted(runs, key=lambda run: run.stat().st_mtime)[: -keep or None]:
            shutil.rmtree(path, ignore_errors=True)

    def asked_to_reboot(self, step: str) -> str:
        """The boot id under which that step of the run asked for a reboot; empty: it did not."""
        path = self.folder / f"reboot-{step}.json"
        return str(_read(path)["bootId"]) if path.exists() else ""

    def asks_to_reboot(self, step: str, boot_id: str) -> None:
        _write(self.folder / f"reboot-{step}.json", {"bootId": boot_id})


def records_of(step: Step, host: Host) -> Records:
    """The records of the step's run. Raises StepError for a run that cannot be a folder's name."""
    run = step.variable("BASCULE_RUN")
    if not _RUN.fullmatch(run):
        raise StepError(ExitCode.USAGE, f"BASCULE_RUN is not a run's uid and number: {run!r}")
    folder = host.path(f"{FOLDER}/{run}")
    if not folder.resolve().is_relative_to(host.root.resolve()):
        # An absolute link would lead into this container, and be gone with it.
        raise StepError(ExitCode.INVALID, f"{FOLDER} is behind an absolute symbolic link on the node: mount it there")
    return Records(f"{FOLDER}/{run}", folder)


def step_name(step: Step, program: str) -> str:
    """What a step is known by, as part of a file's name: a patch and its rollback may be one step of the run.

    Raises StepError for a name that cannot be a file's.
    """
    name = f"{program}-{step.variable('BASCULE_STEP_NAME')}"
    if not _STEP.fullmatch(name):
        raise StepError(ExitCode.USAGE, f"BASCULE_STEP_NAME is not a step's name: {name!r}")
    return name


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    # Whoever administers the node may read it; whoever merely uses it need not.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
