"""Counting measurements against a gate's limits: a verdict as early as it is certain. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bascule_api.base import Duration
from bascule_api.gates import Gate, Verdict

START_SECONDS = 300
"""What a Job may need until its container runs: a node, an image."""


@dataclass(frozen=True)
class Measurement:
    """What one measurement came to."""

    verdict: Verdict
    text: str
    """What was seen, for people: `0.004`, `status 503`, `no answer: connection refused`."""


@dataclass(frozen=True)
class Tally:
    """Measurements so far."""

    passed: int = 0
    failed: int = 0
    inconclusive: int = 0
    last: str = ""

    @property
    def measured(self) -> int:
        return self.passed + self.failed + self.inconclusive

    def plus(self, measurement: Measurement) -> Tally:
        more = replace(self, last=measurement.text)
        match measurement.verdict:
            case Verdict.PASS:
                return replace(more, passed=self.passed + 1)
            case Verdict.FAIL:
                return replace(more, failed=self.failed + 1)
            case Verdict.INCONCLUSIVE:
                return replace(more, inconclusive=self.inconclusive + 1)

    def verdict(self, gate: Gate) -> Verdict | None:
        """What the gate comes to; None while that is open. A measurement raises one count, so that no two are reached
        at once."""
        if self.failed > gate.failure_limit:
            return Verdict.FAIL
        if self.inconclusive > gate.inconclusive_limit:
            return Verdict.INCONCLUSIVE
        return Verdict.PASS if self.passed >= gate.count else None

    def words(self, gate: Gate) -> str:
        """`2 of 3 passed, 1 failed (1 may), last 0.004`."""
        parts = [f"{self.passed} of {gate.count} passed"]
        if self.failed:
            parts.append(f"{self.failed} failed ({_may(gate.failure_limit)})")
        if self.inconclusive:
            parts.append(f"{self.inconclusive} said nothing ({_may(gate.inconclusive_limit)})")
        return ", ".join(parts) + (f", last {self.last}" if self.last else "")

    def counts(self) -> dict[str, str]:
        """As the results of a step's container."""
        return {"passed": str(self.passed), "failed": str(self.failed), "inconclusive": str(self.inconclusive)}

    @classmethod
    def of(cls, counts: Mapping[str, str], last: str = "") -> Tally:
        """From what `counts` gave; what is missing is none."""
        passed, failed, inconclusive = (int(counts.get(name, "0")) for name in ("passed", "failed", "inconclusive"))
        return cls(passed, failed, inconclusive, last)


def _may(limit: int) -> str:
    return "none may" if limit == 0 else f"{limit} may"


def most(gate: Gate) -> int:
    """How many measurements there can be before there is a verdict."""
    return gate.count + gate.failure_limit + gate.inconclusive_limit


def longest(gate: Gate, procedure_timeout: Duration | None = None) -> int:
    """Seconds until there is a verdict, at most, with what Jobs may need to start."""
    count = most(gate)
    pauses = (count - 1) * gate.interval.seconds
    if gate.procedure is None:
        return START_SECONDS + count * gate.timeout.seconds + pauses
    each = (procedure_timeout or gate.timeout).seconds
    return count * (START_SECONDS + each) + pauses
