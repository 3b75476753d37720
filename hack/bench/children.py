"""The processes that are measured: started with their logs, killed, and looked at through /proc."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1024.0


class Child:
    """A Python process of the bench. Its standard output and error are files."""

    def __init__(self, folder: Path, name: str, module: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.output = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        self._argv = [sys.executable, "-m", module, *arguments]
        self._env = os.environ | dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("ab") as output, self.log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=output, stderr=log, env=self._env)

    @property
    def pid(self) -> int:
        """Raises RuntimeError with the end of its log when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{' '.join(self._argv[1:3])} does not run:\n{self.log.read_text()[-2000:]}")
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL, 10)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not mind."""
        await asyncio.to_thread(self._end, signal.SIGTERM, 20)

    def _end(self, how: signal.Signals, patience: float) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return _status(pid, "VmRSS")


def peak_mib(pid: int) -> float:
    """The most resident memory that a process has had."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) / _MIB, 1)
    return 0.0


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time that each process has had so far, by name; ended ones are left out."""
    found = {}
    for name, pid in pids.items():
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _busy_seconds() -> float:
    """Processor time that this machine has spent so far, on whatever."""
    user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(map(int, (user, nice, system, interrupts, soft))) / _TICKS


class Meter:
    """Processor time between two moments: of the processes that are named, and of everything else."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "bench": os.getpid()}
        self._begun, self._busy, self._before = time.monotonic(), _busy_seconds(), cpu_seconds(self._pids)

    def read(self) -> dict[str, Any]:
        """`cpu_s` by process, their sum without the bench's own, and how many cores others kept busy meanwhile."""
        after, busy = cpu_seconds(self._pids), _busy_seconds() - self._busy
        spent = {name: round(after[name] - self._before[name], 2) for name in after}
        others = max(0.0, busy - sum(spent.values())) / (time.monotonic() - self._begun)
        total = sum(seconds for name, seconds in spent.items() if name != "bench")
        return {"cpu_s": spent, "cpu_total_s": round(total, 2), "cores_busy_with_others": round(others, 2)}
