"""Starting a cluster's components, and waiting until they are ready."""

import time

from hack.cluster import machines
from hack.cluster.console import say
from hack.cluster.processes import Command, running_pid, start
from hack.cluster.readiness import ComponentEndedError, wait_ready
from hack.cluster.sites import Site

_TRIES = 20


def start_program(made: Site, name: str) -> None:
    """Start a component unless it runs."""
    component = made.component(name)
    if running_pid(made.paths, name):
        return
    say(f"starting {name}")
    enter = [] if component.on_host else machines.enter(made.paths, component.machine)
    start(made.paths, made.group, Command(name, component.machine, [*enter, *component.argv], component.env))


def wait_for_all(made: Site, *names: str) -> None:
    """Wait until components are ready."""
    for name in names:
        wait_for(made, name)
    say(f"ready: {', '.join(names)}")


def wait_for(made: Site, name: str) -> None:
    """Wait until a component is ready. A kubelet gives up when containerd is slow, as systemd's are used to."""
    component = made.component(name)
    tries = _TRIES if component.restarts else 1
    for remaining in reversed(range(tries)):
        try:
            wait_ready(made.paths, made.host, component)
        except ComponentEndedError:
            if not remaining:
                raise
            time.sleep(0.5)
            start_program(made, name)
        else:
            return
