"""How DRDrills stand: the last verdict, or that they are overdue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bascule_operator import metrics, standings
from bascule_operator.decisions.drill_standings import Standing, standing
from bascule_operator.store import Key, Store
from tests.support.drill_subjects import ADrill, drill, figures, missed
from tests.support.subjects import NOW, tenant

NIGHTLY = {"cron": "0 3 * * *"}


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def held(*past: dict[str, Any]) -> ADrill:
    return drill().running().finished().saying(drills=[told | {"number": 1} for told in past])


def due(made: ADrill, **schedule: Any) -> ADrill:
    return made.with_spec(schedule=NIGHTLY).saying(schedule={"timetable": "0 3 * * * Etc/UTC"} | schedule)


CASES = [
    pytest.param(drill(), Standing.NEW, id="never rehearsed"),
    pytest.param(held(figures()), Standing.MET, id="met"),
    pytest.param(held(missed(), figures()), Standing.MISSED, id="missed after it was met"),
    pytest.param(held(figures(verdict="Inconclusive", reason="NotMeasured")), Standing.INCONCLUSIVE, id="inconclusive"),
    pytest.param(due(held(figures()), next=at(3)), Standing.MET, id="not due yet"),
    pytest.param(due(held(figures()), next=at(-0.5)), Standing.MET, id="due, and may still start"),
    pytest.param(due(held(figures()), next=at(-2)), Standing.OVERDUE, id="due for longer than its deadline"),
    pytest.param(due(held(figures()), next=at(-2)).with_spec(suspend=True), Standing.MET, id="suspended"),
    pytest.param(due(drill().running(), next=at(-2)), Standing.NEW, id="a drill goes on"),
    pytest.param(due(held(figures()), next=at(20), missedAt=at(2)), Standing.OVERDUE, id="missed since the last drill"),
    pytest.param(due(held(figures()), next=at(20), missedAt=at(-9)), Standing.MET, id="held since it was missed"),
    pytest.param(due(drill(), next=at(20), missedAt=at(-1)), Standing.OVERDUE, id="missed, and never held"),
    pytest.param(drill().saying(drills=[{"number": "many"}]), None, id="a status that cannot be read"),
]


@pytest.mark.parametrize(("made", "expected"), CASES)
def test_how_a_drill_stands(made: ADrill, expected: Standing | None) -> None:
    assert standing(made.body, NOW) is expected


def test_tenants_drills_are_counted_and_forgotten_with_them() -> None:
    store = Store()
    for name, made in (("a", held(figures())), ("b", held(missed())), ("c", drill())):
        store.put(Key("DRDrill", "acme-dev", name), made.with_metadata(name=name).body)
    store.put(Key("Tenant", "", "acme"), tenant("acme", "acme-dev").model_dump(mode="json", by_alias=True))
    standings.tell(store, NOW)
    assert counted() == {("acme", state): int(state in ("Met", "Missed", "New")) for state in Standing}
    for name in "abc":
        store.remove(Key("DRDrill", "acme-dev", name))
    standings.tell(store, NOW)
    assert counted() == {}


def counted() -> dict[tuple[str, str], int]:
    (family,) = metrics.DRILLS.collect()
    return {(sample.labels["tenant"], sample.labels["state"]): int(sample.value) for sample in family.samples}
