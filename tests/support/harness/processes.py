"""Operator and worker as processes of their own, to be killed with all their children, stopped and continued."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Victim:
    """`python -m <module> …`, started again whenever it was killed."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdout=log, stderr=log, env=os.environ | dict(self.environment), start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, to cosign and git below it as well: a container that dies takes all with it."""
        if self._process is None:
            return
        family = [*_descendants(self._process.pid), self._process.pid]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def twin(self) -> Victim:
        """Another one with the same settings, but for its own port."""
        environment = dict(self.environment)
        if "BASCULE_HTTP_PORT" in environment:
            environment["BASCULE_HTTP_PORT"] = "0"
        return Victim(self.module, self.arguments, environment, self.log.with_suffix(f".{self.starts}.log"))

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        """The code with which it ended by itself; None while it runs."""
        return self._process.poll() if self._process else None

    async def ended(self, seconds: float) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, seconds)

    def said(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))
                yield int(child)
