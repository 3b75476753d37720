"""What docs/gates.md says of windows is so, and the gates of all examples are sound."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from bascule_api.fleets import Day, Window
from bascule_api.patch_campaigns import PatchCampaign
from bascule_workers.activities import gates
from bascule_workers.in_step.conditions import FUNCTIONS
from bascule_workers.plans.windows import Standing, standing

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "gates.md").read_text()
ROW = re.compile(r"^\| (\d\d:\d\d) \| (\d\d:\d\d) \| (\S+) \| (\S+) \| (\S+) \|", re.MULTILINE)
EXAMPLES = [
    document
    for file in sorted((ROOT / "examples").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
    if document["kind"] == "PatchCampaign"
]


@pytest.mark.parametrize("row", ROW.findall(DOCS), ids=lambda row: f"{row[2]} {row[0]}-{row[1]}")
def test_the_table_of_clocks_that_change(row: tuple[str, ...]) -> None:
    start, end, on, opens, closes = row
    day = date.fromisoformat(on)
    window = Window(days=[list(Day)[day.weekday()]], start=start, end=end, time_zone="Europe/Berlin")
    before = int(datetime.fromisoformat(f"{day - timedelta(days=1)}T12:00+00:00").timestamp())
    found = standing([window], before)
    if opens == "never":
        assert found.changes_at > before + 5 * 86_400
        return
    opened, closed = (int(datetime.fromisoformat(text).timestamp()) for text in (opens, closes))
    assert found.changes_at == opened
    assert standing([window], opened) == Standing(open=True, changes_at=closed, window=window)


def test_the_table_has_every_case() -> None:
    assert len(ROW.findall(DOCS)) == 8


def test_the_functions_are_all_named() -> None:
    section = DOCS[DOCS.index("and the functions") : DOCS.index("A condition that is none")]
    assert set(re.findall(r"`(\w+)`", section)) == FUNCTIONS


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda document: document["metadata"]["name"])
def test_examples_ask_what_can_be_asked(document: dict[str, object]) -> None:
    spec = PatchCampaign.parse(document).spec
    assert gates.problems(spec.gates, spec.windows) == []
