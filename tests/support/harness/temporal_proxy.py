"""A gRPC proxy in front of Temporal: every call passes the gate, known by its method and what it is about.

Messages go through as bytes; they are only read to give calls their names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedResponse,
)

from tests.support.harness.calls import Call
from tests.support.harness.gate import Gate, Refused

_UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_WRITES = ("Start", "Signal", "RequestCancel", "Update", "Register", "Add", "Respond", "Terminate")
_CODES = {
    0: grpc.StatusCode.UNAVAILABLE,
    409: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
}
_ENDS: dict[str, Any] = {
    "RespondActivityTaskCanceled": RespondActivityTaskCanceledRequest,
    "RespondActivityTaskCompleted": RespondActivityTaskCompletedRequest,
    "RespondActivityTaskFailed": RespondActivityTaskFailedRequest,
}


@dataclass
class TemporalProxy(grpc.GenericRpcHandler):
    """Serves on loopback and forwards to the frontend at `upstream`."""

    upstream: str
    who: str
    gate: Gate
    port: int = 0
    down: bool = False
    """Every call is answered UNAVAILABLE."""
    _tasks: dict[bytes, str] = field(default_factory=dict)
    """Task token to the activity's type."""

    async def start(self) -> None:
        self._channel = grpc.aio.insecure_channel(self.upstream, options=_UNBOUNDED)
        self._server = grpc.aio.server(options=[*_UNBOUNDED, ("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def close(self) -> None:
        await self._server.stop(0)
        await self._channel.close()

    def service(self, handler_call_details: Any) -> Any:
        """grpc asks here how to serve a method."""
        method: str = handler_call_details.method

        async def serve(request: bytes, context: Any) -> bytes:
            return await self._serve(method, request, context)

        return grpc.unary_unary_rpc_method_handler(serve)

    async def _serve(self, path: str, request: bytes, context: Any) -> bytes:
        if self.down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "as the fault wants it")
        method = path.rpartition("/")[2]

        async def forward() -> bytes:
            return await self._forward(path, request, context)

        try:
            answer = await self._passed(method, request, forward)
        except grpc.aio.AioRpcError as error:
            context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
            await context.abort(error.code(), error.details() or "")
            return b""
        if isinstance(answer, Refused):
            await context.abort(_CODES[answer.code], "as the fault wants it")
        return answer if isinstance(answer, bytes) else b""

    async def _passed(self, method: str, request: bytes, forward: Callable[[], Awaitable[bytes]]) -> bytes | Refused:
        if method.startswith("Poll"):
            answer = await forward()
            brought = self._brought(method, answer)
            refused = self.gate.brought(self._call(f"{method} {brought}")) if brought else None
            return refused or answer
        name = method
        if method in _ENDS:
            name += f" {self._tasks.get(_ENDS[method].FromString(request).task_token, '')}"
        answer = await self.gate.through(self._call(name), forward)
        if method == "RespondWorkflowTaskCompleted" and not isinstance(answer, Refused):
            # Activities that are handed out with the answer, without a poll.
            for task in RespondWorkflowTaskCompletedResponse.FromString(answer).activity_tasks:
                self._tasks[task.task_token] = task.activity_type.name
        return answer

    def _brought(self, method: str, answer: bytes) -> str:
        """What a poll came back with; nothing when its time was up."""
        if method == "PollActivityTaskQueue":
            task = PollActivityTaskQueueResponse.FromString(answer)
            if task.task_token:
                self._tasks[task.task_token] = task.activity_type.name
            return task.activity_type.name
        if method == "PollWorkflowTaskQueue":
            return "task" if PollWorkflowTaskQueueResponse.FromString(answer).task_token else ""
        return ""

    def _call(self, name: str) -> Call:
        return Call(self.who, "temporal", name, name.startswith(_WRITES), "")

    async def _forward(self, path: str, request: bytes, context: Any) -> bytes:
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if not key.startswith("grpc-")]
        call = self._channel.unary_unary(path)
        answer: bytes = await call(request, metadata=metadata, timeout=context.time_remaining())
        return answer
