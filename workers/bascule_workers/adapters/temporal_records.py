"""Memos of runs, from the tenant's own Temporal namespace."""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bascule_api import names
from bascule_workers.errors import TemporalUnavailableError
from bascule_workers.plans import patched
from bascule_workers.plans.patched import PatchedNames


class TemporalRecords:
    """Asks by the raw call: the SDK's own raises for a run that Temporal itself paused."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def patched(self, workflow_id: str, run_id: str) -> str | None:
        memo = await self._memo(workflow_id, run_id)
        if memo is None or names.MEMO_RESULT in memo:
            return None if memo is None else memo.get(names.MEMO_PATCHED)
        record, batches = memo.get(names.MEMO_PATCHED), memo.get(names.MEMO_BATCHES)
        if not batches:
            return None if record is None else str(record)
        # It did not come to its end: what it had not heard of yet, its batches say themselves.
        done, back = patched.unpacked(record or ""), PatchedNames()
        for name, (first, last) in batches.items():
            wave, _, rollback = str(name).partition("/")
            for number in range(first, last + 1):
                batch = names.batch_workflow_id(workflow_id, wave, number, rollback=bool(rollback))
                told = patched.unpacked((await self._memo(batch, "") or {}).get(names.MEMO_PATCHED, ""))
                done, back = (done, back | told) if rollback else (done | told, back)
        return patched.record_of(done - back)

    async def _memo(self, workflow_id: str, run_id: str) -> dict[str, Any] | None:
        """What is read of a workflow's memo; None if Temporal does not know it."""
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
        fields = found.workflow_execution_info.memo.fields
        memo: dict[str, Any] = {names.MEMO_RESULT: True} if names.MEMO_RESULT in fields else {}
        for name in (names.MEMO_PATCHED, names.MEMO_BATCHES):
            if name in fields:
                [memo[name]] = await self._client.data_converter.decode([fields[name]])
        return memo
