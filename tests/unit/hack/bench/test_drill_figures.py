"""The arithmetic of the bench's drills: what is a drill's own work, and what is overhead."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.history.v1 import HistoryEvent

from hack.bench.drill_figures import Call, Span, bare_job, calls, covered, middle, overhead, split


def event(number: int, at: int, **attributes: Any) -> HistoryEvent:
    return HistoryEvent(event_id=number, event_time=Timestamp(seconds=at), **attributes)


def scheduled(number: int, at: int, activity: str) -> HistoryEvent:
    return event(number, at, activity_task_scheduled_event_attributes={"activity_type": {"name": activity}})


def ended(number: int, at: int, of: int, how: str = "completed") -> HistoryEvent:
    return event(number, at, **{f"activity_task_{how}_event_attributes": {"scheduled_event_id": of}})


def test_activities_are_read_from_a_history_however_they_ended() -> None:
    history = [
        event(1, 0, workflow_execution_started_event_attributes={}),
        scheduled(2, 1, "dr_drill.plan"),
        ended(3, 2, of=2),
        scheduled(4, 3, "dr_drill.probe"),
        scheduled(5, 3, "dr_drill.probe"),
        ended(6, 5, of=5, how="failed"),
        ended(7, 9, of=4, how="timed_out"),
        scheduled(8, 9, "dr_drill.teardown"),
    ]

    assert calls(history) == [
        Call("dr_drill.plan", Span(1, 2)),
        Call("dr_drill.probe", Span(3, 5)),
        Call("dr_drill.probe", Span(3, 9)),
    ]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([], 0, id="nothing covers nothing"),
        pytest.param([Span(2, 5)], 3, id="one"),
        pytest.param([Span(6, 8), Span(1, 3)], 4, id="two, in whatever order"),
        pytest.param([Span(2, 5), Span(3, 7), Span(4, 6)], 5, id="at the same time counts once"),
        pytest.param([Span(-5, 2), Span(9, 30)], 3, id="what lies outside does not count"),
        pytest.param([Span(20, 30)], 0, id="wholly outside"),
    ],
)
def test_what_is_covered(spans: list[Span], expected: float) -> None:
    assert covered(Span(0, 10), spans) == expected


def test_the_parts_of_the_overhead_add_up_to_it() -> None:
    life, own = Span(0, 40), [Span(13, 18), Span(20, 24), Span(21, 25)]
    made = [
        Call("run.prepare", Span(1, 2)),
        Call("dr_drill.plan", Span(2, 3)),
        Call("dr_drill.isolated", Span(4, 7)),
        Call("dr_drill.isolated", Span(8, 12)),
        Call("dr_drill.restore", Span(12.5, 19)),
        Call("dr_drill.probe", Span(19, 25)),
        Call("dr_drill.probe", Span(19, 26)),
        Call("dr_drill.teardown", Span(27, 35)),
        Call("of.another.kind", Span(35, 36)),
    ]

    shares = split(life, made, own)

    assert overhead(life, own) == 30
    assert sum(shares.values()) == pytest.approx(30)
    assert shares == {
        "plan": 2,
        "isolate": 8,
        "restore": 1.5,
        "probes": 2,
        "teardown": 8,
        "begin": 1,
        "show": 4,
        "between": 3.5,
    }


def test_the_middle_of_each_figure() -> None:
    rounds = [{"total": 3.0, "of report": 1.0}, {"total": 1.0}, {"total": 2.0, "of report": 5.0}]

    assert middle(rounds) == {"total": 2.0, "of report": 1.0}


def test_a_raw_job_runs_the_same_and_belongs_to_nobody() -> None:
    container = {"name": "step", "image": "registry.example.com/step:1"}
    pod = {"serviceAccountName": "default", "serviceAccount": "default", "containers": [container]}
    job = {
        "metadata": {"name": "bascule-x", "labels": {"bascule.dev/run": "u.1"}, "resourceVersion": "7"},
        "spec": {
            "backoffLimit": 0,
            "selector": {"matchLabels": {"controller-uid": "u"}},
            "template": {"metadata": {"labels": {"bascule.dev/run": "u.1"}}, "spec": pod},
        },
        "status": {"succeeded": 1},
    }

    assert bare_job(job, "raw", "bench") == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "raw"},
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"serviceAccountName": "bench", "containers": [container]}},
        },
    }
