"""Names of clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.cluster.paths import Paths, cache_directory
from hack.cluster.shell import ClusterError


@pytest.mark.parametrize("name", ["bascule", "a", "bascule-dev-2"])
def test_good_names(name: str) -> None:
    assert Paths(name).state.name == name


@pytest.mark.parametrize("name", ["", "../etc", "Upper", "a b", "-x", "x" * 31, "a\n"])
def test_bad_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ClusterError, match="must begin with a letter"):
        Paths(name)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"BASCULE_CACHE": "/c"}, "/c", id="chosen"),
        pytest.param({"XDG_CACHE_HOME": "/x"}, "/x/bascule", id="the desktop's"),
        pytest.param({"HOME": "/home/me"}, "/home/me/.cache/bascule", id="the usual"),
    ],
)
def test_the_cache(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("BASCULE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert cache_directory() == Path(expected)
