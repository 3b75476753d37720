"""Reading: resources from the API server, runs from Temporal. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
    PollWorkflowExecutionUpdateRequest,
)
from temporalio.converter import DataConverter

from bascule_api import names
from bascule_api.kinds import KINDS
from bascule_api.progress import Progress, RunIdentity, RunResult, UndoResult
from bascule_operator.connections.kube import Json, Kube
from bascule_operator.connections.temporal import CALL_TIMEOUT, Place, Temporal, decoded
from bascule_operator.decisions.views import Closed, RunState, RunView
from bascule_operator.errors import GoneError, RunMissingError
from bascule_operator.store import Key

PAGE = 200
"""Rows of one answer of the feed, and objects of one page of a list."""

LINKS = 100
"""Executions of one run, each of which continued the one before, that are looked at."""

PLURALS = {kind.kind: kind.plural for kind in KINDS}

M = TypeVar("M", bound=BaseModel)


def collection(kind: str, namespace: str = "") -> str:
    """The path of a kind's objects."""
    base = f"/apis/{names.GROUP}/{names.VERSION}"
    return f"{base}/namespaces/{namespace}/{PLURALS[kind]}" if namespace else f"{base}/{PLURALS[kind]}"


def path(key: Key) -> str:
    return f"{collection(key.kind, key.namespace)}/{key.name}"


async def read(kube: Kube, key: Key) -> Json | None:
    """The object as it is now; None when it is gone."""
    try:
        return await kube.request("GET", path(key), resource=PLURALS[key.kind])
    except GoneError:
        return None


async def namespace_exists(kube: Kube, name: str) -> bool:
    try:
        await kube.request("GET", f"/api/v1/namespaces/{name}", resource="namespaces")
    except GoneError:
        return False
    return True


async def listed(kube: Kube, kind: str, selector: str = "") -> AsyncIterator[Json]:
    """All objects of a kind as they are now, page by page: parsed, a thousand of them take 30 MiB.

    Not from the API server's cache (`resourceVersion=0`), which knows no pages.
    """
    query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
    while True:
        page = await kube.request("GET", collection(kind), resource=PLURALS[kind], query=query)
        for item in page.get("items") or []:
            yield {"apiVersion": names.API_VERSION, "kind": kind, **item}
        token = page["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token


@dataclass(frozen=True)
class Row:
    """A run as visibility shows it: perhaps late, never wrong about what it shows."""

    workflow_id: str
    kind: str
    uid: str
    view: RunView
    updated_at: datetime | None
    stamp: datetime | None
    """The latest of its start, its last update and its close, by Temporal's clock: what the mark is made of."""
    fingerprint: int = 0
    """Another as soon as anything in the row is, and known before the row is decrypted."""


async def rows(
    temporal: Temporal, place: Place, query: str, known: Callable[[str, int], bool] = lambda *_: False
) -> AsyncIterator[Row]:
    """Runs that match a visibility query, less those that are `known`: (workflow id, fingerprint) -> bool.

    Raw on purpose: one run that somebody paused in Temporal has a status that the SDK's iterator does not know, and
    would end it for the whole namespace.
    """
    client = await temporal.client(place)
    token = b""
    while True:
        request = ListWorkflowExecutionsRequest(
            namespace=place.namespace, page_size=PAGE, next_page_token=token, query=query
        )
        async with temporal.call("list"):
            page = await client.workflow_service.list_workflow_executions(request, timeout=CALL_TIMEOUT)
        for info in page.executions:
            fingerprint = _fingerprint(info)
            if not known(info.execution.workflow_id, fingerprint):
                yield replace(await _row(info, client.data_converter), fingerprint=fingerprint)
        token = page.next_page_token
        if not token:
            return


def _fingerprint(info: WorkflowExecutionInfo) -> int:
    progress = info.memo.fields[names.MEMO_PROGRESS].data if names.MEMO_PROGRESS in info.memo.fields else b""
    attributes = info.search_attributes.SerializeToString(deterministic=True)
    return hash((info.execution.run_id, info.status, progress, attributes))


async def _row(info: WorkflowExecutionInfo, converter: DataConverter) -> Row:
    attributes = info.search_attributes.indexed_fields
    updated = _searched(attributes, names.SEARCH_UPDATED_AT)
    updated_at = datetime.fromisoformat(updated.replace("Z", "+00:00")) if updated else None
    view = await _view(info, converter)
    # Until the run itself has spoken, the attribute is what the operator set at the start: its own clock.
    stamps = (updated_at if view.progress else None, view.started_at, view.closed_at)
    return Row(
        workflow_id=info.execution.workflow_id,
        kind=_searched(attributes, names.SEARCH_KIND),
        uid=_searched(attributes, names.SEARCH_UID),
        view=view,
        updated_at=updated_at,
        stamp=max((at for at in stamps if at), default=None),
    )


def _searched(attributes: Any, name: str) -> str:
    """A search attribute's text; search attributes are JSON and never encrypted."""
    found: Payload | None = attributes[name] if name in attributes else None  # noqa: SIM401 - a protobuf map
    return found.data.decode().strip('"') if found is not None else ""


_PAUSED = 8
"""Paused by Temporal's own pause, a status that this version of the API has no name for."""
_CONTINUED = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
_OPEN = (WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING, _PAUSED, _CONTINUED)
"""An execution that continued as new is closed, but the run is not: another execution goes on."""

_CLOSED = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: Closed.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: Closed.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: Closed.CANCELED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: Closed.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: Closed.TIMED_OUT,
}


