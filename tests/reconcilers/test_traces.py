"""One trace from the resource to its Jobs, at a real receiver; and log lines that name it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from bascule_telemetry.traces import SPANS, trace_id_of
from tests.support.control_plane import free_port
from tests.support.harness.plane import plane
from tests.support.harness.scene import Scene
from tests.support.harness.shard import shard
from tests.support.otlp import Receiver, Span, receiving

PATIENCE = 60


def one(spans: list[Span], name: str) -> Span:
    found = [span for span in spans if span.name == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def ancestors(spans: list[Span], span: Span) -> list[str]:
    """Names from the span's parent up to the first."""
    known, names = {item.id: item for item in spans}, []
    while span.parent:
        span = known[span.parent]
        names.append(span.name)
    return names


def lines(log: Path) -> list[dict[str, Any]]:
    """The log, of which every line is JSON; without audit events, which share the file here."""
    told = (json.loads(line) for line in log.read_text().splitlines() if line)
    return [line for line in told if "specversion" not in line]


async def until_told(receiver: Receiver, trace: str) -> list[Span]:
    for _ in range(PATIENCE * 5):
        spans = receiver.of_trace(trace)
        if {"Run", "CompleteWorkflow:ImageBuild"} <= {span.name for span in spans}:
            return spans
        await asyncio.sleep(0.2)
    raise AssertionError(f"the trace was never complete: {sorted({span.name for span in receiver.spans})}")


async def test_a_run_is_one_trace_from_the_resource_to_its_jobs(tmp_path: Path) -> None:
    async with receiving(free_port()) as receiver, plane(tmp_path) as world:
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        async with shard(world, "traced", tmp_path / "traced", **exporting) as made:
            scene = Scene(made, "web")
            await scene.apply("succeed")
            body = await scene.until_settled()
            workflow = body["status"]["run"]["workflowId"]
            spans = await until_told(receiver, trace_id_of(workflow))
            path = f"/apis/batch/v1/namespaces/{made.steps_namespace}/jobs"
            made_jobs = (await world.kube.request("GET", path, resource="test"))["items"]
            said, worker_said = lines(made.operator.log), lines(made.worker.log)

    first = one(spans, "Run")
    assert (first.service, first.parent) == ("bascule-operator", "")
    assert first.attributes["bascule.name"] == "web"
    assert first.attributes["bascule.outcome"] == "Succeeded"
    jobs = [span for span in spans if span.name == "Job"]
    assert len({span.attributes["k8s.job.name"] for span in jobs}) == 2
    for job in jobs:
        assert job.service == "bascule-worker"
        assert [name.partition(":")[0] for name in ancestors(spans, job)] == [
            "RunActivity", "StartActivity", "StartWorkflow", "Reconcile", "Run",
        ]  # fmt: skip
    parents = {f"00-{job.trace}-{job.id}-01" for job in jobs}
    for found in made_jobs:
        told = found["metadata"]["annotations"]["bascule.dev/traceparent"]
        assert told in parents
        pod = found["spec"]["template"]["spec"]
        for container in pod["initContainers"] + pod["containers"]:
            assert {"name": "TRACEPARENT", "value": told} in container["env"]
    assert len(made_jobs) == 2
    began = one(spans, "RunWorkflow:ImageBuild")
    assert began.service == "bascule-worker"
    assert ancestors(spans, began) == ["StartWorkflow:ImageBuild", "Reconcile", "Run"]
    described = {name.partition(":")[0] for name in SPANS}
    assert {span.name.partition(":")[0] for span in spans} <= described
    mine = [line for line in said if line.get("workflow") == workflow]
    assert {line["trace_id"] for line in mine} == {first.trace}
    assert {"run started", "run finished: succeeded"} <= {line["message"] for line in mine}
    assert any("serving" in line["message"] for line in worker_said)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in said + worker_said)
