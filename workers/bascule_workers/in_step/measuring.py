"""One measurement of a gate. It runs in a process of its own: what a server sends, and what a tenant's expression makes
of it, may take neither more time nor more memory than it is given.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlencode

from bascule_api.gates import Gate, HttpMeasure, PrometheusMeasure, Verdict
from bascule_workers.in_step.conditions import DEFAULT_HTTP, ConditionError, holds, names_of
from bascule_workers.in_step.http_client import Answer, NoAnswerError, Request, ask
from bascule_workers.plans.measurements import Measurement

MEMORY_LIMIT = 768 << 20
"""Bytes of address space of a measurement's process."""
TEXT_LIMIT = 256
ACCEPTED = {"Accept": "application/json, */*"}
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Asked:
    """What is measured, with what it is measured with."""

    gate: Gate
    authorization: str = field(default="", repr=False)


def measured(asked: Asked) -> Measurement:
    """Measure once, within the gate's timeout."""
    return isolated(lambda: measure(asked), asked.gate.timeout.seconds)


def isolated(measuring: Callable[[], Measurement], seconds: float) -> Measurement:
    """What it comes to in a process of its own; Inconclusive when that takes too long or dies."""
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_in_child, args=(theirs, measuring), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            return Measurement(Verdict.INCONCLUSIVE, f"took longer than {seconds:g} s")
        verdict, text = ours.recv()
        return Measurement(Verdict(verdict), text)
    except EOFError:
        return Measurement(Verdict.INCONCLUSIVE, "it could not be evaluated: too much memory, or a fault")
    finally:
        process.kill()
        process.join()
        ours.close()


def _in_child(answer: Connection, measuring: Callable[[], Measurement]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = measuring()
    answer.send((found.verdict.value, found.text[:TEXT_LIMIT]))


def measure(asked: Asked) -> Measurement:
    """Ask and judge. Takes as long as the server likes."""
    gate = asked.gate
    try:
        if gate.prometheus is not None:
            return _prometheus(gate.prometheus, asked)
        if gate.http is not None:
            return _http(gate.http, asked)
    except (NoAnswerError, ConditionError) as error:
        # A server may send back what it was sent.
        text = str(error).replace(asked.authorization, "***") if asked.authorization else str(error)
        return Measurement(Verdict.INCONCLUSIVE, text)
    raise ValueError("a gate asks by HTTP or of Prometheus")


def _judged(condition: str, values: dict[str, Any], text: str) -> Measurement:
    return Measurement(Verdict.PASS if holds(condition, values) else Verdict.FAIL, text)


# HTTP


def _http(measure: HttpMeasure, asked: Asked) -> Measurement:
    condition = asked.gate.success_condition
    request = Request(
        measure.url,
        asked.gate.timeout.seconds,
        headers=ACCEPTED,
        authorization=asked.authorization,
        wants_body=condition is not None,
    )
    return judged_answer(ask(request), condition)


def judged_answer(answer: Answer, condition: str | None) -> Measurement:
    """Whether an answer meets the condition. Raises ConditionError."""
    values = {"status": answer.status, "body": answer.body.decode(errors="replace"), "json": _json(answer.body)}
    return _judged(condition or DEFAULT_HTTP, values, status_text(answer))


def status_text(answer: Answer) -> str:
    """The status of an answer, for people."""
    away = f", a redirect to {answer.elsewhere}, which is not followed" if answer.elsewhere else ""
    return f"status {answer.status}{away}"


def _json(body: bytes) -> Any:
    """The parsed body; None where it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


# Prometheus


def _prometheus(measure: PrometheusMeasure, asked: Asked) -> Measurement:
    seconds = asked.gate.timeout.seconds
    answer = ask(
        Request(
            f"{measure.address.rstrip('/')}/api/v1/query",
            seconds,
            method="POST",
            headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
            authorization=asked.authorization,
            body=urlencode({"query": measure.query, "timeout": f"{seconds}s"}).encode(),
        )
    )
    values, warnings = samples(answer)
    named: dict[str, Any] = {"results": values}
    if len(values) == 1:
        named["result"] = values[0]
    text = ", ".join(f"{value:.4g}" for value in values[:5]) + (", …" if len(values) > 5 else "")
    condition = asked.gate.success_condition or ""
    if len(values) > 1 and "result" in names_of(condition):
        raise NoAnswerError(f"the query gave {len(values)} series ({text}): aggregate them, or write results")
    return _judged(condition, named, f"{text} (Prometheus warns: {warnings})" if warnings else text)


def samples(answer: Answer) -> tuple[list[float], str]:
    """The numbers of an instant query, and what the server warns of. Raises NoAnswerError where they are none."""
    document = _json(answer.body)
    if not isinstance(document, dict) or document.get("status") != "success":
        raise NoAnswerError(f"Prometheus says: {_complaint(document)} ({status_text(answer)})")
    data = document.get("data")
    found = _values(data if isinstance(data, dict) else {})
    if not found:
        raise NoAnswerError("the query gave no series")
    if any(math.isnan(value) for value in found):
        raise NoAnswerError("the query gave NaN")
    warnings = document.get("warnings")
    return found, "; ".join(str(warning) for warning in warnings) if isinstance(warnings, list) else ""


def _complaint(document: Any) -> str:
    said = document.get("error") if isinstance(document, dict) else None
    return str(said) if said else "no answer of its API"


def _values(data: dict[str, Any]) -> list[float]:
    """The samples of a vector or scalar. Raises NoAnswerError for what is neither."""
    kind, result = data.get("resultType"), data.get("result")
    try:
        match kind, result:
            case "scalar", [_, value]:
                return [float(value)]
            case "vector", [*series]:
                return [float(one["value"][1]) for one in series]
    except (ValueError, TypeError, KeyError, IndexError):
        raise NoAnswerError("the query gave something that is not a number") from None
    raise NoAnswerError(f"the query gave a {kind}: an instant query of numbers is wanted")