async def _view(
    info: WorkflowExecutionInfo, converter: DataConverter, result: type[RunResult | UndoResult] | None = None
) -> RunView:
    fields = info.memo.fields
    reader = _Reader(converter)
    is_open = info.status in _OPEN
    told = await reader.read(fields, names.MEMO_RESULT, result) if result else None
    return RunView(
        state=RunState.OPEN if is_open else RunState.CLOSED,
        run_id=info.execution.run_id,
        first_run_id=info.first_run_id,
        closed=None if is_open else _CLOSED.get(info.status, Closed.OTHER),
        started_at=_when(info.start_time),
        closed_at=_when(info.close_time),
        identity=await reader.read(fields, names.MEMO_RUN, RunIdentity),
        progress=await reader.read(fields, names.MEMO_PROGRESS, Progress),
        result=told if isinstance(told, RunResult) else None,
        undone=told if isinstance(told, UndoResult) else None,
        unreadable="; ".join(reader.problems),
        problems=_reported(info),
        paused=info.status == _PAUSED,
        continued=info.status == _CONTINUED,
    )


def _reported(info: WorkflowExecutionInfo) -> str:
    """What Temporal reports of a run whose workflow tasks fail: `category=…, cause=…`."""
    found = _searched(info.search_attributes.indexed_fields, "TemporalReportedProblems")
    return ", ".join(word.strip('"[] ') for word in found.split(","))[:256]


@dataclass
class _Reader:
    converter: DataConverter
    problems: list[str] = field(default_factory=list)

    async def read(self, fields: Any, name: str, model: type[M]) -> M | None:
        """One memo field; None when it is absent or cannot be read, which `problems` then tells."""
        try:
            value = await decoded(self.converter, fields, name)
            return None if value is None else model.model_validate(value)
        except ValidationError as error:
            self.problems.append(f"the run's {name} does not have the expected form ({error.error_count()} errors)")
        except Exception as error:  # noqa: BLE001 - whatever is in one run's memo must not stop the feed of all
            self.problems.append(f"the run's {name} cannot be read: {error or type(error).__name__}")
        return None


