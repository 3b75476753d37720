"""Writing: resources to the API server, runs to Temporal. Every call may be repeated with the same effect."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    RegisterNamespaceRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from bascule_api import names
from bascule_api.conditions import Phase
from bascule_api.progress import ApprovalMessage, Desired, RunIdentity, RunInput, UndoInput
from bascule_api.tenants import Tenant
from bascule_operator.connections.kube import APPLY, FIELD_MANAGER, JSON_PATCH, Json, Kube
from bascule_operator.connections.temporal import CALL_TIMEOUT, Place, Temporal
from bascule_operator.errors import AlreadyStartedError, NotTakenUpError, RunMissingError, UpdateRejectedError
from bascule_operator.observe import OWNER, PLURALS, path
from bascule_operator.store import Key

_KIND = SearchAttributeKey.for_keyword(names.SEARCH_KIND)
_UID = SearchAttributeKey.for_keyword(names.SEARCH_UID)
_PHASE = SearchAttributeKey.for_keyword(names.SEARCH_PHASE)
_UPDATED_AT = SearchAttributeKey.for_datetime(names.SEARCH_UPDATED_AT)

SEARCH_ATTRIBUTES = {
    names.SEARCH_KIND: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    names.SEARCH_UID: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    names.SEARCH_PHASE: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    names.SEARCH_UPDATED_AT: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


async def set_finalizers(kube: Kube, key: Key, body: Json, finalizers: list[str]) -> Json:
    """Replace the object's finalizers, if it is still the one observed. Raises ConflictError, GoneError."""
    metadata = body["metadata"]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]
    query = {"fieldManager": FIELD_MANAGER}
    return await kube.request(
        "PATCH", path(key), resource=PLURALS[key.kind], body=patch, content_type=JSON_PATCH, query=query
    )


async def add_owner(kube: Kube, key: Key, body: Json, owner: Json) -> Json:
    """Have the object deleted with its owner, if it is still the one observed. Raises ConflictError, GoneError."""
    owners = [*(body["metadata"].get("ownerReferences") or []), owner]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": body["metadata"]["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/metadata/ownerReferences", "value": owners},
    ]
    return await kube.request(
        "PATCH", path(key), resource=PLURALS[key.kind], body=patch, content_type=JSON_PATCH,
        query={"fieldManager": FIELD_MANAGER},
    )  # fmt: skip


async def write_status(kube: Kube, key: Key, body: Json, status: Json) -> Json:
    """Apply the complete status to the object that was observed. Raises ConflictError when it changed since."""
    metadata = {
        "name": key.name,
        "uid": body["metadata"]["uid"],
        "resourceVersion": body["metadata"]["resourceVersion"],
    }
    if key.namespace:
        metadata["namespace"] = key.namespace
    document = {"apiVersion": names.API_VERSION, "kind": key.kind, "metadata": metadata, "status": status}
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    return await kube.request(
        "PATCH", f"{path(key)}/status", resource=f"{PLURALS[key.kind]}/status", body=document, content_type=APPLY,
        query=query,
    )  # fmt: skip


async def start_run(
    temporal: Temporal,
    place: Place,
    workflow_id: str,
    run: RunIdentity,
    message: RunInput | UndoInput,
    delay: timedelta | None = None,
) -> str:
    """Start the run's workflow, or the one that undoes it, and return Temporal's id of the execution.

    Raises AlreadyStartedError when the id was used before: look whose run it is.
    """
    undo = isinstance(message, UndoInput)
    client = await temporal.client(place)
    async with temporal.call("start"):
        handle = await client.start_workflow(
            names.undo_workflow(run.kind) if undo else run.kind,
            message,
            id=workflow_id,
            task_queue=names.task_queue(run.tenant),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            memo={names.MEMO_RUN: run.to_wire()},
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(_KIND, run.kind),
                    SearchAttributePair(_UID, run.uid),
                    SearchAttributePair(_PHASE, Phase.COMPENSATING if undo else Phase.PENDING),
                    SearchAttributePair(_UPDATED_AT, datetime.now(UTC)),
                ]
            ),
            static_summary=f"{run.namespace}/{run.name}",
            start_delay=delay,
            rpc_timeout=CALL_TIMEOUT,
        )
    if handle.result_run_id is None:
        raise AlreadyStartedError(workflow_id)
    return handle.result_run_id


