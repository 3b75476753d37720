"""Debian's package database: what is installed, its lock, and putting right what was left half done."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from bascule_workers.in_step.contract import ExitCode, StepError
from bascule_workers.on_node.host import Host

_FRONTEND_LOCK = "/var/lib/dpkg/lock-frontend"
_FORMAT = "${binary:Package}\t${Version}\t${db:Status-Status}\n"
_PRESENT = ("installed", "triggers-pending", "triggers-awaited")
UNATTENDED = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none"}
"""Nobody is there to answer questions."""
KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")
"""A configuration file that somebody changed stays as it is."""


def require_debian(host: Host) -> None:
    if host.ask(["test", "-e", "/var/lib/dpkg/status"]).code != 0:
        raise StepError(ExitCode.INVALID, "the node has no dpkg: it is not a Debian machine")


def installed(host: Host) -> dict[str, str]:
    """Packages that are wholly installed, with their versions. Raises StepError."""
    return {name: version for name, (version, status) in _all(host).items() if status in _PRESENT}


def broken(host: Host) -> dict[str, str]:
    """Packages that are neither wholly installed nor gone: `1.2, half-configured`. Raises StepError."""
    whole = (*_PRESENT, "config-files", "not-installed")
    found = sorted(_all(host).items())
    return {name: f"{version}, {status}" for name, (version, status) in found if status not in whole}


def _all(host: Host) -> dict[str, tuple[str, str]]:
    listed = host.ask(["dpkg-query", "--show", f"--showformat={_FORMAT}"])
    if listed.code != 0:
        raise StepError(ExitCode.UNAVAILABLE, f"dpkg-query ended with {listed.code}; its words are in the log")
    rows = (line.split("\t") for line in listed.output.splitlines())
    return {name: (version, status) for name, version, status in rows}


def repair(host: Host, patience: float) -> bool:
    """Go on with what an interrupted dpkg left half configured. Whether all of it could be; waits for the lock."""
    with frontend_lock(host, patience):
        # The lock that dpkg would take itself is ours, and this variable tells it so.
        environment = UNATTENDED | {"DPKG_FRONTEND_LOCKED": "1"}
        return host.run(["dpkg", *KEEP_CONFIGURATION, "--configure", "--pending"], environment).code == 0


@contextmanager
def frontend_lock(host: Host, patience: float) -> Iterator[None]:
    """Hold the lock that every package manager of the node takes first. Raises StepError when it never gets free."""
    path = host.path(_FRONTEND_LOCK)
    deadline, said = time.monotonic() + patience, False
    with path.open("a") as file:
        while not _locked(file):
            if time.monotonic() > deadline:
                raise StepError(ExitCode.UNAVAILABLE, f"another package manager is at work on the node ({path.name})")
            if not said:
                print("bascule: waiting for another package manager on the node", flush=True)
                said = True
            time.sleep(1)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
