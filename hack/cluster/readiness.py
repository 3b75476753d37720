"""Waiting until a component answers, with an error that quotes its log when it does not."""

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from hack.cluster.component import Component, HttpProbe, PortProbe, ProgramProbe
from hack.cluster.machines import enter
from hack.cluster.paths import Paths
from hack.cluster.processes import running_pid
from hack.cluster.shell import ClusterError, tail

_PATIENCE = 90.0


class ComponentEndedError(ClusterError):
    """A component ended by itself before it was ready."""


def wait_ready(paths: Paths, host: str, component: Component, patience: float = _PATIENCE) -> None:
    """Wait for a component's probe. Raises ClusterError when it ends before, or takes too long."""
    deadline = time.monotonic() + patience
    while not is_ready(paths, host, component):
        if not running_pid(paths, component.name):
            raise ComponentEndedError(
                f"{component.name} ended by itself; {paths.log(component.name)} ends with:\n"
                f"{tail(paths.log(component.name))}"
            )
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{component.name} is not ready after {patience:.0f} s; {paths.log(component.name)} ends with:\n"
                f"{tail(paths.log(component.name))}"
            )
        time.sleep(0.1)


def is_ready(paths: Paths, host: str, component: Component) -> bool:
    """Ask a component once. `host` is the cluster's address on its link to the host."""
    match component.probe:
        case None:
            return running_pid(paths, component.name) is not None
        case PortProbe(port):
            return _accepts(host, port)
        case HttpProbe(url):
            return _answers(url.format(host=host), paths.pki / "ca.crt")
        case ProgramProbe(argv):
            return _succeeds([*enter(paths, component.machine), *argv])


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _answers(url: str, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority)) if url.startswith("https:") else None
    try:
        # No proxy: a cluster's address means the same to nobody else.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
