"""What a drill tells of itself fits its progress, and holds whatever a step may report."""

from __future__ import annotations

import json

import pytest

from bascule_api.dr_drill_status import DrillFigures, DrillVerdict, SearchedKind
from bascule_workers.plans.dr_drills import LATEST
from bascule_workers.plans.drill_progress import DrillRecord, facts, known
from bascule_workers.plans.drill_verdicts import ProbeOutcome

DECLARED = 1_767_268_800


def record() -> DrillRecord:
    """The largest that there can be."""
    probes = {
        name: ProbeOutcome(name, passed_at=DECLARED, data_as_of=DECLARED - index, message="é" * 9000)
        for index, name in enumerate(f"{number:040}" for number in range(16))
    }
    made = DrillRecord(
        "bascule-drill-0123456789abcdef0123", DECLARED, order=list(probes), probes=probes, backup="b" * 999
    )
    made.searched = [SearchedKind(kind=f"Kind{number}", before=number) for number in range(30)]
    made.left = [f"{number} is held by {'x' * 400}" for number in range(30)]
    made.figures = DrillFigures(verdict=DrillVerdict.MISSED, message="m" * 256, rto="4m12s", rto_seconds=252)
    for part in ("decide", "provision", "restore", "validate", "kept", "teardown"):
        made.begins(part, DECLARED)
        made.ends(part, DECLARED + 60)
    return made


@pytest.mark.parametrize("room", [100, 1500, 3000, 5000, 8000, 50_000])
def test_facts_fit_the_room(room: int) -> None:
    told = facts(record().status(), room)

    assert len(json.dumps(told, ensure_ascii=False).encode()) <= room
    assert bool(told) == (room > 100)
    if told:
        assert (told["drill"]["verdict"], told["drill"]["rtoSeconds"]) == ("Missed", 252)


def test_a_status_keeps_its_own_bounds() -> None:
    status = record().status()

    assert (len(status.probes), len(status.searched), len(status.left)) == (16, 24, 20)
    assert max(len(text) for text in (*status.left, status.backup, *(probe.message for probe in status.probes))) <= 256
    assert status.data_as_of is not None
    assert status.data_as_of.timestamp() == DECLARED - 15


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(DECLARED, DECLARED), (0, 0), (-5, 0), (LATEST, LATEST), (LATEST + 1, 0), (10**18, 0)],
)
def test_a_time_that_nobody_could_write_is_none(seconds: int, expected: int) -> None:
    assert known(seconds) == expected


def test_a_part_that_is_known_better_later_is_corrected() -> None:
    made = DrillRecord("n", DECLARED)
    made.begins("restore", DECLARED + 5)
    made.ends("restore", DECLARED + 90, began=DECLARED + 10)
    made.ends("restore", DECLARED + 120)

    span = made.spans["restore"]
    assert (span.started, span.finished) == (DECLARED + 10, DECLARED + 120)
