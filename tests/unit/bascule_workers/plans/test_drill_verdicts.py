"""Whether a drill met its objectives: one case for each row of the verdict's table."""

from __future__ import annotations

from typing import Any

import pytest

from bascule_api.base import Timeout
from bascule_api.conditions import Phase
from bascule_api.dr_drill_specs import Objectives
from bascule_api.failures import Failure, FailureType
from bascule_workers.plans.drill_verdicts import SKEW_SECONDS, Measured, ProbeOutcome, figures

START = 1_767_268_800  # 2026-01-01T12:00:00Z
BOTH = Objectives(rto=Timeout("15m"), rpo=Timeout("1h"))
NOTHING = Objectives()


def passed(after: int = 252, *, required: bool = True, seen: int = 0, name: str = "rows") -> ProbeOutcome:
    return ProbeOutcome(name, required, START + after, START - seen if seen else 0)


def failed(*, required: bool = True, message: str = "", name: str = "web") -> ProbeOutcome:
    return ProbeOutcome(name, required, 0, 0, message)


def measured(**changes: Any) -> Measured:
    """A drill that met its objectives: 252 s, with data of 420 s before the disaster."""
    given: dict[str, Any] = {
        "phase": Phase.SUCCEEDED,
        "started": START,
        "objectives": BOTH,
        "recovery_point": START - 420,
        "probes": (passed(),),
    }
    return Measured(**given | changes)


def ended(step: str, kind: FailureType, message: str = "it broke") -> dict[str, Any]:
    return {"phase": Phase.FAILED, "failure": Failure(step=step, type=kind, message=message), "probes": ()}


def case(expected: str, name: str, **changes: Any) -> Any:
    return pytest.param(measured(**changes), *expected.split("/"), id=name)


@pytest.mark.parametrize(
    ("drill", "verdict", "reason"),
    [
        case("Met/ObjectivesMet", "all passed within the objectives"),
        case("Met/ObjectivesMet", "all passed, and there are no objectives", objectives=NOTHING, recovery_point=0),
        case("Met/ObjectivesMet", "just as long as the objective", probes=(passed(900),)),
        case("Missed/RTOExceeded", "a second longer than the objective", probes=(passed(901),)),
        case("Met/ObjectivesMet", "too long only with waiting for people", probes=(passed(5000),), waited=4500),
        case("Missed/RTOExceeded", "too long without waiting for people too", probes=(passed(5000),), waited=4000),
        case("Missed/RTOExceeded", "the last required probe counts", probes=(passed(10), passed(901, name="late"))),
        case("Met/ObjectivesMet", "one that is not required does not", probes=(passed(), passed(901, required=False))),
        case("Met/ObjectivesMet", "one that is not required may fail", probes=(passed(), failed(required=False))),
        case("Missed/ProbeFailed", "one that is required may not", probes=(passed(), failed())),
        case("Missed/ProbeFailed", "even where there are no objectives", probes=(failed(),), objectives=NOTHING),
        case("Met/ObjectivesMet", "data just as old as the objective", recovery_point=START - 3600),
        case("Missed/RPOExceeded", "data a second older", recovery_point=START - 3601),
        case("Inconclusive/RecoveryPointUnknown", "no recovery point", recovery_point=0),
        case("Inconclusive/RecoveryPointUnknown", "no recovery point, a probe tells", recovery_point=0,
             probes=(passed(seen=60),)),
        case("Met/ObjectivesMet", "no recovery point, and nobody asks", recovery_point=0,
             objectives=Objectives(rto=Timeout("15m"))),
        case("Inconclusive/RecoveryPointUnknown", "a recovery point after the disaster", recovery_point=START + 1),
        case("Met/ObjectivesMet", "a recovery point at the disaster", recovery_point=START),
        case("Met/ObjectivesMet", "a recovery point after it, and nobody asks", recovery_point=START + 1,
             objectives=Objectives(rto=Timeout("15m"))),
        case("Missed/RTOExceeded", "too long comes before no recovery point", recovery_point=0, probes=(passed(901),)),
        case("Missed/RecoveryPointContradicted", "a probe saw older data", probes=(passed(seen=3601),)),
        case("Met/ObjectivesMet", "a probe saw older data, still within", probes=(passed(seen=3600),)),
        case("Missed/RPOExceeded", "the claim itself is too old", recovery_point=START - 4000,
             probes=(passed(seen=5000),)),
        case("Met/ObjectivesMet", "a probe that failed says nothing of data",
             probes=(passed(), ProbeOutcome("x", False, 0, START - 9999))),
        case("Missed/RestoreFailed", "the restore failed", **ended("restore", FailureType.RESTORE_FAILED)),
        case("Missed/RestoreFailed", "the backup is missing", **ended("restore", FailureType.BACKUP_NOT_FOUND)),
        case("Missed/RestoreFailed", "the backup holds too much", **ended("restore", FailureType.BACKUP_FORBIDDEN)),
        case("Missed/RestoreFailed", "the restore took too long", **ended("restore", FailureType.STEP_TIMED_OUT)),
        case("Inconclusive/NotMeasured", "the restore's pod never ran", **ended("restore", FailureType.STEP_FAILED)),
        case("Inconclusive/NotMeasured", "the registry is away", **ended("restore", FailureType.REGISTRY_UNAVAILABLE)),
        case("Inconclusive/NotMeasured", "the store is away", **ended("restore", FailureType.BACKUP_UNREACHABLE)),
        case("Inconclusive/NotMeasured", "our own fault", **ended("restore", FailureType.INTERNAL)),
        case("Inconclusive/NotMeasured", "policy forbids", **ended("restore", FailureType.POLICY_DENIED)),
        case("Missed/EnvironmentFailed", "never ready", **ended("apply", FailureType.ENVIRONMENT_FAILED)),
        case("Missed/EnvironmentFailed", "never ready later", **ended("apply-after", FailureType.ENVIRONMENT_FAILED)),
        case("Inconclusive/NotMeasured", "manifests refused", **ended("plan", FailureType.MANIFESTS_REFUSED)),
        case("Inconclusive/NotMeasured", "name taken", **ended("provision", FailureType.DRILL_NAMESPACE_TAKEN)),
        case("Inconclusive/NotMeasured", "not approved", **ended("declare", FailureType.APPROVAL_TIMED_OUT)),
        case("Inconclusive/NotMeasured", "timed out", **ended("restore", FailureType.RUN_TIMED_OUT)),
        case("Inconclusive/NotMeasured", "timed out nowhere", **ended("", FailureType.RUN_TIMED_OUT)),
        case("Inconclusive/NotMeasured", "cancelled", phase=Phase.CANCELLED, probes=()),
        case("Inconclusive/NotMeasured", "cancelled after all had passed", phase=Phase.CANCELLED),
        case("Inconclusive/IsolationNotEnforced", "a connection got out", leak="it answered", probes=()),
        case("Inconclusive/NotMeasured", "declared after the start", declared_at=START + SKEW_SECONDS + 1),
        case("Met/ObjectivesMet", "declared by a clock that is ahead", declared_at=START + SKEW_SECONDS),
        case("Missed/ProbeFailed", "declared after it, and failed", declared_at=START + 9999, probes=(failed(),)),
        case("Met/ObjectivesMet", "declared before the start", declared_at=START - 600, recovery_point=START - 700),
        case("Missed/RTOExceeded", "declared long before it", declared_at=START - 700, recovery_point=START - 800),
    ],
)  # fmt: skip
def test_verdict(drill: Measured, verdict: str, reason: str) -> None:
    told = figures(drill)

    assert (told.verdict, told.reason) == (verdict, reason)
    assert told.message


