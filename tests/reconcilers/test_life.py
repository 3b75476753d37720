"""The life of an ImageBuild on a real API server and a real Temporal."""

from __future__ import annotations

from tests.reconcilers.conftest import Lab, ready


async def test_a_build_runs_and_its_status_tells_what_was_published(served: Lab) -> None:
    key = await served.build()
    body = await served.until_phase(key, "Succeeded")
    status = body["status"]
    assert ready(body)["status"] == "True"
    assert ready(body)["message"].startswith("published registry.example.com/acme/web@sha256:")
    assert body["metadata"]["finalizers"] == ["bascule.dev/compensate"]
    assert [step["state"] for step in status["steps"]] == ["Succeeded"] * 4
    assert status["run"]["workflowId"] == f"imagebuild/{body['metadata']['uid']}/1"
    assert await served.runs() == [status["run"]["workflowId"]]
