from __future__ import annotations

from pathlib import Path

import pytest

from hack.cluster.engines import check_engine
from hack.cluster.shell import ClusterError


def test_our_own_clusters_need_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    check_engine("own")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(None, "there is no docker command", id="no docker"),
        pytest.param("echo no daemon at all >&2; exit 1", "none answers .no daemon at all", id="no engine"),
        pytest.param("exit 0", "of our own parts only so far", id="an engine"),
    ],
)
def test_kind_is_refused_by_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, words: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
    with pytest.raises(ClusterError, match=words):
        check_engine("kind")


def test_another_word_is_refused() -> None:
    with pytest.raises(ClusterError, match="CLUSTER=minikube is unknown"):
        check_engine("minikube")
