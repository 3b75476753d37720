"""What the bench's watch notes of one ImageBuild."""

from __future__ import annotations

from typing import Any

from hack.bench.cluster_api import ClusterApi
from hack.bench.watching import Seen, Watcher


def version(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "uid": "u"}, "status": status}


def noted(*events: tuple[str, dict[str, Any]]) -> Seen:
    watcher = Watcher(ClusterApi.__new__(ClusterApi), "bench-dev")
    for moment, (kind, body) in enumerate(events):
        watcher.note(kind, body, float(moment))
    (seen,) = watcher.seen.values()
    return seen


def test_a_life_is_noted_with_its_moments() -> None:
    running = [{"name": "build", "state": "Running"}]
    done = [{"name": "build", "state": "Succeeded"}]

    seen = noted(
        ("ADDED", version()),
        ("MODIFIED", version(phase="Pending")),
        ("MODIFIED", version(phase="Running", steps=running)),
        ("MODIFIED", version(phase="Running", steps=running, progress={"message": "still"})),
        ("MODIFIED", version(phase="Running", steps=done)),
        ("MODIFIED", version(phase="Succeeded", steps=done)),
        ("DELETED", version(phase="Succeeded", steps=done)),
    )

    assert (seen.added, seen.running, seen.terminal, seen.gone) == (0.0, 2.0, 5.0, 6.0)
    assert seen.steps == {"build": 4.0}
    assert (seen.versions, seen.changes) == (6, 4)


def test_creation_is_no_change() -> None:
    assert noted(("ADDED", version(phase="Pending"))).changes == 0
