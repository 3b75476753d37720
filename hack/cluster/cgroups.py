"""Control groups: how the tool knows every process of a cluster, whoever started it.

All processes of a cluster are below `bascule-<name>` in every hierarchy: what a process starts inherits its group, so
containers and their shims cannot get lost. Works with version 1, with version 2 and with both mounted side by side.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.shell import ClusterError

_MOUNTS = Path("/proc/self/mountinfo")
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# In version 2 a group with processes of its own cannot share out controllers, so they live one level below.
_LEAF = "processes"


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted."""

    roots: tuple[Path, ...]
    unified: bool


def hierarchies(mounts: str | None = None) -> Hierarchies:
    """Find the version 1 hierarchies, or the one of version 2 when there are none."""
    old: dict[str, Path] = {}
    new: list[Path] = []
    for line in (mounts if mounts is not None else _MOUNTS.read_text()).splitlines():
        fields, _, kind = line.partition(" - ")
        point = Path(fields.split()[4])
        match kind.split()[0]:
            case "cgroup":
                old.setdefault(fields.split()[2], point)
            case "cgroup2":
                new.append(point)
            case _:
                pass
    if old:
        return Hierarchies(tuple(old.values()), unified=False)
    if new:
        return Hierarchies((new[0],), unified=True)
    raise ClusterError("no control groups are mounted under /sys/fs/cgroup; the kubelet cannot do without")


@dataclass(frozen=True)
class ClusterGroup:
    """The control groups of one cluster."""

    name: str
    hierarchies: Hierarchies

    @property
    def roots(self) -> tuple[Path, ...]:
        """The cluster's group in each hierarchy."""
        return tuple(root / f"bascule-{self.name}" for root in self.hierarchies.roots)

    def make(self, machine: str) -> None:
        """Make the groups of one machine."""
        for root in self.roots:
            if self.hierarchies.unified:
                _share_controllers(root.parent)
                (root / machine / _LEAF).mkdir(parents=True, exist_ok=True)
                _share_controllers(root)
            else:
                (root / machine).mkdir(parents=True, exist_ok=True)
                for group in (root, root / machine):
                    _inherit_cpuset(group)

    def entrances(self, machine: str) -> list[str]:
        """Return the files that a process writes its id to when it joins a machine."""
        leaf = _LEAF if self.hierarchies.unified else ""
        return [str(root / machine / leaf / "cgroup.procs") for root in self.roots]

    def processes(self, machine: str = "") -> set[int]:
        """Return the ids of all processes of the cluster or of one of its machines."""
        found: set[int] = set()
        for root in self.roots:
            for group in _bottom_up(root / machine):
                with suppress(OSError):
                    found |= {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
        return found

    def destroy(self, machine: str = "", patience: float = 30.0) -> None:
        """End every process with SIGKILL and remove the groups, whatever is started meanwhile.

        Raises ClusterError when this process is one of them, or something is still there when patience is over.
        """
        if os.getpid() in self.processes(machine):
            raise ClusterError("this command runs inside the cluster itself (by `exec`); leave that shell first")
        deadline = time.monotonic() + patience
        while True:
            pids = self.processes(machine)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            left = [group for root in self.roots for group in _bottom_up(root / machine) if not _removed(group)]
            if not left:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"still there: the control groups {left} with the processes {sorted(pids)}")
            time.sleep(0.02)

    def exists(self) -> bool:
        """Tell whether anything of the cluster's groups is there."""
        return any(root.exists() for root in self.roots)


def _bottom_up(root: Path) -> Iterator[Path]:
    """Yield all groups below a group, children first, and then the group."""
    for directory, _, _ in os.walk(root, topdown=False):
        yield Path(directory)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _inherit_cpuset(group: Path) -> None:
    """Give a new version 1 cpuset its parent's processors; an empty set takes no process."""
    for file in _CPUSET_FILES:
        if (group / file).exists() and not (group / file).read_text().strip():
            (group / file).write_text((group.parent / file).read_text())


def _share_controllers(group: Path) -> None:
    """Let the groups below use every controller of a version 2 group."""
    for controller in (group / "cgroup.controllers").read_text().split():
        with suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def cluster_group(name: str) -> ClusterGroup:
    """Return the control groups of a cluster, made or not."""
    return ClusterGroup(name, hierarchies())
