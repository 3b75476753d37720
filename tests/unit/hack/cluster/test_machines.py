"""Files of a machine that runs are touched only when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hack.cluster.machines import write

_LONG_AGO = 1_000_000_000


@pytest.mark.parametrize(
    ("before", "touched"),
    [
        pytest.param("same", False, id="a file that is so already is left alone"),
        pytest.param("other", True, id="a file that differs is written"),
    ],
)
def test_a_file_is_written_when_it_changes(tmp_path: Path, before: str, touched: bool) -> None:
    file = tmp_path / "kube-proxy.json"
    file.write_text(before)
    os.utime(file, (_LONG_AGO, _LONG_AGO))
    write(file, "same")
    assert file.read_text() == "same"
    assert (file.stat().st_mtime != _LONG_AGO) is touched


def test_a_file_that_is_missing_is_made_with_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "etc/kube-proxy.json", "new")
    assert (tmp_path / "etc/kube-proxy.json").read_text() == "new"
