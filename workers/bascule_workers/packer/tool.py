"""Runs Packer: its words, its environment, its output as it comes, and its end when we are told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bascule_workers.packer import machine_readable
from bascule_workers.packer.machine_readable import Line

_GRACE = 20.0
"""Seconds for Packer to clean up after a request to stop; a pod is killed 30 seconds after it."""
_LINES = 100_000
"""Lines of Packer's output that are kept; a build that prints more is not believed."""


@dataclass(frozen=True)
class Outcome:
    """How a command of Packer's ended; a negative code is the signal that ended it."""

    code: int
    lines: tuple[Line, ...]
    other: str
    """The end of what it printed outside of its format: panics and logs."""
    stopped: bool = False
    """Whether we were told to stop meanwhile."""

    @property
    def error(self) -> str:
        return "\n".join(machine_readable.errors(self.lines)) or self.other.strip()


@dataclass(frozen=True)
class Packer:
    """Packer in a folder with a copy of the sources, and a home of its own outside of it."""

    sources: Path
    home: Path
    environment: Mapping[str, str]

    def _environment(self) -> dict[str, str]:
        """Nothing of the pod's may steer Packer, and it reports to nobody and keeps nothing."""
        inherited = {name: value for name, value in self.environment.items() if not name.startswith("PACKER_")}
        # Packer's plugins listen on sockets in TMPDIR; the path of a socket may have some hundred bytes and no more.
        folders = {"PACKER_CONFIG_DIR": "config", "PACKER_CACHE_DIR": "cache", "TMPDIR": "tmp", "HOME": "user"}
        for folder in folders.values():
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        settings = self.home / "config.json"
        settings.write_text("{}")
        return (
            inherited
            | {name: str(self.home / folder) for name, folder in folders.items()}
            | {"PACKER_TMP_DIR": str(self.home / "tmp"), "PACKER_CONFIG": str(settings)}
            | {"PACKER_NO_COLOR": "1", "CHECKPOINT_DISABLE": "1"}
        )

    def validate(self, template: str, variables: Sequence[str]) -> Outcome:
        return self._run(["validate", *_variables(variables), template])

    def build(self, template: str, variables: Sequence[str]) -> Outcome:
        # A build that fails cleans up what it began; this is Packer's default, and what an undo relies on.
        return self._run(["build", "-color=false", "-on-error=cleanup", *_variables(variables), template])

    def _run(self, words: list[str]) -> Outcome:
        with _Stop() as stop:
            process = self._started(words)
            stop.attach(process)
            threading.Thread(target=_sweep, args=(process,), daemon=True).start()
            other = _Tail(process)
            lines = tuple(_read(process))
            code = process.wait()
        return Outcome(code, lines, other.text(), stop.told)

    def _started(self, words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["packer", "-machine-readable", *words],
            cwd=self.sources,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )


def _sweep(process: subprocess.Popen[str]) -> None:
    """When Packer has ended, end what it left running: that holds our end of the output open, for hours maybe."""
    process.wait()
    _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _variables(variables: Sequence[str]) -> list[str]:
    return [word for variable in variables for word in ("-var", variable)]


def _read(process: subprocess.Popen[str]) -> Iterator[Line]:
    """Packer's facts; what it tells people is printed as it comes, so that the pod's log can be followed."""
    kept = 0
    for text in process.stdout or ():
        line = machine_readable.parse_line(text)
        if shown := machine_readable.says(line) if line else text.rstrip("\n"):
            print(shown, flush=True)
        # What a build says is only printed; facts and errors are kept, up to a bound.
        if line and (line.type != "ui" or line.data[:1] == ("error",)) and kept < _LINES:
            kept += 1
            yield line


class _Tail:
    """The last lines of the error stream, read beside the other one so that neither blocks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for text in self._process.stderr or ():
            print(text.rstrip("\n"), flush=True)
            self._lines = [*self._lines[-19:], text[:500]]

    def text(self) -> str:
        self._thread.join()
        return "".join(self._lines)


class _Stop:
    """A request to stop becomes Packer's, which then takes back what it began; we wait for that while we may.

    It listens before Packer starts, so that no request falls between.
    """

    def __init__(self) -> None:
        self.told = False
        self._process: subprocess.Popen[str] | None = None
        self._late: threading.Timer | None = None

    def __enter__(self) -> _Stop:
        self._before = {number: signal.signal(number, self._tell) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exc: object) -> None:
        if self._late:
            self._late.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def attach(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if self.told:
            self._pass_on(process)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self._process:
            self._pass_on(self._process)

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        if self._late is None:
            self._late = threading.Timer(_GRACE, _kill_group, [process])
            self._late.start()
        process.send_signal(signal.SIGTERM)
