"""Tries a connection out of a drill's namespace, inside a Job there: `python -m bascule_workers.in_step.canary`.

Two pods try the same connection, to the API server, which every cluster has. With the parameter `may` the pod is one
that isolation lets out: it tries until it gets through, which proves that there is somebody who answers, within the
time of one try. The other must not get through.

Plugins enforce isolation a moment after a pod's start, so what gets through until then is no verdict: that pod settles
first, until a try fails or the time for that is up. A try that fails before the pod has a network is none either. So it
first reaches the cluster's DNS, which isolation leaves open; where that never answers, it waits long enough instead.
Then every one of the last tries has to fail; one that gets through means that isolation is not enforced. The result is
`reached`; the exit code is 0 anyway.

It connects, and sends nothing. It imports little: a drill waits for it.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from bascule_workers.in_step.clock import Clock
from bascule_workers.in_step.contract import Report, Step, main

MAY = "may"
PATIENCE_SECONDS = 60.0
"""How long the pod that may get out tries to."""
SETTLE_SECONDS = 20.0
"""How long after a pod's start isolation may be lagging behind."""
LATE_SECONDS = 10.0
"""How long a pod's network may be late where no DNS answers that would show it."""
LAST_TRIES = 5
ATTEMPT_SECONDS = 1.0
"""How long one connection may take. The other pod's has to be made within as much."""
PAUSE_SECONDS = 0.25
DNS_PORT = 53
RESOLVER = Path("/etc/resolv.conf")

Try = Callable[[], str]
"""Tries once. Returns why it did not get through; empty: it did."""


def program(step: Step) -> Report:
    """Try, and tell whether it got through. Raises StepError."""
    host, port = step.variable("KUBERNETES_SERVICE_HOST"), int(step.variable("KUBERNETES_SERVICE_PORT"))

    def attempt() -> str:
        return connected(host, port)

    if step.flag(MAY):
        return let_out(attempt, Clock())
    with ThreadPoolExecutor(LAST_TRIES) as pool:
        return kept_in(attempt, lambda: dns_reached(RESOLVER.read_text(encoding="utf-8")), Clock(), pool)


def connected(host: str, port: int) -> str:
    """Connect once, and say why it was not to be."""
    try:
        with socket.create_connection((host, port), timeout=ATTEMPT_SECONDS):
            return ""
    except OSError as error:
        return str(error) or type(error).__name__


def dns_reached(resolver: str, port: int = DNS_PORT) -> str:
    """Connect to the first server that the resolver's configuration names, or say why that was not to be."""
    servers = [
        words[1] for line in resolver.splitlines() if (words := line.split())[:1] == ["nameserver"] and words[1:]
    ]
    return connected(servers[0], port) if servers else "no server is configured"


def let_out(attempt: Try, clock: Clock) -> Report:
    """Try until it gets through, or the patience ends."""
    began = clock.now()
    while problem := attempt():
        if clock.now() - began > PATIENCE_SECONDS:
            return _report(reached=False, text=f"did not get through in {PATIENCE_SECONDS:.0f} s: {problem}")
        clock.sleep(PAUSE_SECONDS)
    return _report(reached=True, text="got through")


def kept_in(attempt: Try, within: Try, clock: Clock, pool: Executor) -> Report:
    """Settle, and then try so often that a lost packet is no proof. `within`: tries what isolation leaves open."""
    began, early, networked = clock.now(), 0, False
    while True:
        networked = networked or not within()
        problem = attempt()
        early += not problem
        since = clock.now() - began
        if (problem and (networked or since >= LATE_SECONDS)) or since >= SETTLE_SECONDS:
            break
        clock.sleep(PAUSE_SECONDS)
    problems = _last_tries(attempt, clock, pool)
    if "" in problems:
        number = problems.index("") + 1
        return _report(reached=True, text=f"got through {since:.0f} s after its start, at try {number} of the last")
    settled = f", after {early} that got through at its start" if early else ""
    alone = "" if networked else "; nor did the DNS answer"
    return _report(reached=False, text=f"{LAST_TRIES} tries in a row failed{settled}: {problems[-1]}{alone}")


def _last_tries(attempt: Try, clock: Clock, pool: Executor) -> list[str]:
    """What they came to, in their order. None waits for the one before it, which may take its whole time."""
    begun = []
    for _ in range(LAST_TRIES):
        clock.sleep(PAUSE_SECONDS)
        begun.append(pool.submit(attempt))
    return [one.result() for one in begun]


def _report(*, reached: bool, text: str) -> Report:
    return Report(text, {"reached": json.dumps(reached)})


if __name__ == "__main__":
    sys.exit(main(program))
