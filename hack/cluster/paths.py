"""Where things are: the cache that clusters share, and the state of one cluster."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.console import say
from hack.cluster.shell import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,29}")


def cache_directory() -> Path:
    """Return the folder of binaries, trees and images: BASCULE_CACHE, or `bascule` in the user's cache."""
    if chosen := os.environ.get("BASCULE_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "bascule"


def state_directory() -> Path:
    """Return the folder of all clusters' state: BASCULE_STATE or /var/lib/bascule."""
    return Path(os.environ.get("BASCULE_STATE", "/var/lib/bascule")).absolute()


@dataclass(frozen=True)
class Paths:
    """The places of one cluster's state. Everything in it goes with `down`."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that is no part of a path, a cgroup and an address."""
        if not NAME_PATTERN.fullmatch(self.name):
            raise ClusterError(
                f"the cluster's name {self.name!r} must begin with a letter and consist of at most 30 lower-case "
                "letters, digits and dashes"
            )

    @property
    def state(self) -> Path:
        """The root of the cluster's state."""
        return state_directory() / self.name

    @property
    def record(self) -> Path:
        """What was decided for this cluster, and whether it was made to the end."""
        return self.state / "record.json"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        """One file per running component with its process id."""
        return self.state / "pids"

    @property
    def config(self) -> Path:
        """Configuration files of the control plane and the services."""
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; works on the host and inside the cluster's network."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self.state / "audit.log"

    @property
    def images(self) -> Path:
        """The platform images' references by digest, as JSON."""
        return self.state / "images.json"

    @property
    def hosts(self) -> Path:
        """The /etc/hosts that `exec` shows to its command."""
        return self.state / "hosts"

    @property
    def trust(self) -> Path:
        """The host's certificate authorities and the cluster's, in one file."""
        return self.state / "trust.pem"

    def machine(self, name: str) -> Path:
        """Return the folder of a machine's root file system."""
        return self.state / "machines" / name

    def log(self, component: str) -> Path:
        """Return a component's log file."""
        return self.logs / f"{component}.log"


@contextmanager
def locked(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file. The kernel releases it when its holder dies; waiting is said aloud."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that uses {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
