"""Today's workflow code can go on with the histories of runs that began under earlier code."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from bascule_api import names
from bascule_workers.supervisor import WORKFLOWS
from tests.replay.recording import STORIES, UID

HISTORIES = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.json"))}


def workflow_of(name: str) -> str:
    """The id under which it was recorded: child workflows are called after it."""
    kind = {"campaign": "PatchCampaign", "drill": "DRDrill"}.get(name.partition("-")[0])
    if kind is None:
        return name
    return names.undo_workflow_id(kind, UID, 1, 1) if name.endswith("-undone") else names.workflow_id(kind, UID, 1)


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_recorded_run_replays(name: str) -> None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    await replayer.replay_workflow(WorkflowHistory.from_json(workflow_of(name), HISTORIES[name]))


def test_every_story_is_recorded() -> None:
    assert HISTORIES.keys() >= STORIES.keys()
