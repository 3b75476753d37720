"""Running other programs: errors that quote what the program said, and no orphan when this process is killed."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from hack.cluster.console import say

_HEARTBEAT_SECONDS = 15.0
_TAIL_LINES = 15
_LINE_WIDTH = 500

Result = TypeVar("Result")
_long_commands: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()


class ClusterError(Exception):
    """The cluster tool cannot go on. The message says what failed and what to do about it."""


class Background:
    """Work beside the main thread. When the main thread fails, the programs that the work runs are ended at once."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._pool = ThreadPoolExecutor()

    def __enter__(self) -> Self:
        """Take work from now on."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Wait for all work, which is quick when it was told to stop."""
        if kind is not None:
            _stopping.set()
            for process in list(_long_commands):
                process.kill()
        self._pool.shutdown()
        _stopping.clear()

    def begin(self, work: Callable[[], Result]) -> "Future[Result]":
        """Run a function beside this thread."""
        return self._pool.submit(work)


def contained(argv: Sequence[str]) -> list[str]:
    """Wrap a command so that it and all its descendants die with this process, and its mounts with them."""
    wrapper = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    return [*wrapper, "--mount-proc", *argv]


def run(
    argv: Sequence[str],
    *,
    text_input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command and return its standard output. Raises ClusterError with what it said when it fails."""
    try:
        done = subprocess.run(
            argv, input=text_input, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{argv[0]} is not installed; `python -m hack.cluster up` installs what it needs") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(argv)} did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise ClusterError(f"{' '.join(argv)} ended with {done.returncode}:\n{said}")
    return done.stdout


def run_logged(
    argv: Sequence[str],
    *,
    what: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long command with its output in a log file, and say every few seconds that it is still going on."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if _stopping.is_set():
        raise ClusterError(f"{what} was not begun: something else failed")
    began = time.monotonic()
    say(f"{what} …")
    with log.open("wb") as output:
        process = subprocess.Popen(
            contained(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=cwd
        )
        _long_commands.add(process)
        try:
            _wait_aloud(process, what, log, began)
        finally:
            process.kill()
            process.wait()
            _long_commands.remove(process)
    if process.returncode != 0:
        raise ClusterError(f"{what} failed ({argv[0]} ended with {process.returncode}); {log} ends with:\n{tail(log)}")
    say(f"{what}: done in {time.monotonic() - began:.0f} s")


def _wait_aloud(process: subprocess.Popen[bytes], what: str, log: Path, began: float) -> None:
    while True:
        try:
            process.wait(_HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            last = tail(log, 1)[-90:]
            say(f"{what}: {time.monotonic() - began:.0f} s so far, {_line_count(log)} lines of output, now: {last}")
        else:
            return


def _line_count(log: Path) -> int:
    with log.open("rb") as output:
        return sum(1 for _ in output)


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log file; an empty text when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(line[:_LINE_WIDTH] for line in text.strip().splitlines()[-lines:])
