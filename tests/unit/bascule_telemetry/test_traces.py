"""A run's trace follows from the run, and where nothing is traced nothing is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bascule_telemetry import traces

RUN = "imagebuild/58ffaf1f-6c8c-42d3-9caa-6661de66700c/2"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    made = InMemorySpanExporter()
    assert traces.setup("test", "1", made)
    yield made
    traces.shutdown()


def test_a_runs_trace_never_changes_and_is_that_of_what_undoes_it() -> None:
    assert traces.trace_id_of(RUN) == "318e98f6110ff924fe70861608f9db08"
    assert traces.trace_id_of(f"{RUN}/undo/1") == traces.trace_id_of(RUN)
    assert traces.trace_id_of(RUN) != traces.trace_id_of(RUN[:-1] + "3")


@pytest.mark.parametrize("other", ["", "imagebuild", "a/b"])
def test_what_is_no_run_has_no_trace(other: str) -> None:
    assert traces.trace_id_of(other) == ""


def test_spans_of_two_processes_meet_under_the_runs_first(exporter: InMemorySpanExporter) -> None:
    with traces.span("Reconcile", workflow=RUN), traces.span("Job", lambda: {"k8s.job.name": "j"}):
        pass
    now = datetime(2026, 11, 22, tzinfo=UTC)
    traces.run_is_over(RUN, {"bascule.kind": "ImageBuild"}, now, now + timedelta(seconds=90))
    traces._Tracing.provider.force_flush()
    job, reconcile, first = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in (job, reconcile, first)} == {traces.trace_id_of(RUN)}
    assert job.parent is not None
    assert reconcile.parent is not None
    assert job.parent.span_id == reconcile.context.span_id
    assert reconcile.parent.span_id == first.context.span_id
    assert first.parent is None
    assert (first.end_time or 0) - (first.start_time or 0) == 90 * 10**9


def test_what_is_no_runs_is_no_span(exporter: InMemorySpanExporter) -> None:
    with traces.span("Reconcile", workflow=""):
        pass
    traces._Tracing.provider.force_flush()
    assert exporter.get_finished_spans() == ()


def test_without_a_receiver_opentelemetry_is_not_even_loaded() -> None:
    script = (
        "import sys, bascule_operator.bridge, bascule_workers.supervisor\n"
        "from bascule_telemetry import traces\n"
        "assert not traces.setup('test', '1') and traces.interceptors() == []\n"
        "with traces.span('Reconcile', workflow='a/b/1'): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={})
    assert done.stdout.strip() == "[]"