@pytest.mark.parametrize(
    ("drill", "expected"),
    [
        pytest.param(measured(), ("4m12s", 252, 252, "7m", 420), id="plain"),
        pytest.param(measured(waited=100), ("2m32s", 152, 252, "7m", 420), id="net of waiting"),
        pytest.param(
            measured(declared_at=START - 600, recovery_point=START - 630),
            ("14m12s", 852, 852, "30s", 30),
            id="declared earlier",
        ),
        pytest.param(measured(waited=9999), ("0s", 0, 252, "7m", 420), id="waited longer than it took"),
        pytest.param(measured(probes=(passed(-5),)), ("0s", 0, 0, "7m", 420), id="clocks that disagree"),
        pytest.param(measured(probes=(passed(seen=500),)), ("4m12s", 252, 252, "8m20s", 500), id="older data seen"),
        pytest.param(measured(probes=(passed(seen=60),)), ("4m12s", 252, 252, "7m", 420), id="newer data seen"),
        pytest.param(measured(probes=(failed(),)), ("", None, None, "7m", 420), id="nothing recovered"),
        pytest.param(measured(recovery_point=0), ("4m12s", 252, 252, "", None), id="no recovery point"),
        pytest.param(measured(recovery_point=START + 5), ("4m12s", 252, 252, "", None), id="one after the disaster"),
        pytest.param(measured(declared_at=START + 100), ("", None, None, "", None), id="began before it"),
        pytest.param(
            measured(phase=Phase.CANCELLED), ("", None, None, "7m", 420), id="cancelled: no RTO, though probes passed"
        ),
    ],
)
def test_figures(drill: Measured, expected: tuple[Any, ...]) -> None:
    told = figures(drill)

    assert (told.rto, told.rto_seconds, told.rto_gross_seconds, told.rpo, told.rpo_seconds) == expected


@pytest.mark.parametrize(
    ("drill", "message"),
    [
        pytest.param(measured(), "RTO 4m12s of 15m, RPO 7m of 1h", id="met"),
        pytest.param(measured(objectives=NOTHING), "RTO 4m12s, RPO 7m", id="met without objectives"),
        pytest.param(
            measured(probes=(passed(901),), recovery_point=START - 3700),
            "RTO 15m1s exceeds 15m; RPO 1h1m40s exceeds 1h",
            id="both exceeded",
        ),
        pytest.param(
            measured(probes=(passed(seen=3601),)),
            "RPO 1h1s exceeds 1h: a probe saw data up to 2026-01-01T10:59:59Z, the restore claims 2026-01-01T11:53:00Z",
            id="contradicted",
        ),
        pytest.param(
            measured(probes=(failed(message="connection refused"), failed(name="db"), passed())),
            "web, db did not pass: connection refused",
            id="probes failed",
        ),
        pytest.param(measured(**ended("plan", FailureType.MANIFESTS_REFUSED)), "plan: it broke", id="failed"),
    ],
)
def test_message(drill: Measured, message: str) -> None:
    assert figures(drill).message == message


def test_a_message_fits_the_status() -> None:
    drill = measured(probes=tuple(failed(name="p" * 40, message="é" * 4000) for _ in range(16)))

    assert len(figures(drill).message) <= 256
