"""The node, as a step with its root file system and its processes sees it."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from bascule_workers.in_step.contract import ExitCode, Step, StepError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINES = 400
"""Lines at the end of a command's output that are looked at for what went wrong."""
_INTO = ("nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--")
"""The namespaces of the node's first process: there a package's scripts find systemd, and mounts are the node's."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended. A negative code is the signal that ended it."""

    code: int
    output: str
    """What it printed: all of it from `ask`, the end of it from `run`."""


@dataclass(frozen=True)
class Host:
    """The node's root, and how a command gets there."""

    root: Path
    enter: tuple[str, ...] = _INTO
    environment: Mapping[str, str] = field(default_factory=dict)

    def path(self, path: str) -> Path:
        """An absolute path of the node's, as this container sees it."""
        return self.root / path.lstrip("/")

    def ask(self, argv: Sequence[str]) -> Outcome:
        """Run a short command and return what it prints; what it says about errors goes to the log."""
        done = subprocess.run(
            [*self.enter, *argv],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def run(self, argv: Sequence[str], more: Mapping[str, str] | None = None) -> Outcome:
        """Run a command to its end with its output in the log, even when we are told to stop meanwhile.

        A package manager that is left alone ends in order; the kubelet ends it by force when our grace is over.
        Raises StepError then.
        """
        kept: deque[str] = deque(maxlen=_LINES)
        with _stops_are_put_off() as told, self._started(argv, more) as process:
            for line in process.stdout or ():
                print(line.rstrip("\n"), flush=True)
                kept.append(line)
            code = process.wait()
        if told():
            raise StepError(ExitCode.UNAVAILABLE, f"stopped while {argv[0]} was at work")
        return Outcome(code, "".join(kept))

    def _started(self, argv: Sequence[str], more: Mapping[str, str] | None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.enter, *argv],
            env=self._environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def _environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Nothing of the pod's: what a node's programs do must not depend on what a tenant chose."""
        return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"} | dict(more or {})


def host_of(step: Step) -> Host:
    """The node that the step runs on. Raises StepError where it is not given to the container."""
    root = Path(step.environment.get("BASCULE_HOST") or "/host")
    if not (root / "etc").is_dir():
        raise StepError(
            ExitCode.USAGE, f"the node's root is not at {root}: give the Procedure a volume with hostPath /"
        )
    if Path("/proc/1/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink():
        raise StepError(ExitCode.USAGE, "the node's processes are not visible: the securityProfile has to be Host")
    return Host(root)


@contextmanager
def _stops_are_put_off() -> Iterator[Callable[[], bool]]:
    """Take note of a request to stop, and go on. Yields whether there was one."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
