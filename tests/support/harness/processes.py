"""Operator and worker as processes of their own, to be killed with all their children, stopped and continued."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

_PATIENCE = 60.0
_READERS = 2
"""Of each module: a restart meets another order of its sets than the process before it had."""


class Nursery:
    """A process that starts others of one module, each in a moment (see `nursery.py`)."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.harness.nursery", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._codes: dict[int, int] = {}
        self._news = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Returns the process's id."""
        assert self._process.stdin is not None
        request = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._started.get(timeout=_PATIENCE)

    def code(self, pid: int) -> int | None:
        """The code with which it ended, negative for a signal; None while it runs."""
        return self._codes.get(pid)

    def wait(self, pid: int, seconds: float = _PATIENCE) -> int:
        """Wait for its end. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: pid in self._codes, seconds):
                raise TimeoutError(f"process {pid} goes on")
            return self._codes[pid]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._listener.join(_PATIENCE)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                word, pid, *code = line.split()
                if word == "started":
                    # Numbers come again.
                    self._codes.pop(int(pid), None)
                    self._started.put(int(pid))
                    continue
                with self._news:
                    self._codes[int(pid)] = int(code[0])
                    self._news.notify_all()


class Nurseries:
    """Of operator and worker."""

    def __init__(self, *modules: str) -> None:
        self._of = {module: [Nursery(module) for _ in range(_READERS)] for module in modules}

    def next(self, module: str, start: int) -> Nursery:
        return self._of[module][start % _READERS]

    def close(self) -> None:
        for nursery in (one for several in self._of.values() for one in several):
            nursery.close()


@dataclass
class Victim:
    """`python -m <module> …`, started again whenever it was killed."""

    nurseries: Nurseries
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    starts: int = 0
    _nursery: Nursery | None = field(default=None, repr=False)
    _pid: int = 0
    """Of the process that runs; 0: none."""

    def start(self) -> None:
        self.starts += 1
        self._nursery = self.nurseries.next(self.module, self.starts)
        self._pid = self._nursery.start(self.arguments, os.environ | dict(self.environment), self.log)

    def kill(self) -> None:
        """SIGKILL, to cosign and git below it as well: a container that dies takes all with it."""
        if not self._pid or self._nursery is None:
            return
        for pid in [*_descendants(self._pid), self._pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._nursery.wait(self._pid)
        self._pid = 0

    def twin(self) -> Victim:
        """Another one with the same settings, but for its own port."""
        environment = dict(self.environment)
        if "BASCULE_HTTP_PORT" in environment:
            environment["BASCULE_HTTP_PORT"] = "0"
        log = self.log.with_suffix(f".{self.starts}.log")
        return replace(self, environment=environment, log=log, _nursery=None, _pid=0)

    def send(self, number: signal.Signals) -> None:
        assert self._pid
        os.kill(self._pid, number)

    @property
    def exit_code(self) -> int | None:
        """The code with which it ended by itself; None while it runs."""
        return self._nursery.code(self._pid) if self._nursery and self._pid else None

    async def ended(self, seconds: float) -> int:
        """Wait for its end. Raises TimeoutError."""
        assert self._nursery is not None
        return await asyncio.to_thread(self._nursery.wait, self._pid, seconds)

    def said(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))
                yield int(child)
