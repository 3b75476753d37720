"""What the bench's drills rehearse: a small environment, and Procedures that take as long as they are told."""

from __future__ import annotations

import json

from hack import installation
from hack.bench.cluster_api import Json
from hack.bench.scene import NAMESPACE, Scene

PROCEDURE = "bench-drill"
ENVIRONMENT = "drill-environment"
RESTORE_SECONDS, PROBE_SECONDS = 2.0, 1.0
_WAIT = """trap 'exit 143' TERM; /runner/busybox sleep "$PARAM_SECONDS" & wait $!"""


def manifests() -> list[Json]:
    """What is applied in each drill's namespace. No pod: its start would be the cluster's figure, not ours."""
    settings: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"mode": "drill"},
    }
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return [settings, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}]


def prepare(scene: Scene) -> None:
    """The Procedure and the manifests of all drills, on nodes that run."""
    scene.start_nodes()
    text = "\n---\n".join(map(json.dumps, manifests()))
    image = scene.cluster.images["test-runner"]
    environment = installation.config_map(NAMESPACE, ENVIRONMENT, {"all.yaml": text})
    installation.apply(scene.cluster, _procedure(image), environment)


def _procedure(image: str) -> Json:
    container = {"name": "step", "image": image, "command": ["/runner/busybox", "sh", "-c", _WAIT]}
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "Procedure",
        "metadata": {"name": PROCEDURE},
        "spec": {
            "description": "Restores and asks nothing, for as long as it is told.",
            "uses": ["DRDrill/restore", "DRDrill/probe"],
            "parameters": [{"name": "seconds", "default": "1"}],
            "template": {"container": container},
        },
    }


def dr_drill(name: str, restore_seconds: float = RESTORE_SECONDS) -> Json:
    """A DRDrill with one probe, whose restore takes as long as said."""
    restored, probed = ({"seconds": f"{seconds:.2f}"} for seconds in (restore_seconds, PROBE_SECONDS))
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "DRDrill",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "environment": {"manifests": {"configMap": {"name": ENVIRONMENT}}, "timeout": "1h"},
            "restore": {"procedure": PROCEDURE, "parameters": restored, "timeout": "1h"},
            "probes": [{"name": "data", "procedure": {"name": PROCEDURE, "parameters": probed}, "timeout": "1h"}],
            "timeout": "12h",
        },
    }
