"""What the demo applies: a tenant and three ImageBuilds, of which one succeeds, one fails its test, one is deleted."""

from __future__ import annotations

from typing import Any

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle

CONTAINERFILE = """\
ARG BASE
FROM ${BASE}
COPY greet /usr/local/bin/greet
RUN chmod 0755 /usr/local/bin/greet && greet
USER 65532
"""
GREET = """\
#!/bin/sh
echo "hello from the golden image"
"""
SOURCE = "hello-source"


def _spec(cluster: Cluster, name: str, tests: list[dict[str, Any]]) -> dict[str, Any]:
    base = f"{cluster.registry}/{installation.BASE_IMAGE}"
    return {
        "source": {"configMap": {"name": SOURCE}},
        "build": {"procedure": "buildah", "parameters": {"buildArgs": [f"BASE={base}"]}},
        "tests": tests,
        "sign": {"keySecretRef": {"name": "signing-key"}},
        "publish": {"repository": f"{cluster.registry}/acme/{name}", "tags": ["v1", "latest"]},
    }


def _run(name: str, *command: str) -> dict[str, Any]:
    return {"name": name, "procedure": "run-image", "parameters": {"command": list(command)}}


def image_builds(cluster: Cluster, tenant: TenantHandle) -> list[dict[str, Any]]:
    """The source and the three ImageBuilds."""
    hello = [
        _run("greets", "/usr/local/bin/greet"),
        _run("not-root", "sh", "-c", 'test "$(id -u)" -ne 0 && echo "runs as $(id -u)"'),
    ]
    broken = [_run("smoke", "sh", "-c", "echo 'expected port 8080 to answer' >&2; exit 3")]
    endless = [_run("soak", "sh", "-c", "echo 'soaking for an hour'; sleep 3600")]
    return [
        installation.config_map(tenant.namespace, SOURCE, {"Containerfile": CONTAINERFILE, "greet": GREET}),
        installation.image_build(tenant.namespace, "hello", _spec(cluster, "hello", hello)),
        installation.image_build(tenant.namespace, "broken", _spec(cluster, "broken", broken)),
        installation.image_build(tenant.namespace, "abandoned", _spec(cluster, "abandoned", endless)),
    ]
