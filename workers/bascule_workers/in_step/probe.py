"""What asks a Service of a drill inside a Job of its namespace: `python -m bascule_workers.in_step.probe`.

It needs more than the standard library, so it runs in the tools image. The parameter `asks` says what, as JSON:
`{"namespace", "probe"}`, the probe as the drill's spec has it. It asks until the probe passes, or its time is up, and
answers with the result `verdict`; the exit code is 0 either way. The last line of its log is what people see meanwhile.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable

from bascule_api.dr_drill_specs import HttpProbe, Probe, TcpProbe
from bascule_api.gates import Verdict
from bascule_workers.in_step.clock import Clock
from bascule_workers.in_step.conditions import ConditionError
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError, main
from bascule_workers.in_step.gate import ATTEMPT_SECONDS, PARAMETER
from bascule_workers.in_step.http_client import NoAnswerError, Request, ask
from bascule_workers.in_step.measuring import ACCEPTED, isolated, judged_answer
from bascule_workers.plans.measurements import Measurement


def program(step: Step) -> Report:
    """Ask until the probe passes. Raises StepError."""
    try:
        asks = json.loads(step.text(PARAMETER))
        probe, namespace = Probe.model_validate(asks["probe"]), str(asks["namespace"])
    except (ValueError, KeyError, TypeError) as error:
        raise StepError(ExitCode.USAGE, f"the parameter {PARAMETER} is no probe: {error}") from error
    return probe_until(probe, lambda: isolated(lambda: measure(probe, namespace), ATTEMPT_SECONDS), Clock())


def probe_until(probe: Probe, measuring: Callable[[], Measurement], clock: Clock) -> Report:
    """Ask, `interval` after each other, until it passed often enough in a row, or the time is up."""
    began, interval, limit = clock.now(), probe.interval.seconds, probe.timeout.seconds
    count = in_a_row = 0
    while True:
        measurement = measuring()
        count += 1
        in_a_row = in_a_row + 1 if measurement.verdict is Verdict.PASS else 0
        words = f"{in_a_row} of {probe.success_threshold} passed in a row, last {measurement.text}"
        print(f"{measurement.verdict}: {words}", flush=True)
        if in_a_row >= probe.success_threshold:
            return Report(measurement.text, {"verdict": Verdict.PASS.value})
        if clock.now() - began + interval > limit:
            text = f"did not pass within {limit} s, asked {count} times; {words}"
            return Report(text, {"verdict": Verdict.FAIL.value})
        clock.sleep(interval)


def measure(probe: Probe, namespace: str) -> Measurement:
    """Ask once. Takes as long as the Service likes."""
    try:
        if probe.http is not None:
            return _http(probe.http, namespace)
        if probe.tcp is not None:
            return _tcp(probe.tcp, namespace)
    except (NoAnswerError, ConditionError) as error:
        return Measurement(Verdict.INCONCLUSIVE, str(error))
    raise ValueError("a Procedure is no Service")


def _http(probe: HttpProbe, namespace: str) -> Measurement:
    request = Request(
        f"{probe.scheme}://{host(probe.service, namespace)}:{probe.port}{probe.path}",
        ATTEMPT_SECONDS,
        headers=ACCEPTED,
        wants_body=probe.success_condition is not None,
        # The drill's names are not those that its certificates were made for.
        verified=False,
    )
    return judged_answer(ask(request), probe.success_condition)


def _tcp(probe: TcpProbe, namespace: str) -> Measurement:
    try:
        socket.create_connection((host(probe.service, namespace), probe.port), ATTEMPT_SECONDS).close()
    except OSError as error:
        return Measurement(Verdict.FAIL, f"no connection: {error.strerror or error}".lower())
    return Measurement(Verdict.PASS, "connected")


def host(service: str, namespace: str) -> str:
    """The Service's name in the cluster; the resolver adds the cluster's own domain."""
    return f"{service}.{namespace}.svc"


if __name__ == "__main__":
    sys.exit(main(program))
