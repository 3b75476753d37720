"""What measures a gate, or asks a target, inside a Job of the tenant's: `python -m bascule_workers.in_step.gate`.

It needs more than the standard library, so it runs in the tools image. The parameter `asks` says what, as JSON:
`{"gate": …}` as the campaign's spec has it, or `{"check": {"url", "interval", "seconds"}}`. It answers with the result
`verdict` and the counts; the exit code is 0 whatever the verdict. One line of its log per measurement ends in how the
gate stands; the last one is what people see while it goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bascule_api.gates import Gate, Verdict
from bascule_workers.in_step.clock import Clock
from bascule_workers.in_step.contract import ExitCode, Report, Step, StepError, main
from bascule_workers.in_step.http_client import NoAnswerError, Request, ask
from bascule_workers.in_step.measuring import Asked, isolated, measured, status_text
from bascule_workers.plans.measurements import Measurement, Tally

PARAMETER = "asks"
AUTHORIZATION = "authorization"
ATTEMPT_SECONDS = 10.0
"""How long one request to a target may take."""


def program(step: Step) -> Report:
    """Measure until there is a verdict. Raises StepError."""
    asks = _asks(step)
    if "gate" in asks:
        asked = Asked(Gate.model_validate(asks["gate"]), _authorization(step))
        return measure_gate(asked.gate, lambda: measured(asked), Clock())
    if "check" in asks:
        check = asks["check"]
        url = str(check["url"])
        return check_until(lambda: isolated(lambda: _passes(url), ATTEMPT_SECONDS), check, Clock())
    raise StepError(ExitCode.USAGE, f"the parameter {PARAMETER} names neither a gate nor a check")


def measure_gate(gate: Gate, measuring: Callable[[], Measurement], clock: Clock) -> Report:
    """Measure as often as it takes, `interval` after each other."""
    tally = Tally()
    while True:
        measurement = measuring()
        tally = tally.plus(measurement)
        print(f"{measurement.verdict}: {tally.words(gate)}", flush=True)
        if (verdict := tally.verdict(gate)) is not None:
            return Report(tally.words(gate), {"verdict": verdict.value, **tally.counts()})
        clock.sleep(gate.interval.seconds)


def check_until(measuring: Callable[[], Measurement], check: dict[str, Any], clock: Clock) -> Report:
    """Ask until it passes, or the time is up."""
    began, interval, limit = clock.now(), float(check["interval"]), float(check["seconds"])
    count = 0
    while True:
        measurement = measuring()
        count += 1
        print(f"{measurement.verdict}: {check['url']}: {measurement.text}", flush=True)
        if measurement.verdict is Verdict.PASS:
            return Report(f"{check['url']}: {measurement.text}", {"verdict": Verdict.PASS.value})
        if clock.now() - began + interval > limit:
            text = f"{check['url']} did not pass within {limit:.0f} s, asked {count} times; last {measurement.text}"
            return Report(text, {"verdict": Verdict.FAIL.value})
        clock.sleep(interval)


def _passes(url: str) -> Measurement:
    try:
        answer = ask(Request(url, ATTEMPT_SECONDS, wants_body=False))
    except NoAnswerError as error:
        return Measurement(Verdict.INCONCLUSIVE, str(error))
    passed = 200 <= answer.status < 300
    return Measurement(Verdict.PASS if passed else Verdict.FAIL, status_text(answer))


def _asks(step: Step) -> dict[str, Any]:
    try:
        asks = json.loads(step.text(PARAMETER))
    except ValueError as error:
        raise StepError(ExitCode.USAGE, f"the parameter {PARAMETER} is no JSON: {error}") from error
    if not isinstance(asks, dict):
        raise StepError(ExitCode.USAGE, f"the parameter {PARAMETER} is no JSON object")
    return asks


def _authorization(step: Step) -> str:
    """The header of the tenant's Secret, where there is one."""
    folder = step.environment.get("BASCULE_HTTP_DIR", "")
    if not folder:
        return ""
    try:
        value = Path(folder, AUTHORIZATION).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StepError(
            ExitCode.INVALID, f"the run's copy of the key {AUTHORIZATION} is gone: {error.strerror}"
        ) from error
    if not (value.isascii() and value.isprintable()):
        raise StepError(ExitCode.INVALID, f"the key {AUTHORIZATION} of the Secret is no value for a header")
    return value


if __name__ == "__main__":
    sys.exit(main(program))
