"""Runs a step's own program as its container would: parameters as files, the answer in the termination message."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    code: int
    message: str
    results: dict[str, str]
    log: str


@dataclass
class StepRun:
    """`StepRun(folder, "bascule_workers.packer", environment).with_file(…).run()`"""

    folder: Path
    module: str
    environment: Mapping[str, str]
    parameters: dict[str, str | list[str]] = field(default_factory=dict)
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("params", "source"):
            (self.folder / name).mkdir(parents=True)
        # Packer talks to its plugins through sockets below, whose paths have to be short.
        self.work = Path(tempfile.mkdtemp(prefix="step-"))

    @property
    def source(self) -> Path:
        return self.folder / "source"

    def start(self) -> subprocess.Popen[str]:
        for name, value in self.parameters.items():
            path = self.folder / "params" / name
            if isinstance(value, str):
                path.write_bytes(value.encode())
                continue
            path.mkdir()
            for number, item in enumerate(value):
                (path / str(number)).write_bytes(item.encode())
        contract = {
            "BASCULE_PARAMS_DIR": str(self.folder / "params"),
            "BASCULE_SOURCE_DIR": str(self.source),
            "BASCULE_WORK_DIR": str(self.work),
            "BASCULE_RUN": "0b1c6d1e/1",
            "BASCULE_TERMINATION_LOG": str(self.folder / "termination-log"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", self.module],
            env={**contract, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> Ended:
        log = process.communicate(timeout=300)[0]
        report = json.loads((self.folder / "termination-log").read_text())
        self.work.rmdir()  # fails unless the step left nothing there
        return Ended(process.returncode, report["message"], report["results"], log)

    def run(self) -> Ended:
        return self.ended(self.start())
