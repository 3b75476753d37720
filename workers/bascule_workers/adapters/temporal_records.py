"""Memos of runs, from the tenant's own Temporal namespace."""

from __future__ import annotations

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bascule_api import names
from bascule_workers.errors import TemporalUnavailableError


class TemporalRecords:
    """Asks by the raw call: the SDK's own raises for a run that Temporal itself paused."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def patched(self, workflow_id: str, run_id: str) -> str | None:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        )
        try:
            found = await self._client.workflow_service.describe_workflow_execution(request)
        except RPCError as error:
            # An id that is no id of Temporal's is one that it does not know.
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return None
            raise TemporalUnavailableError(f"Temporal does not tell of {workflow_id}: {error.message}") from error
        payload = found.workflow_execution_info.memo.fields.get(names.MEMO_PATCHED)
        if payload is None:
            return None
        [record] = await self._client.data_converter.decode([payload], [str])
        return str(record)
