"""Today's workflow code can go on with the histories of runs that began under earlier code."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from bascule_workers.supervisor import WORKFLOWS
from tests.replay.recording import STORIES

HISTORIES = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.json"))}


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_recorded_run_replays(name: str) -> None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    await replayer.replay_workflow(WorkflowHistory.from_json(name, HISTORIES[name]))


def test_every_story_is_recorded() -> None:
    assert HISTORIES.keys() >= STORIES.keys()
