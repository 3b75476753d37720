"""What the demo applies. The first story: an image and a Packer template get published, one fails, one is deleted."""

from __future__ import annotations

import json
from typing import Any

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle

CONTAINERFILE = """\
ARG BASE
FROM ${BASE}
COPY control /package/DEBIAN/control
COPY greet /package/usr/bin/greet
RUN chmod 0755 /package/DEBIAN /package/usr/bin/greet \\
 && dpkg-deb --root-owner-group --build /package /greet.deb && dpkg --install /greet.deb \\
 && rm -r /package /greet.deb && greet
USER 65532
"""
PACKAGE = "hello-greet"
CONTROL = f"""\
Package: {PACKAGE}
Version: 1.0
Architecture: all
Maintainer: Acme <acme@example.com>
Description: says hello
"""
GREET = """\
#!/bin/sh
echo "hello from the golden image"
"""
SOURCE = "hello-source"
TEMPLATE = {"builders": [{"type": "file", "target": "greeting.txt", "content": "hello from Packer\n"}]}
TEMPLATE_SOURCE = "packed-source"


def _spec(cluster: Cluster, name: str, tests: list[dict[str, Any]]) -> dict[str, Any]:
    base = f"{cluster.registry}/{installation.BASE_IMAGE}"
    return {
        "source": {"configMap": {"name": SOURCE}},
        "build": {"procedure": "buildah", "parameters": {"buildArgs": [f"BASE={base}"]}},
        "tests": tests,
        "sign": {"keySecretRef": {"name": "signing-key"}},
        "publish": {"repository": f"{cluster.registry}/acme/{name}", "tags": ["v1", "latest"]},
    }


def _packed(cluster: Cluster) -> dict[str, Any]:
    """Files out of a Packer template go the way of an image."""
    template = {"source": {"configMap": {"name": TEMPLATE_SOURCE}}, "build": {"procedure": "packer"}}
    return _spec(cluster, "packed", []) | template


def _run(name: str, *command: str) -> dict[str, Any]:
    return {"name": name, "procedure": "run-image", "parameters": {"command": list(command)}}


def image_builds(cluster: Cluster, tenant: TenantHandle) -> list[dict[str, Any]]:
    """The sources and the ImageBuilds."""
    files = {"Containerfile": CONTAINERFILE, "control": CONTROL, "greet": GREET}
    hello = [
        _run("greets", "/usr/bin/greet"),
        _run("not-root", "sh", "-c", 'test "$(id -u)" -ne 0 && echo "runs as $(id -u)"'),
    ]
    broken = [_run("smoke", "sh", "-c", "echo 'expected port 8080 to answer' >&2; exit 3")]
    endless = [_run("soak", "sh", "-c", "echo 'soaking for an hour'; sleep 3600")]
    return [
        installation.config_map(tenant.namespace, SOURCE, files),
        installation.config_map(tenant.namespace, TEMPLATE_SOURCE, {"template.json": json.dumps(TEMPLATE)}),
        installation.image_build(tenant.namespace, "packed", _packed(cluster)),
        installation.image_build(tenant.namespace, "hello", _spec(cluster, "hello", hello)),
        installation.image_build(tenant.namespace, "broken", _spec(cluster, "broken", broken)),
        installation.image_build(tenant.namespace, "abandoned", _spec(cluster, "abandoned", endless)),
    ]


def lives(cluster: Cluster, tenant: TenantHandle) -> dict[str, list[dict[str, Any]]]:
    """The second story, by name: web waits for an approval, nightly is suspended, doomed is deleted half-way."""
    web = _spec(cluster, "web", [_run("greets", "/usr/bin/greet")])
    web["publish"]["approval"] = {"required": True, "timeout": "1h"}
    # Deleted after it is published, it takes that back as well.
    web["compensation"] = {"onDelete": "Always"}
    nightly = _spec(cluster, "nightly", [_run("slow", "sh", "-c", "echo 'testing for a while'; sleep 20")])
    doomed = _spec(cluster, "doomed", [_run("soak", "sh", "-c", "echo 'soaking for an hour'; sleep 3600")])
    files = {"Containerfile": CONTAINERFILE, "control": CONTROL, "greet": GREET}
    source = installation.config_map(tenant.namespace, SOURCE, files)
    specs = {"web": web, "nightly": nightly, "doomed": doomed}
    return {name: [source, installation.image_build(tenant.namespace, name, spec)] for name, spec in specs.items()}
