"""What the workflows of a drill call is what a worker carries out."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

import pytest
from temporalio import activity

from bascule_workers.activities import dr_drills
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities
from bascule_workers.activities.drill_probes import DrillProbeActivities
from bascule_workers.activities.drill_reports import DrillReportActivities
from bascule_workers.activities.drill_restores import DrillRestoreActivities
from bascule_workers.messages import NotYet

PAIRS = [
    (dr_drills.DrillEnvironments, DrillEnvironmentActivities),
    (dr_drills.DrillRestores, DrillRestoreActivities),
    (dr_drills.DrillProbes, DrillProbeActivities),
    (dr_drills.DrillReports, DrillReportActivities),
]
DECLARED = [
    pytest.param(declared, getattr(carried_out, name), id=name)
    for protocol, carried_out in PAIRS
    for name, declared in inspect.getmembers(protocol, inspect.isfunction)
    if hasattr(declared, "__temporal_activity_definition")
]


def _answers(method: Any) -> set[Any]:
    told = get_type_hints(method)["return"]
    return set(get_args(told)) or {told}


@pytest.mark.parametrize(("declared", "carried_out"), DECLARED)
def test_an_activity_of_a_drill_is_carried_out_as_it_is_declared(declared: Any, carried_out: Any) -> None:
    assert activity._Definition.must_from_callable(declared).name == (
        activity._Definition.must_from_callable(carried_out).name
    )
    assert get_type_hints(declared)["request"] is get_type_hints(carried_out)["request"]
    # One that never has to be asked again may say so.
    assert _answers(declared) - {NotYet} == _answers(carried_out) - {NotYet}


def test_all_are_looked_at() -> None:
    assert len(DECLARED) == 10
