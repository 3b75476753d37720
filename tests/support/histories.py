"""What Temporal keeps of workflows."""

from __future__ import annotations

from typing import TypeVar

from temporalio.client import Client

from bascule_api.base import ApiModel

M = TypeVar("M", bound=ApiModel)


async def input_of(client: Client, workflow_id: str, model: type[M]) -> M:
    """What a workflow was started with."""
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        [message] = await client.data_converter.decode(list(payloads), [model])
        assert isinstance(message, model)
        return message
    raise AssertionError("a workflow without a first event")
