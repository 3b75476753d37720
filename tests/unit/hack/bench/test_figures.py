"""The bench's arithmetic: percentiles, writes of an audit log, ends of steps, floors, counters."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from hack.bench import figures
from hack.bench.figures import Finished, Floor, Write

USER = "system:serviceaccount:bascule-system:bascule-operator"


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="the median of three"),
        pytest.param([4.0, 1.0, 2.0, 3.0], 50, 2.0, id="of an even number the lower one"),
        pytest.param([float(n) for n in range(1, 101)], 95, 95.0, id="95 of a hundred"),
        pytest.param([1.0, 9.0], 99, 9.0, id="nearly all of a few is the largest"),
        pytest.param([7.0], 50, 7.0, id="of one value it is that one"),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float) -> None:
    assert figures.percentile(values, percent) == expected


def test_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(figures.percentile([], 50))


def audit_line(user: str = USER, stage: str = "ResponseComplete", code: int = 200, **about: str) -> str:
    event: dict[str, Any] = {
        "stage": stage,
        "verb": about.pop("verb", "patch"),
        "user": {"username": user},
        "objectRef": {"resource": "imagebuilds", "namespace": "bench-dev", "name": "web"} | about,
        "responseStatus": {"code": code},
    }
    return json.dumps(event)


def test_writes_are_told_by_verb_and_subresource() -> None:
    lines = [audit_line(), audit_line(subresource="status"), audit_line(verb="create", resource="events", code=201)]

    found = figures.writes(lines, USER)

    assert [write.request for write in found] == ["patch imagebuilds", "patch imagebuilds/status", "create events"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(audit_line(user="admin"), id="of somebody else"),
        pytest.param(audit_line(user="admin", name=USER), id="of somebody else about the operator"),
        pytest.param(audit_line(stage="ResponseStarted"), id="not over yet"),
        pytest.param(audit_line()[:-9], id="half a line"),
    ],
)
def test_what_is_no_write_of_the_operator_is_left_out(line: str) -> None:
    assert figures.writes([line], USER) == []


def test_refused_writes_are_counted_apart() -> None:
    done, refused = Write("patch a/status", "n", "x", 200), Write("patch a/status", "n", "x", 409)

    assert figures.per_resource([done, done, done, refused], 2) == {"patch a/status": 1.5, "patch a/status (409)": 0.5}


def test_writes_besides_visible_changes_leave_events_and_tenants_out() -> None:
    own = [Write("patch imagebuilds", "n", "x", 200)] + [Write("patch imagebuilds/status", "n", "x", 200)] * 5
    others = [Write("create events", "n", "x", 201), Write("patch tenants/status", "", "t", 200)]

    assert figures.besides_visible(own + others, visible_changes=4, resources=2) == 1.0


def status(**changes: Any) -> dict[str, Any]:
    known = {"phase": "Running", "steps": [{"name": "build", "state": "Running", "attempts": 1}]}
    return {"status": known | changes}


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        pytest.param({"phase": "Succeeded"}, True, id="a phase"),
        pytest.param({"steps": [{"name": "build", "state": "Succeeded", "attempts": 1}]}, True, id="a step's end"),
        pytest.param({"conditions": [{"type": "Ready", "status": "True"}]}, True, id="a condition"),
        pytest.param({"image": {"digest": "sha256:1"}}, True, id="an image"),
        pytest.param({"progress": {"message": "on it"}}, False, id="wording"),
        pytest.param({"run": {"runId": "1", "progressNumber": 4}}, False, id="ids and counters"),
    ],
)
def test_what_counts_as_a_visible_change(changes: dict[str, Any], seen: bool) -> None:
    assert (figures.visible(status()) != figures.visible(status(**changes))) is seen


def audit_event(step: str, action: str, at: float, kind: str = figures.STEP_EVENT) -> str:
    return json.dumps({"type": kind, "time": at, "data": {"run": "u/1", "step": step, "action": action}})


def test_a_step_ends_with_its_last_activity_and_not_with_its_counterweight() -> None:
    lines = [
        audit_event("build", "image_build.check_access", 1.0),
        audit_event("build", "image_build.build", 2.0),
        audit_event("build", "image_build.build", 1.5, kind="dev.bascule.step.started"),
        audit_event("build", "image_build.remove_candidate", 9.0),
        '{"type": "dev.bas',
    ]

    found = figures.finished(lines, float)

    assert len(found) == 3
    assert figures.step_ends(found) == {("u", "build"): 2.0}


def test_step_ends_are_kept_apart_by_resource() -> None:
    found = [Finished("a", "sign", "image_build.sign", 1.0), Finished("b", "sign", "image_build.sign", 2.0)]

    assert figures.step_ends(found) == {("a", "sign"): 1.0, ("b", "sign"): 2.0}


@pytest.mark.parametrize(
    ("floor", "seconds", "ceiling"),
    [
        pytest.param(Floor(12.0, 5.0), 12.0, "temporal", id="Temporal is slower"),
        pytest.param(Floor(3.0, 5.0), 5.0, "kubernetes", id="the API server is slower"),
    ],
)
def test_the_floor_is_the_slower_server(floor: Floor, seconds: float, ceiling: str) -> None:
    assert (floor.seconds, floor.ceiling) == (seconds, ceiling)
    assert floor.both == floor.temporal_s + floor.api_s


def test_the_ratio_says_how_near_the_floor_is() -> None:
    assert figures.ratio(12.0, 20.0) == 0.6
    assert math.isnan(figures.ratio(12.0, 0.0))


METRICS = """\
# TYPE requests_total counter
requests_total{code="200",resource="imagebuilds",verb="get"} 4.0
requests_total{code="409",resource="imagebuilds",verb="get"} 1.0
requests_total_created{code="200",resource="imagebuilds",verb="get"} 1.7e+09
"""


def test_counters_are_read_by_the_labels_that_matter() -> None:
    assert figures.metric(METRICS, "requests_total", ("verb", "resource")) == {"get imagebuilds": 5.0}


def test_what_a_counter_gained_is_told_per_resource_and_only_where_it_rose() -> None:
    assert figures.gained({"get": 4.0, "list": 1.0}, {"get": 10.0, "list": 1.0, "patch": 3.0}, 3) == {
        "get": 2.0,
        "patch": 1.0,
    }
