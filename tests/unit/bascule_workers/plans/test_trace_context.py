"""Which containers of a step find the run's trace, and where else it is told."""

from __future__ import annotations

from typing import Any

from bascule_api import names
from bascule_workers.plans import image_builds
from bascule_workers.plans.jobs import render_job
from bascule_workers.plans.trace_context import traced
from tests.support.runs import procedure
from tests.unit.bascule_workers.plans.test_jobs import SETTINGS, request

PARENT = "00-318e98f6110ff924fe70861608f9db08-00f067aa0ba902b7-01"


def rendered(**container: Any) -> dict[str, Any]:
    first = {"name": "first", "image": "tools"}
    template = {"initContainers": [first], "container": {"image": "tools", **container}}
    of = request(procedure("checks", "ImageBuild/test", template=template))
    return render_job(of, SETTINGS, image_builds.job_traits(of))


def told(job: dict[str, Any]) -> dict[str, list[str]]:
    """Values of the variable by container."""
    pod = job["spec"]["template"]["spec"]
    return {
        container["name"]: [item["value"] for item in container.get("env", []) if item["name"] == "TRACEPARENT"]
        for container in pod["initContainers"] + pod["containers"]
    }


def test_every_container_of_the_step_finds_the_trace() -> None:
    found = told(traced(rendered(), PARENT))
    assert len(found) == 3
    assert set(map(tuple, found.values())) == {(PARENT,)}


def test_job_and_pod_say_it_as_well_and_keep_what_they_said() -> None:
    job = rendered()
    made = traced(job, PARENT)
    for before, after in ((job, made), (job["spec"]["template"], made["spec"]["template"])):
        assert after["metadata"]["annotations"] == before["metadata"]["annotations"] | {
            names.ANNOTATION_TRACEPARENT: PARENT
        }
        assert after["metadata"]["labels"] == before["metadata"]["labels"]


def test_what_a_procedure_sets_itself_it_keeps() -> None:
    found = told(traced(rendered(env=[{"name": "TRACEPARENT", "value": "mine"}]), PARENT))
    assert found.pop("step") == ["mine"]
    assert set(map(tuple, found.values())) == {(PARENT,)}


def test_untraced_a_job_stays_as_it_is() -> None:
    assert traced(rendered(), "") == rendered()
