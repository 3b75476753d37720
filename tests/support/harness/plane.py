"""What all shards share: a control plane with Kubernetes' own controllers, a registry, a signing key, a kubelet."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bascule_api import names
from bascule_operator.connections.kube import APPLY, Kube
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.registry_http import RegistryHttp
from hack import installation
from hack.cluster.binaries import binaries
from tests.support import registry as loopback
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.harness import fleet
from tests.support.harness.chronicle import Chronicle
from tests.support.harness.kubelet import Kubelet
from tests.support.harness.processes import Nurseries
from tests.support.images import Images
from tests.support.registry import LoopbackRegistry

CONTROLLERS = (
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "ttl-after-finished-controller",
)
Json = dict[str, Any]


@dataclass(frozen=True)
class KeyPair:
    pem: str
    password: str
    public: str


@dataclass
class Plane:
    """The world in which shards live."""

    control: ControlPlane
    registry: LoopbackRegistry
    storage: Path
    kube: Kube
    """An administrator's connection."""
    api: ApiServer
    """The same, as a worker has it."""
    kubelet: Kubelet
    chronicle: Chronicle
    key: KeyPair
    nurseries: Nurseries
    server_tls: ssl.SSLContext
    """For proxies that have to be trusted as the registry is."""

    async def apply(self, path: str, document: Json) -> Json:
        """Server-side apply, as a GitOps controller would."""
        return await self.kube.request(
            "PATCH", path, resource="test", body=document, content_type=APPLY,
            query={"fieldManager": "test", "force": "true"},
        )  # fmt: skip

    def manifests(self, repository: str) -> dict[str, Json]:
        """Digest to manifest of all that a repository of the registry holds, read from its disk."""
        base = self.storage / "docker/registry/v2"
        found = {}
        for link in (base / "repositories" / repository / "_manifests/revisions/sha256").glob("*/link"):
            digest = link.read_text().strip().removeprefix("sha256:")
            found[f"sha256:{digest}"] = json.loads((base / "blobs/sha256" / digest[:2] / digest / "data").read_bytes())
        return found

    def tags(self, repository: str) -> dict[str, str]:
        """Tag to digest."""
        folder = self.storage / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        return {link.parent.parent.name: link.read_text().strip() for link in folder.glob("*/current/link")}


@asynccontextmanager
async def plane(folder: Path) -> AsyncIterator[Plane]:
    """Everything up; gone at the end."""
    async with AsyncExitStack() as stack:
        control = await asyncio.to_thread(stack.enter_context, control_plane(folder / "plane", *CONTROLLERS))
        (folder / "registry").mkdir()
        registry = await asyncio.to_thread(stack.enter_context, loopback.serving(folder / "registry"))
        kube = await control.kube()
        stack.push_async_callback(kube.close)
        http = RegistryHttp(ssl.create_default_context(cafile=registry.ca_file))
        stack.push_async_callback(http.close)
        api = await ApiServer.connect(str(control.kubeconfig))
        stack.push_async_callback(api.close)
        kubelet = Kubelet(api, Images(http), registry.host)
        chronicle = Chronicle(api)
        for watching in (kubelet.run(), chronicle.run()):
            stack.push_async_callback(_ended, asyncio.create_task(watching))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(registry.ca_file, registry.ca_file.with_name("tls.key"))
        nurseries = Nurseries("bascule_operator", "bascule_workers")
        stack.callback(nurseries.close)
        made = Plane(
            control, registry, folder / "registry/storage", kube, api, kubelet, chronicle, _key_pair(folder),
            nurseries, tls,
        )  # fmt: skip
        await _platform(made)
        yield made


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _key_pair(folder: Path) -> KeyPair:
    password = secrets.token_urlsafe(18)
    subprocess.run(
        [str(binaries() / "cosign"), "generate-key-pair", "--output-key-prefix", str(folder / "cosign")],
        env=os.environ | {"COSIGN_PASSWORD": password}, check=True, capture_output=True,
    )  # fmt: skip
    return KeyPair((folder / "cosign.key").read_text(), password, (folder / "cosign.pub").read_text())


async def _platform(made: Plane) -> None:
    """The workers' own namespace and the Procedures: they do nothing but what the kubelet plays."""
    await namespace(made, installation.SYSTEM_NAMESPACE)
    await _procedure(made, "no-op-build", "ImageBuild/build", {"image": "example.com/step:1"}, mark="")
    await _procedure(made, "no-op-test", "ImageBuild/test", {"imageFrom": "Candidate"}, behaviour="succeed")
    for use in fleet.USES:
        more: Json = {} if use == fleet.GATE else {"placement": "OnTarget"}
        more |= {"reboot": "no-op-reboot"} if use == fleet.PATCH else {}
        values = {"behaviour": "succeed", "mark": ""} if use == fleet.PATCH else {}
        container = {"image": fleet.image(use)}
        await _procedure(made, f"no-op-{use}", f"PatchCampaign/{use}", container, more, **values)


async def _procedure(
    made: Plane, name: str, use: str, container: Json, more: Json | None = None, **defaults: str
) -> None:
    parameters = [{"name": key, "type": "string", "default": value} for key, value in defaults.items()]
    spec = {"uses": [use], "parameters": parameters, "retry": {"attempts": 3}, "template": {"container": container}}
    document = {"apiVersion": names.API_VERSION, "kind": "Procedure", "metadata": {"name": name}}
    await made.apply(f"/apis/{names.API_VERSION}/procedures/{name}", document | {"spec": spec | (more or {})})


async def namespace(made: Plane, name: str) -> None:
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await made.apply(f"/api/v1/namespaces/{name}", document)
