"""Tries a connection out of a drill's namespace, inside a Job there: `python -m bascule_workers.in_step.canary`.

Two pods try the same connection, to the API server, which every cluster has. With the parameter `may` the pod is one
that isolation lets out: it tries until it gets through, which proves that there is somebody who answers. The other must
not get through. Plugins enforce isolation a moment after a pod's start, so what gets through until then is no verdict:
that pod settles first, until a try fails or the time for that is up. From then on every one of the last tries has to
fail; one that gets through means that isolation is not enforced. The result is `reached`; the exit code is 0 anyway.

It connects, and sends nothing.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable

from bascule_workers.in_step.contract import Report, Step, main
from bascule_workers.in_step.gate import Clock

MAY = "may"
PATIENCE_SECONDS = 60.0
"""How long the pod that may get out tries to."""
SETTLE_SECONDS = 20.0
"""How long after a pod's start isolation may be lagging behind."""
LEAST_SECONDS = 2.0
"""How long tries go on at least before the last ones: a pod's network may be late as well."""
LAST_TRIES = 5
ATTEMPT_SECONDS = 1.5
PAUSE_SECONDS = 0.5

Try = Callable[[], str]
"""Tries once. Returns why it did not get through; empty: it did."""


def program(step: Step) -> Report:
    """Try, and tell whether it got through. Raises StepError."""
    host, port = step.variable("KUBERNETES_SERVICE_HOST"), int(step.variable("KUBERNETES_SERVICE_PORT"))

    def attempt() -> str:
        return connected(host, port)

    if step.flag(MAY):
        return let_out(attempt, Clock())
    return kept_in(attempt, Clock())


def connected(host: str, port: int) -> str:
    """Connect once, and say why it was not to be."""
    try:
        with socket.create_connection((host, port), timeout=ATTEMPT_SECONDS):
            return ""
    except OSError as error:
        return str(error) or type(error).__name__


def let_out(attempt: Try, clock: Clock) -> Report:
    """Try until it gets through, or the patience ends."""
    began = clock.now()
    while problem := attempt():
        if clock.now() - began > PATIENCE_SECONDS:
            return _report(reached=False, text=f"did not get through in {PATIENCE_SECONDS:.0f} s: {problem}")
        clock.sleep(PAUSE_SECONDS)
    return _report(reached=True, text="got through")


def kept_in(attempt: Try, clock: Clock) -> Report:
    """Settle, and then try so often that a lost packet is no proof."""
    began, early = clock.now(), 0
    while True:
        problem = attempt()
        early += not problem
        since = clock.now() - began
        if (problem and since >= LEAST_SECONDS) or since >= SETTLE_SECONDS:
            break
        clock.sleep(PAUSE_SECONDS)
    for number in range(1, LAST_TRIES + 1):
        clock.sleep(PAUSE_SECONDS)
        if not (problem := attempt()):
            return _report(reached=True, text=f"got through {since:.0f} s after its start, at try {number} of the last")
    settled = f", after {early} that got through at its start" if early else ""
    return _report(reached=False, text=f"{LAST_TRIES} tries in a row failed{settled}: {problem}")


def _report(*, reached: bool, text: str) -> Report:
    return Report(text, {"reached": json.dumps(reached)})


if __name__ == "__main__":
    sys.exit(main(program))