def _when(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(UTC).replace(microsecond=0) if stamp.seconds else None


async def describe(
    temporal: Temporal,
    place: Place,
    workflow_id: str,
    result: type[RunResult | UndoResult],
    known: str | None = None,
) -> RunView:
    """The run as Temporal has it now, strongly consistent. Absent when Temporal does not know it.

    `known`: the execution that was the run until now, empty where none is known yet. Where there is another by now,
    it is looked up whether that is the same run, continued as new. Raises NamespaceMissingError when Temporal does not
    even know the namespace, TemporalUnavailableError.
    """
    client = await temporal.client(place)
    request = DescribeWorkflowExecutionRequest(
        namespace=place.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    try:
        async with temporal.call("describe"):
            found = await client.workflow_service.describe_workflow_execution(request, timeout=CALL_TIMEOUT)
    except RunMissingError:
        return RunView(state=RunState.ABSENT, described=True)
    view = await _view(found.workflow_execution_info, client.data_converter, result)
    since = "" if known is None else known or view.first_run_id
    return replace(
        view,
        described=True,
        continues=since not in ("", view.run_id) and await _continues(temporal, place, workflow_id, view, since),
        cancel_requested=found.workflow_extended_info.cancel_requested,
        task_attempt=found.pending_workflow_task.attempt,
    )


async def _continues(temporal: Temporal, place: Place, workflow_id: str, view: RunView, since: str) -> bool:
    """Whether the execution goes back to the one `since` by continuing as new alone.

    Temporal tells of each execution which one it continues, and of one that a reset made, which one it was made from:
    that is another than itself. Where an execution in between is not kept any more, nothing speaks for a reset.
    """
    execution = view.run_id
    for _ in range(LINKS):
        try:
            begun = await _beginning(temporal, place, workflow_id, execution)
        except RunMissingError:
            return True
        if begun.original_execution_run_id not in ("", execution) or not begun.continued_execution_run_id:
            return False
        execution = begun.continued_execution_run_id
        if execution == since:
            return True
    return True


async def _beginning(
    temporal: Temporal, place: Place, workflow_id: str, run_id: str
) -> WorkflowExecutionStartedEventAttributes:
    """The first event of an execution. Raises RunMissingError, TemporalUnavailableError."""
    client = await temporal.client(place)
    request = GetWorkflowExecutionHistoryRequest(
        namespace=place.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        maximum_page_size=1,
    )
    async with temporal.call("history"):
        found = await client.workflow_service.get_workflow_execution_history(request, timeout=CALL_TIMEOUT)
    if not found.history.events:
        raise RunMissingError(f"{workflow_id} {run_id}")
    return found.history.events[0].workflow_execution_started_event_attributes


async def took_update(temporal: Temporal, place: Place, workflow_id: str, update_id: str) -> bool:
    """Whether the run has accepted the update of this id, be it over or not; also before it continued as new.

    Raises TemporalUnavailableError.
    """
    execution = ""
    for _ in range(LINKS):
        if await _took_update(temporal, place, workflow_id, execution, update_id):
            return True
        try:
            execution = (await _beginning(temporal, place, workflow_id, execution)).continued_execution_run_id
        except RunMissingError:
            return False
        if not execution:
            return False
    return False


async def _took_update(temporal: Temporal, place: Place, workflow_id: str, run_id: str, update_id: str) -> bool:
    client = await temporal.client(place)
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = PollWorkflowExecutionUpdateRequest(
        namespace=place.namespace, update_ref=UpdateRef(workflow_execution=execution, update_id=update_id)
    )
    try:
        async with temporal.call("poll_update"):
            found = await client.workflow_service.poll_workflow_execution_update(request, timeout=CALL_TIMEOUT)
    except RunMissingError:
        return False
    return found.outcome.HasField("success")


@dataclass(frozen=True)
class NamespaceFacts:
    """A Temporal namespace as it is."""

    owner: str
    """The Tenant that its `data` names; empty: none."""
    retention_seconds: int
    attributes: frozenset[str]


OWNER = "bascule-tenant"


async def described_namespace(temporal: Temporal, place: Place) -> DescribeNamespaceResponse:
    """The Temporal namespace, if these credentials open it. Raises NamespaceMissingError, TemporalUnavailableError."""
    client = await temporal.client(place)
    async with temporal.call("describe_namespace"):
        return await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=place.namespace), timeout=CALL_TIMEOUT
        )


async def temporal_namespace(temporal: Temporal, place: Place) -> NamespaceFacts:
    """Raises NamespaceMissingError, TemporalUnavailableError."""
    found = await described_namespace(temporal, place)
    client = await temporal.client(place)
    async with temporal.call("list_search_attributes"):
        attributes = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=place.namespace), timeout=CALL_TIMEOUT
        )
    return NamespaceFacts(
        owner=found.namespace_info.data.get(OWNER, ""),
        retention_seconds=found.config.workflow_execution_retention_ttl.seconds,
        attributes=frozenset(attributes.custom_attributes),
    )
