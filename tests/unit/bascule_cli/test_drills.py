"""Recovery drills on the command line: what they measured, why they stall, and what to do."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from bascule_api.conditions import ConditionType, Reason, WaitKind
from bascule_api.dr_drill_status import VerdictReason
from bascule_api.failures import FailureType
from bascule_cli.explanations import Verdict, explain
from bascule_cli.resources import Item
from bascule_cli.views import details, drills
from bascule_cli.views.wording import Speech
from tests.support.drill_items import HELD, drill, saying
from tests.support.drill_subjects import REPORT, figures, missed
from tests.support.items import NOW

SPEECH = Speech("kubectl bascule")
PLACE = "shop -n acme-dev"
EDIT = f"kubectl edit drdrill {PLACE}"
GET = f"kubectl bascule get {PLACE}"
HISTORY = f"kubectl bascule drill history {PLACE}"
RERUN = f"kubectl bascule rerun {PLACE}"
WATCH = "kubectl bascule get shop --watch -n acme-dev"
LOOK = f"kubectl get all -n {figures()['namespace']}"


def commands(item: Item) -> list[str]:
    return [advice.command for advice in explain(item, SPEECH, NOW).first.advice if advice.command]


# History


def lines(*items: Item, **asked: Any) -> list[str]:
    asked = {"named": True, "namespaces": False} | asked
    return [line.plain for line in drills.table(drills.held(items), NOW, **asked)]


def test_the_table_has_a_line_for_each_drill_newest_first() -> None:
    recovered = "2026-11-22T11:43:00Z  sha256:dddddddddddd"
    assert lines(drill()) == [
        "RUN  FINISHED  VERDICT       WHY                   RTO    GROSS   RPO  RECOVERY POINT        REPORT",
        f"3    2m ago    Met                                 4m12s  19m12s  7m   {recovered}",
        f"2    1d2h ago  Missed        RTOExceeded           21m    21m     7m   {recovered}",
        "1    2d ago    Inconclusive  RecoveryPointUnknown  4m12s  4m12s",
    ]


def test_of_several_each_line_says_whose_it_is() -> None:
    told = lines(drill("a"), drill("b"), named=False, namespaces=True)
    assert [line.split()[:3] for line in told] == [
        ["NAMESPACE", "NAME", "RUN"],
        *(["acme-dev", name, str(number)] for name in "ab" for number in (3, 2, 1)),
    ]


def test_what_was_never_rehearsed_has_no_lines() -> None:
    assert lines(drill(drills=[])) == []
    assert drills.as_csv([]) == ",".join(drills.COLUMNS) + "\n"


def test_the_csv_has_every_column_with_numbers_and_times_that_programs_read() -> None:
    assert drills.COLUMNS == (
        "namespace", "name", "number", "finished", "verdict", "reason", "rto_seconds", "rto_gross_seconds",
        "rpo_seconds", "recovery_point", "report",
    )  # fmt: skip
    first, _, last = csv.DictReader(io.StringIO(drills.as_csv(drills.held([drill()]))))
    assert first == {
        "namespace": "acme-dev", "name": "shop", "number": "3", "finished": "2026-11-22T06:30:00Z", "verdict": "Met",
        "reason": "ObjectivesMet", "rto_seconds": "252", "rto_gross_seconds": "1152", "rpo_seconds": "420",
        "recovery_point": "2026-11-22T11:43:00Z", "report": REPORT,
    }  # fmt: skip
    assert (last["rpo_seconds"], last["recovery_point"], last["report"]) == ("", "", "")


def test_documents_have_what_the_status_has() -> None:
    told = drills.document(drills.held([drill()]))
    assert [(each["name"], each["number"], each["verdict"]) for each in told] == [
        ("shop", 3, "Met"), ("shop", 2, "Missed"), ("shop", 1, "Inconclusive"),
    ]  # fmt: skip
    assert told[0]["rtoGrossSeconds"] == 1152


def test_a_status_of_a_newer_version_is_not_guessed_at() -> None:
    assert drills.held([drill(drills=[HELD[0] | {"verdict": "Perhaps"}])]) == []


@pytest.mark.parametrize("field", ["rto", "rpo"])
def test_nothing_hostile_gets_into_the_table(field: str) -> None:
    assert "\x1b" not in "\n".join(lines(drill(drills=[HELD[0] | {field: "\x1b[2J"}])))


# Details


def test_the_figures_are_told_beside_the_tree() -> None:
    timeline = {
        "provision": {"startedAt": "2026-11-22T06:20:00Z", "finishedAt": "2026-11-22T06:20:40Z"},
        "validate": {"startedAt": "2026-11-22T06:24:00Z"},
    }
    probes = [{"name": "orders", "passedAt": "2026-11-22T06:24:12Z"}, {"name": "site", "message": "503"}]
    told = dict(details.facts(drill(drill=missed(timeline=timeline, probes=probes, backup="shop@sha256:ab")), NOW))
    assert told["verdict"] == "Missed (RTOExceeded): RTO 21m, RPO 7m"
    assert told["objectives"] == "RTO 15m, RPO 1h"
    assert told["timeline"] == "provision 40s, validate goes on"
    assert told["probes"] == "orders passed, site did not pass"
    assert (told["restored"], told["report"]) == ("shop@sha256:ab", REPORT)
    assert "left" not in told


# Advice


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (VerdictReason.RTO_EXCEEDED, [GET, EDIT]),
        (VerdictReason.RPO_EXCEEDED, [EDIT]),
        (VerdictReason.PROBE_FAILED, ["kubectl bascule logs shop probe-orders -n acme-dev", EDIT]),
        (VerdictReason.RESTORE_FAILED, ["kubectl bascule logs shop restore -n acme-dev"]),
        (VerdictReason.ENVIRONMENT_FAILED, [EDIT, EDIT]),
        (VerdictReason.RECOVERY_POINT_UNKNOWN, [EDIT]),
        (VerdictReason.RECOVERY_POINT_CONTRADICTED, [GET]),
        (VerdictReason.ISOLATION_NOT_ENFORCED, [EDIT]),
        (VerdictReason.NOT_MEASURED, []),
    ],
    ids=str,
)
@pytest.mark.parametrize("ready", [Reason.OBJECTIVES_MISSED, Reason.INCONCLUSIVE])
def test_every_verdict_says_what_to_look_at(ready: Reason, reason: VerdictReason, told: list[str]) -> None:
    probes = [
        {"name": "orders"},
        {"name": "site", "required": False},
        {"name": "b", "passedAt": "2026-11-22T06:24:12Z"},
    ]
    item = saying(ready, drill=missed(reason=reason, probes=probes))
    assert explain(item, SPEECH, NOW).verdict is Verdict.STALLED
    assert commands(item) == [*told, HISTORY, RERUN]


def test_every_verdict_is_tried_here() -> None:
    (cases,) = [mark for mark in test_every_verdict_says_what_to_look_at.pytestmark if "told" in mark.args[0]]  # type: ignore[attr-defined]
    assert {case[0] for case in cases.args[1]} == set(VerdictReason) - {VerdictReason.OBJECTIVES_MET}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (FailureType.MANIFESTS_REFUSED, [RERUN]),
        (FailureType.ENVIRONMENT_FAILED, [EDIT, EDIT, RERUN]),
        (FailureType.BACKUP_NOT_FOUND, ["kubectl bascule logs shop restore -n acme-dev", RERUN, EDIT]),
        (FailureType.RESTORE_FAILED, ["kubectl bascule logs shop restore -n acme-dev", RERUN, EDIT]),
        (
            FailureType.DRILL_NAMESPACE_TAKEN,
            [f"kubectl get namespace {figures()['namespace']} --show-labels", RERUN],
        ),
        (FailureType.SECRET_MISSING, [RERUN]),
    ],
    ids=str,
)
def test_every_failure_of_a_drill_says_what_to_mend(kind: FailureType, told: list[str]) -> None:
    failure = {"type": kind, "step": "restore", "message": "no"}
    assert commands(saying(Reason.STEP_FAILED, failure=failure)) == told


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        (
            {"gate": "declare", "kind": WaitKind.APPROVAL, "subject": "sha256:ab"},
            [f"kubectl bascule approve {PLACE}", "kubectl bascule reject shop --reason WHY -n acme-dev"],
        ),
        ({"gate": "keep", "kind": WaitKind.SOAK}, [LOOK, "kubectl bascule cancel shop --reason WHY -n acme-dev"]),
        ({"gate": "apply", "kind": WaitKind.CHECK}, [WATCH, LOOK]),
        ({"gate": "start", "kind": WaitKind.CAPACITY}, [WATCH]),
    ],
    ids=["approval", "kept", "not ready yet", "capacity"],
)
def test_every_wait_of_a_drill_says_what_ends_it(waits: dict[str, str], told: list[str]) -> None:
    item = saying(Reason.WAITING, ConditionType.RECONCILING, waitingFor=waits, phase="Waiting")
    assert commands(item) == told


def test_a_cancelled_drill_may_be_held_again() -> None:
    assert commands(saying(Reason.CANCELLED)) == [RERUN]
