"""Traces: one for each run, from the resource through workflow and activities to its Jobs (W3C trace context).

A run's trace has an id that follows from the run's, so that whoever knows the run knows the trace: nothing is stored,
two operators tell the same trace, and log lines name it even where nothing is traced. What undoes a run belongs to
its trace. Spans are exported by OTLP over HTTP when OTEL_EXPORTER_OTLP_ENDPOINT is set, and cost nothing when not.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

SPANS = {
    "Run": "the whole run, from its start to its end; told by the operator when it is over",
    "Reconcile": "the operator does something for the run: starts it, writes its status, cancels it",
    "StartWorkflow:*": "the operator asks Temporal to start the run's workflow, or the one that undoes it",
    "RunWorkflow:*": "the workflow began (no duration: workflows are replayed)",
    "StartActivity:*": "the workflow wants an activity (no duration)",
    "RunActivity:*": "a worker carries out one attempt of an activity",
    "CompleteWorkflow:*": "the workflow ended (no duration)",
    "HandleSignal:*": "the workflow got a signal (no duration)",
    "ValidateUpdate:*": "the workflow looks at an approval (no duration)",
    "HandleUpdate:*": "the workflow takes an approval (no duration)",
    "SignalWorkflow:*": "the operator signals the workflow",
    "StartWorkflowUpdate:*": "the operator hands an approval to the workflow",
    "Job": "an activity makes a Kubernetes Job or adopts it, and waits for it",
}
"""Every span that there is, and what it covers. `*` is the name of the workflow, activity, signal or update."""

_next_ids: ContextVar[tuple[int, int] | None] = ContextVar("next_ids", default=None)


class _Tracing:
    """The tracer of this process; None while nothing is traced."""

    tracer: Any = None
    provider: Any = None


def _run_of(workflow_id: str) -> str:
    """`<uid>/<number>` of a workflow's id, or of what undoes it; empty for any other id."""
    parts = workflow_id.split("/")
    return "/".join(parts[1:3]) if len(parts) >= 3 else ""


def _ids(workflow_id: str) -> tuple[int, int] | None:
    """Ids of the run's trace and of its first span."""
    if not (run := _run_of(workflow_id)):
        return None
    digest = hashlib.sha256(f"bascule/{run}".encode()).digest()
    return int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")


def trace_id_of(workflow_id: str) -> str:
    """The trace of the run that the workflow belongs to, as 32 hexadecimal digits; empty for any other id."""
    ids = _ids(workflow_id)
    return f"{ids[0]:032x}" if ids else ""


def setup(service: str, version: str, exporter: SpanExporter | None = None) -> bool:
    """Trace, if the environment names a receiver (or `exporter` is given). Whether it does.

    What else OpenTelemetry reads from its environment holds as well: sampling, headers, resource attributes.
    """
    if exporter is None and not os.environ.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("nothing is traced: OpenTelemetry is not installed (extra `otel`)")
        return False
    resource = Resource.create({"service.name": service, "service.version": version})
    provider = TracerProvider(resource=resource, id_generator=_id_generator())
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("bascule")
    log.info("traces are exported")
    return True


def shutdown() -> None:
    """Export what is left and trace no more."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        provider.shutdown()


def interceptors() -> list[Any]:
    """What clients and workers of Temporal need to carry traces on; nothing where nothing is traced."""
    if _Tracing.tracer is None:
        return []
    from temporalio.contrib.opentelemetry import TracingInterceptor

    return [TracingInterceptor(_Tracing.tracer)]


@contextmanager
def span(
    name: str, attributes: Callable[[], Mapping[str, Any]] = dict, *, workflow: str | None = None
) -> Iterator[None]:
    """A span of the run of `workflow`, none if that is no run's; without it, a span of what is being traced here."""
    tracer = _Tracing.tracer
    if tracer is None or (workflow is not None and _ids(workflow) is None):
        yield
        return
    context = _within(workflow) if workflow else None
    with tracer.start_as_current_span(name, context=context, attributes=attributes()):
        yield


def traceparent() -> str:
    """What is being traced here, as W3C's header of that name has it; empty where nothing is."""
    if _Tracing.tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def run_is_over(workflow: str, attributes: Mapping[str, Any], begun: datetime | None, ended: datetime | None) -> None:
    """Tell the run's first span, under which all others are."""
    tracer, ids = _Tracing.tracer, _ids(workflow)
    if tracer is None or ids is None or begun is None or ended is None:
        return
    from opentelemetry.context import Context

    token = _next_ids.set(ids)
    try:
        told = tracer.start_span("Run", context=Context(), attributes=attributes, start_time=_nanoseconds(begun))
    finally:
        _next_ids.reset(token)
    told.end(end_time=_nanoseconds(ended))


def _nanoseconds(when: datetime) -> int:
    return int(when.timestamp() * 1e9)


def _within(workflow: str) -> Any:
    """The context of the run's first span; None: the current one."""
    if (ids := _ids(workflow)) is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parent = SpanContext(ids[0], ids[1], is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _id_generator() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Derived(RandomIdGenerator):
        """Ids as the run has them where `run_is_over` says so, else random ones."""

        def generate_trace_id(self) -> int:
            ids = _next_ids.get()
            return ids[0] if ids else super().generate_trace_id()

        def generate_span_id(self) -> int:
            ids = _next_ids.get()
            return ids[1] if ids else super().generate_span_id()

    return Derived()