async def cancel_run(temporal: Temporal, place: Place, workflow_id: str, reason: str) -> bool:
    """Ask the run to stop. Whether there was one to ask: not if it is over or unknown."""
    client = await temporal.client(place)
    try:
        async with temporal.call("cancel"):
            handle = client.get_workflow_handle(workflow_id)
            await handle.cancel(reason=reason, rpc_timeout=CALL_TIMEOUT)
    except RunMissingError:
        return False
    return True


async def unpause_run(temporal: Temporal, place: Place, workflow_id: str, reason: str) -> None:
    """Take back Temporal's own pause: a run that is paused there hears no cancellation."""
    client = await temporal.client(place)
    request = UnpauseWorkflowExecutionRequest(
        namespace=place.namespace, workflow_id=workflow_id, identity=FIELD_MANAGER, reason=reason,
        request_id=f"{workflow_id}/unpause",
    )  # fmt: skip
    try:
        async with temporal.call("unpause"):
            await client.workflow_service.unpause_workflow_execution(request, timeout=CALL_TIMEOUT)
    except RunMissingError:
        return


async def send_desired(temporal: Temporal, place: Place, workflow_id: str, desired: Desired) -> None:
    """Tell the run whether it should be suspended. A run that is over needs no telling."""
    client = await temporal.client(place)
    try:
        async with temporal.call("signal"):
            handle = client.get_workflow_handle(workflow_id)
            await handle.signal(names.SIGNAL_DESIRED, desired, rpc_timeout=CALL_TIMEOUT)
    except RunMissingError:
        return


async def send_approval(
    temporal: Temporal, place: Place, workflow_id: str, approval_uid: str, message: ApprovalMessage
) -> None:
    """Hand a decision to the run, and wait until it has it. Sent again, it is the same update: its id is the uid.

    Raises UpdateRejectedError when the run would not have it, RunMissingError when the run is over,
    NotTakenUpError when no worker took it up within the deadline, TemporalUnavailableError.
    """
    client = await temporal.client(place)
    async with temporal.call("update"):
        handle = client.get_workflow_handle(workflow_id)
        try:
            await handle.execute_update(names.UPDATE_APPROVAL, message, id=approval_uid, rpc_timeout=CALL_TIMEOUT)
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            kind = (cause.type or "") if isinstance(cause, ApplicationError) else ""
            raise UpdateRejectedError(str(cause), kind) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from error  # the client takes a cancellation of ours for a timeout
            raise NotTakenUpError("no worker took the update up in time") from error


async def register_namespace(temporal: Temporal, place: Place, tenant: Tenant) -> None:
    """Register the tenant's Temporal namespace, unless it is there."""
    client = await temporal.client(place)
    request = RegisterNamespaceRequest(
        namespace=place.namespace,
        description=f"Runs of the tenant {tenant.metadata.name}. Managed by Bascule.",
        workflow_execution_retention_period=Duration(seconds=tenant.spec.temporal.retention.seconds),
        data={OWNER: tenant.metadata.name},
    )
    async with temporal.call("register_namespace"):
        try:
            await client.workflow_service.register_namespace(request, timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.ALREADY_EXISTS:
                raise


async def set_retention(temporal: Temporal, place: Place, seconds: int) -> None:
    client = await temporal.client(place)
    request = UpdateNamespaceRequest(
        namespace=place.namespace,
        config=NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=seconds)),
    )
    async with temporal.call("update_namespace"):
        await client.workflow_service.update_namespace(request, timeout=CALL_TIMEOUT)


async def add_search_attributes(temporal: Temporal, place: Place, missing: set[str]) -> None:
    """Add search attributes that the namespace lacks."""
    client = await temporal.client(place)
    request = AddSearchAttributesRequest(
        namespace=place.namespace, search_attributes={name: SEARCH_ATTRIBUTES[name] for name in missing}
    )
    async with temporal.call("add_search_attributes"):
        await client.operator_service.add_search_attributes(request, timeout=CALL_TIMEOUT)
