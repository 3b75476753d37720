"""The trace of a run, handed on to the containers of its steps (W3C trace context)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bascule_api import names

VARIABLE = "TRACEPARENT"


def traced(job: Mapping[str, Any], traceparent: str) -> dict[str, Any]:
    """The Job with the trace that it belongs to: for every container, and for who looks at Job and pod.

    A container whose Procedure sets the variable itself keeps that. Nothing changes where nothing is traced.
    """
    if not traceparent:
        return dict(job)
    template = job["spec"]["template"]
    pod = template["spec"] | {
        kind: [_container(container, traceparent) for container in template["spec"][kind]]
        for kind in ("initContainers", "containers")
        if kind in template["spec"]
    }
    template = _annotated(template, traceparent) | {"spec": pod}
    return _annotated(job, traceparent) | {"spec": job["spec"] | {"template": template}}


def _annotated(item: Mapping[str, Any], traceparent: str) -> dict[str, Any]:
    metadata = item["metadata"]
    annotations = {**(metadata.get("annotations") or {}), names.ANNOTATION_TRACEPARENT: traceparent}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


def _container(container: Mapping[str, Any], traceparent: str) -> dict[str, Any]:
    environment = container.get("env") or []
    if any(variable["name"] == VARIABLE for variable in environment):
        return dict(container)
    return {**container, "env": [*environment, {"name": VARIABLE, "value": traceparent}]}
