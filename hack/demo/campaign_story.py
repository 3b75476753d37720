"""What the story of the campaigns applies: a service behind a disruption budget, and the campaigns."""

from __future__ import annotations

from typing import Any

from hack.cluster.addresses import NODES
from hack.cluster.handle import Cluster

PACKAGE = "acme-agent"
POOL = {"acme.example.com/pool": "web"}
"""Label of the nodes that the tenant may patch."""
SERVICE = "web"

Body = dict[str, Any]


def label_nodes(cluster: Cluster) -> None:
    """The nodes that become the tenant's."""
    labels = [f"{label}={value}" for label, value in POOL.items()]
    cluster.kubectl("label", "node", *NODES, *labels, "role=web", "--overwrite")


def service(cluster: Cluster, namespace: str) -> list[Body]:
    """Two pods, one on each node, of which one has to be there at any time."""
    labels = {"app": SERVICE}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    # The image is the one whose layers every node has already.
    container = {"name": "web", "image": cluster.images["worker"], "command": ["python3", "-c", _SERVER]}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "topologySpreadConstraints": [spread],
        "containers": [container | {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}],
    }
    metadata = {"name": SERVICE, "namespace": namespace}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
        },
    ]


_SERVER = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=8080)"


def campaign(namespace: str, name: str, waves: list[Body], action: str, mode: str) -> Body:
    """Upgrades the package on the tenant's nodes, and takes that back by what was written down on each node."""
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "PatchCampaign",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "mode": mode,
            "targets": {"nodes": {"selector": {"matchLabels": {"role": "web"}}}},
            "patch": {"procedure": "apt-upgrade", "parameters": {"packages": [PACKAGE]}},
            "rollback": {"procedure": "apt-rollback"},
            "drain": {"timeout": "5m", "deleteEmptyDirData": True},
            "waves": waves,
            "failurePolicy": {"maxFailures": 0, "action": action},
        },
    }


CANARY: Body = {"name": "canary", "size": 1, "soak": "5s"}
FLEET: Body = {"name": "fleet"}
AGREED: Body = FLEET | {"approval": {"required": True, "timeout": "1h"}}
