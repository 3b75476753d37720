"""What the bench's watch notes of objects of any kind."""

from __future__ import annotations

from typing import Any

import pytest

from hack.bench.cluster_api import ClusterApi
from hack.bench.lives import Life, Lives, job_over, never, run_over


def job(*conditions: tuple[str, str]) -> dict[str, Any]:
    metadata = {"name": "restore", "namespace": "bascule-drill-1", "uid": "u"}
    told = [{"type": kind, "status": status} for kind, status in conditions]
    return {"metadata": metadata, "status": {"conditions": told} if told else {}}


def noted(*events: tuple[str, dict[str, Any]]) -> Lives:
    lives = Lives(ClusterApi.__new__(ClusterApi), "/apis/batch/v1/jobs", job_over)
    for moment, (kind, body) in enumerate(events):
        lives.note(kind, body, float(moment))
    return lives


def test_a_life_is_noted_with_its_moments() -> None:
    complete = job(("Suspended", "False"), ("Complete", "True"))
    lives = noted(("ADDED", job()), ("MODIFIED", complete), ("MODIFIED", complete), ("DELETED", complete))

    [life] = lives.inside("bascule-drill-1")
    assert (life.added, life.over, life.gone) == (0.0, 1.0, 3.0)
    assert lives.named("rest") == [life]
    assert (lives.named("probe"), lives.inside("default")) == ([], [])


def test_what_is_deleted_before_it_is_over_never_was() -> None:
    [life] = noted(("ADDED", job()), ("DELETED", job())).seen.values()
    assert life == Life(added=0.0, body=job(), over=None, gone=1.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(job(), False, id="new"),
        pytest.param(job(("Complete", "True")), True, id="complete"),
        pytest.param(job(("Failed", "True")), True, id="failed"),
        pytest.param(job(("FailureTarget", "True"), ("Complete", "False")), False, id="about to fail"),
    ],
)
def test_when_a_job_is_over(body: dict[str, Any], expected: bool) -> None:
    assert job_over(body) is expected


@pytest.mark.parametrize(
    ("phase", "expected"),
    [(None, False), ("Running", False), ("Waiting", False), ("Succeeded", True), ("Failed", True)],
)
def test_when_a_run_is_over(phase: str | None, expected: bool) -> None:
    assert run_over({"status": {"phase": phase}} if phase else {}) is expected


def test_what_does_not_end_by_itself() -> None:
    assert not never({"status": {"phase": "Terminating"}})


async def test_what_takes_too_long_is_told() -> None:
    with pytest.raises(RuntimeError, match="after 0 s still not: the restore over"):
        await noted(("ADDED", job())).until(lambda seen: all(one.over for one in seen), 0, "the restore over")
