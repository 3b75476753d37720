"""The list of faults and the tests that it names are in step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    line
    for line in (ROOT / "docs/faults.md").read_text().partition("## The list")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| fault")
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
FAULT_TESTS = [*(ROOT / "tests/faults").glob("test_*.py"), ROOT / "tests/reconcilers/test_faults.py"]


def defined(path: Path) -> set[str]:
    return set(re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_each_fault_names_tests_that_exist(row: str) -> None:
    fault, outcome, tests = (cell.strip() for cell in row.strip("|").split("|"))
    named = NAMED.findall(tests)
    assert fault
    assert outcome
    assert named
    assert [f"{path}::{name}" for path, name in named if name not in defined(ROOT / path)] == []


@pytest.mark.parametrize("path", FAULT_TESTS, ids=lambda path: path.name)
def test_each_fault_test_is_in_a_row(path: Path) -> None:
    file = str(path.relative_to(ROOT))
    named = {name for row in ROWS for where, name in NAMED.findall(row) if where == file}
    assert defined(path) - named == set()
