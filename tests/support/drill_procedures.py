"""The Procedures of drills as a test runs them: a step towards real servers, and the backups that it brings back."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from bascule_workers.in_step import oci_artifacts
from bascule_workers.in_step.oci_artifacts import Layout
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended, StepRun

POINT = "2026-11-22T13:05:41Z"
"""The recovery point that backups record."""


def pushed(images: LoopbackRegistry, folder: Path, content: bytes, point: str = POINT) -> str:
    """The reference, by digest, of an artifact that holds a backup."""
    layout = Layout(folder / f"layout-{uuid4().hex}")
    layout.root.mkdir(parents=True)
    layer = layout.add_bytes(content, "application/vnd.example.backup", "backup")
    annotations = {"dev.bascule.recovery-point": point} if point else {}
    digest = layout.finish("application/vnd.example.backup", [layer], annotations)
    oci_artifacts.push(layout, f"{images.host}/acme/backups:{uuid4().hex}", images.environment)
    return f"{images.host}/acme/backups@{digest}"


@dataclass
class DrillStep:
    """Runs steps of a drill, one after the other."""

    folder: Path
    images: LoopbackRegistry
    environment_secret: Mapping[str, str] = field(default_factory=dict)
    """What the drill's own Secret holds."""
    extra: dict[str, str] = field(default_factory=dict)
    """More of its environment."""

    def run(self, module: str, **parameters: str) -> Ended:
        root = self.folder / uuid4().hex
        root.mkdir()
        (root / "environment").mkdir()
        for name, value in self.environment_secret.items():
            (root / "environment" / name).write_text(value)
        environment = {
            **self.images.environment,
            "BASCULE_NAMESPACE": "bascule-drill-1",
            "BASCULE_ENVIRONMENT_DIR": str(root / "environment"),
            **self.extra,
        }
        return StepRun(root / "step", f"bascule_workers.in_drill.{module}", environment, dict(parameters)).run()

    @property
    def failure(self) -> str:
        """The failure of the last step, as its termination message has it."""
        [log] = sorted(self.folder.glob("*/step/termination-log"), key=lambda path: path.stat().st_mtime)[-1:]
        return str(json.loads(log.read_text()).get("failure", ""))


# Archives


def archive(*entries: tuple[str, Any], mode: str = "w") -> bytes:
    """A tar archive of names with contents, or TarInfos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in entries:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=content, check=True, capture_output=True).stdout


FILES = archive(("./", entry("./", tarfile.DIRTYPE)), ("a.txt", b"hello"), ("sub/b.bin", bytes(70_000)))
