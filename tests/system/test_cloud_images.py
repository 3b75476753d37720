"""Images that Packer makes at a cloud provider: real Packer with its real builder, at a provider that runs in a pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import ROOT, SYSTEM_NAMESPACE, TenantHandle
from tests.support import cloud
from tests.support.builds import ImageBuildBuilder, steps_of, tags

Builder = Callable[[str], ImageBuildBuilder]
PORT = 8080
# Wants a container image: an artifact without one fails it, after it was built.
UNSUITABLE = {"name": "policy", "procedure": "image-policy"}


@dataclass(frozen=True)
class Provider:
    """The provider in its pod, and the Procedures of the chart set up for it."""

    cluster: Cluster
    address: str
    procedure: str

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.exec(["curl", "-fsS", self.address], check=True).stdout)
        return found

    def build(self, made: ImageBuildBuilder, droplet: str = "web") -> ImageBuildBuilder:
        run = '{{user `run` | replace_all "/" "-"}}'
        builder = {
            "type": "digitalocean",
            "api_url": self.address,
            "api_token": "none",
            "region": cloud.REGION,
            "size": "small",
            "image": "debian",
            "communicator": "none",
            "droplet_name": f"{droplet}-{run}",
            "snapshot_name": f"web-{run}",
        }
        template = {"variables": {"run": "{{env `BASCULE_RUN`}}"}, "builders": [builder]}
        spec = {"procedure": self.procedure, "parameters": {"artifact": "record"}}
        return made.with_file("template.json", json.dumps(template)).with_spec(build=spec)


@pytest.fixture
def provider(bascule: Cluster, tenant: TenantHandle) -> Iterator[Provider]:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "cloud", "namespace": tenant.namespace},
        "spec": {
            "containers": [
                {
                    "name": "cloud",
                    "image": bascule.images["packer"],
                    "command": ["python3", "/program/cloud.py", str(PORT)],
                    "volumeMounts": [{"name": "program", "mountPath": "/program"}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": PORT}},
                }
            ],
            "volumes": [{"name": "program", "configMap": {"name": "cloud"}}],
        },
    }
    program = {"cloud.py": Path(cloud.__file__).read_text()}
    installation.apply(bascule, installation.config_map(tenant.namespace, "cloud", program), pod)
    named = ["pod/cloud", "-n", tenant.namespace]
    bascule.kubectl("wait", "--for=condition=Ready", *named, "--timeout=120s")
    address = f"http://{bascule.kubectl('get', *named, '-o', 'jsonpath={.status.podIP}')}:{PORT}"
    shipped = _shipped(bascule, f"{address}/v1", tenant)
    installation.apply(bascule, *shipped)
    yield Provider(bascule, address, f"packer-{tenant.name}")
    for procedure in shipped:
        bascule.kubectl("delete", "procedure", procedure["metadata"]["name"], "--wait=false")


def _shipped(cluster: Cluster, api: str, tenant: TenantHandle) -> list[dict[str, Any]]:
    """The chart's Procedures with that artifact API, under names of the test's own."""
    values = {"procedures.images.packer": cluster.images["packer"], "procedures.artifactApi": api}
    values |= {"procedures.images.builder": "a:b", "procedures.images.testRunner": "a:b"}
    values |= {"operator.image": "a:b", "worker.image": "a:b", "temporal.address": "a:1"}
    rendered = cluster.exec(
        ["helm", "template", "bascule", str(ROOT / "charts/bascule"), "--namespace", SYSTEM_NAMESPACE]
        + ["--show-only", "templates/procedures.yaml"]
        + [word for name, value in values.items() for word in ("--set", f"{name}={value}")],
        check=True,
    ).stdout
    found = []
    for document in yaml.safe_load_all(rendered):
        if document and document["metadata"]["name"] in ("packer", "packer-artifact-delete"):
            document["metadata"] = {"name": f"{document['metadata']['name']}-{tenant.name}"}
            if "undo" in document["spec"]:
                document["spec"]["undo"] += f"-{tenant.name}"
            found.append(document)
    assert len(found) == 2
    return found


def test_what_a_build_made_at_a_provider_is_told_of(image_build: Builder, provider: Provider) -> None:
    body = provider.build(image_build("cloudy")).apply().until_phase("Succeeded")

    state = provider.state()
    [number] = state["snapshots"]
    assert body["status"]["image"]["artifacts"] == [{"builder": cloud.BUILDER, "id": f"{cloud.REGION}:{number}"}]
    assert state["snapshots"][number] == f"web-{body['metadata']['uid']}-1"
    assert (state["droplets"], state["asked"]) == ({}, [])


def test_what_a_failed_run_made_at_a_provider_is_deleted_there(
    image_build: Builder, bascule: Cluster, provider: Provider
) -> None:
    build = provider.build(image_build("unsuitable").with_spec(tests=[UNSUITABLE])).apply()

    body = build.until_phase("Failed")

    assert body["status"]["failure"]["step"] == "test-policy"
    assert body["status"]["compensation"]["state"] == "Succeeded"
    assert "artifacts" not in body["status"]["image"] or body["status"]["image"]["artifacts"] == []
    state = provider.state()
    assert state["snapshots"] == {}
    assert state["asked"][0].startswith(f"DELETE {cloud.BUILDER} {cloud.REGION}:")
    assert f"DELETE runs {body['metadata']['uid']}/1" in state["asked"]
    assert tags(bascule, build.made.candidates) == []


def test_a_build_deleted_while_the_provider_works_leaves_nothing_there(
    image_build: Builder, provider: Provider
) -> None:
    build = provider.build(image_build("stopped"), droplet="stuck").apply()
    body = build.until_step("build", "Running")
    for _ in range(240):
        if provider.state()["droplets"]:
            break
        time.sleep(0.5)
    assert provider.state()["droplets"], steps_of(body)

    build.delete()
    build.until_gone()

    # Packer's builder does not stop while it waits for the provider, and is killed: the droplet is found by its name.
    state = provider.state()
    assert (state["droplets"], state["snapshots"]) == ({}, {})
    assert f"DELETE runs {body['metadata']['uid']}/1" in state["asked"]
