"""Starting and stopping the cluster's processes. Each is known by a file with its id and by its environment."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster.cgroups import ClusterGroup
from hack.cluster.paths import Paths, locked
from hack.cluster.shell import ClusterError, tail

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXEC_TRIES = 40
_KILLS = 3
# Joins the machine's control groups before anything else: from here on `down` finds the process, come what may.
_LAUNCH = """
pidfile=$1; shift
while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift
echo $$ >"$pidfile"
exec "$@"
"""


@dataclass(frozen=True)
class Command:
    """A process to start: its name among the cluster's components, its machine, and what to execute."""

    name: str
    machine: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def start(paths: Paths, group: ClusterGroup, command: Command) -> None:
    """Start a process detached from this one, with its output in its log, unless it runs already."""
    paths.pids.mkdir(parents=True, exist_ok=True)
    paths.logs.mkdir(parents=True, exist_ok=True)
    # A node that reboots has its components started by a process of its own, beside whoever else is at it.
    with locked(paths.pids / f".{command.name}.lock", command.name):
        if not running_pid(paths, command.name):
            _launch(paths, group, command)


def _launch(paths: Paths, group: ClusterGroup, command: Command) -> None:
    pidfile = paths.pids / command.name
    pidfile.unlink(missing_ok=True)
    launch = ["setsid", "--fork", "sh", "-c", _LAUNCH, "launch", str(pidfile), *group.entrances(command.machine), "--"]
    with paths.log(command.name).open("ab") as log:
        subprocess.run(
            [*launch, *command.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(paths, command),
            cwd="/",
            check=True,
        )
    deadline = time.monotonic() + 10
    while not _read_pid(pidfile):
        if time.monotonic() > deadline:
            raise ClusterError(f"{command.name} did not start:\n{tail(paths.log(command.name))}")
        time.sleep(0.01)


def _environment(paths: Paths, command: Command) -> dict[str, str]:
    return {
        "PATH": PATH,
        "HOME": "/root",
        "BASCULE_CLUSTER": paths.name,
        "BASCULE_COMPONENT": command.name,
        **command.env,
    }


def running_pid(paths: Paths, name: str) -> int | None:
    """Return the process id of a component that runs; ids that now belong to something else do not count."""
    pid = _read_pid(paths.pids / name)
    if pid is None or not _is_component(pid, paths.name, name):
        return None
    return pid


def _read_pid(pidfile: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(pidfile.read_text())
    return None


def _is_component(pid: int, cluster: str, name: str) -> bool:
    variables = _environment_of(pid)
    return f"BASCULE_CLUSTER={cluster}".encode() in variables and f"BASCULE_COMPONENT={name}".encode() in variables


def _environment_of(pid: int) -> list[bytes]:
    """Read a process's environment; nothing for one that ended."""
    for _ in range(_EXEC_TRIES):
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes()
            ended = ") Z " in Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return []
        if variables or ended:
            return variables.split(b"\0")
        # In the middle of executing another program a process has no environment for a moment.
        time.sleep(0.005)
    return []


def end(paths: Paths, name: str, how: signal.Signals = signal.SIGTERM, patience: float = 10.0) -> None:
    """Send a signal to a component and wait for its end; SIGKILL follows when it takes too long."""
    pid = running_pid(paths, name)
    if pid is None:
        return
    with suppress(ProcessLookupError), _handle_on(pid) as process:
        for sent in (how, *[signal.SIGKILL] * _KILLS):
            _signal(pid, sent)
            if _ended(process, patience):
                break
        else:
            raise ClusterError(f"{name} (process {pid}) does not end")
    (paths.pids / name).unlink(missing_ok=True)


@contextmanager
def _handle_on(pid: int) -> Iterator[int]:
    """A descriptor of a process, whoever its parent is. Raises ProcessLookupError."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ended(process: int, patience: float) -> bool:
    """Wait until all its threads have ended. The first one's end shows at once, while others still hold its ports."""
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    return bool(waiting.poll(patience * 1000))


def _signal(pid: int, how: signal.Signals) -> None:
    """Signal a component; one in a process namespace of its own is the only child of its nsenter."""
    targets = [pid]
    with suppress(FileNotFoundError):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "nsenter":
            targets = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or targets
    for target in targets:
        with suppress(ProcessLookupError):
            os.kill(target, how)
