"""What others published under the same tags: read from raw statuses, and no more of it than is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bascule_operator.decisions.tags import LATEST, MovedTag, Published, latest, published_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TAGS = {"repository": "r.test/acme/web", "tags": [{"name": "v1", "digest": "sha256:b", "previousDigest": "sha256:a"}]}


def past(phase: str, finished: datetime = AT) -> dict[str, Any]:
    return {"number": 1, "phase": phase, "finishedAt": finished.strftime("%Y-%m-%dT%H:%M:%SZ")}


def test_what_is_published_is_the_work_of_the_last_run_that_succeeded() -> None:
    status = {"published": TAGS, "history": [past("Failed", AT + timedelta(hours=1)), past("Succeeded")]}
    moved = (MovedTag("v1", "sha256:b", "sha256:a"),)
    assert published_of("acme-dev/web", status) == Published("acme-dev/web", AT, "r.test/acme/web", moved)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="nothing was published"),
        pytest.param({"published": TAGS}, id="no history"),
        pytest.param({"published": TAGS, "history": [past("Failed")]}, id="no success"),
        pytest.param({"published": {"tags": [{}]}, "history": [past("Succeeded")]}, id="a tag without a name"),
        pytest.param(
            {"published": TAGS, "history": [{"phase": "Succeeded", "finishedAt": "soon"}]}, id="a time that is none"
        ),
        pytest.param(
            {"published": TAGS, "history": [{"phase": "Succeeded", "finishedAt": "2026-01-02T03:04:05"}]},
            id="a time without a zone",
        ),
        pytest.param({"published": "v1", "history": "none"}, id="texts instead of objects"),
    ],
)
def test_a_status_that_tells_of_no_publication_counts_as_none(status: dict[str, Any]) -> None:
    assert published_of("acme-dev/web", status) is None


def test_of_a_thousand_others_those_that_finished_last_are_looked_at() -> None:
    others = [Published(f"acme-dev/{number}", AT + timedelta(seconds=number), "r", ()) for number in range(1000)]
    assert [other.name for other in latest(others)] == [f"acme-dev/{number}" for number in range(999, 999 - LATEST, -1)]
