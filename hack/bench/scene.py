"""What the bench is played on: a cluster with the chart, a tenant, identities of their own, and the processes."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from temporalio.client import Client

from bascule_codec.credentials import read_folder
from hack import installation
from hack.bench.children import Child
from hack.bench.cluster_api import Json
from hack.cluster import handle
from hack.cluster.handle import Cluster
from hack.cluster.paths import Paths
from hack.cluster.processes import running_pid
from hack.cluster.temporal_access import ADMINISTRATOR
from hack.cluster.temporal_server import TemporalKind
from hack.installation import SYSTEM_NAMESPACE

TENANT = "bench"
NAMESPACE = "bench-dev"
RAW_NAMESPACE = "bench-raw"
PROCEDURE = "bench"
PATCH_PROCEDURE = "bench-patch"
NODES = {"bench.example.com/fleet": "true"}
"""Labels of the nodes that the tenant may patch."""
NODE_NAMES = ("node1", "node2")
OPERATOR_USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:bascule-operator"
WORKER_USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:bascule-worker"
_PATIENCE = 60.0
_LIMIT = 10_000
"""The tenant's own limits stay out of the way: what is measured is the platform."""


@dataclass(frozen=True)
class Scene:
    """The cluster, ready to be measured."""

    cluster: Cluster
    folder: Path
    operator_kubeconfig: Path
    worker_kubeconfig: Path
    keys: Path
    tenant_file: Path
    http_port: int
    worker_port: int
    """Where the worker's Temporal client tells its counters."""
    own_worker_port: int
    """Where the worker tells its own."""
    credentials: Path | None = None
    """Folder with what the cluster's Temporal demands; None: nothing."""

    def operator(self) -> Child:
        """The operator as a process on this machine, under its own service account."""
        env = {
            "BASCULE_TEMPORAL_ADDRESS": self.cluster.temporal_address,
            "BASCULE_PAYLOAD_KEYS_DIR": str(self.keys),
            "BASCULE_KUBECONFIG": str(self.operator_kubeconfig),
            "BASCULE_HTTP_PORT": str(self.http_port),
        }
        if self.credentials:
            env["BASCULE_TEMPORAL_CREDENTIALS_DIR"] = str(self.credentials)
        return Child(self.folder, "operator", "bascule_operator", [], env)

    @asynccontextmanager
    async def drilling_worker(self) -> AsyncIterator[Child]:
        """The whole real worker for as long as the block, under its own service account: what drills do is real."""
        env = {
            "BASCULE_TEMPORAL_ADDRESS": self.cluster.temporal_address,
            "BASCULE_PAYLOAD_KEYS_DIR": str(self.keys),
            "BASCULE_TOOLS_IMAGE": self.cluster.images["worker"],
            "BASCULE_CA_CONFIG_MAP": "bascule-ca",
            "BASCULE_HTTP_PORT": str(self.own_worker_port),
            "BASCULE_GRACE_SECONDS": "1",
            "KUBECONFIG": str(self.worker_kubeconfig),
        }
        if self.credentials:
            env["BASCULE_TEMPORAL_CREDENTIALS_DIR"] = str(self.credentials)
        child = Child(self.folder, "drilling-worker", "bascule_workers", ["--tenant", TENANT], env)
        child.start()
        try:
            await _until_ready(f"http://127.0.0.1:{self.own_worker_port}/readyz", child.log)
            yield child
        finally:
            await child.stop()

    def start_nodes(self) -> None:
        """Switch the nodes on, and wait until pods can run there."""
        for node in NODE_NAMES:
            self.cluster.start(node)
        self.cluster.kubectl("wait", "--for=condition=Ready", "nodes", *NODE_NAMES, "--timeout=180s")

    @asynccontextmanager
    async def worker(self, raw: bool = False) -> AsyncIterator[Child]:
        """A worker process for as long as the block: the real one without effects, or the raw one."""
        arguments = ["--address", self.cluster.temporal_address]
        arguments += ["--tenant", str(self.tenant_file), "--keys", str(self.keys)]
        arguments += ["--credentials", str(self.credentials)] if self.credentials else []
        if raw:
            arguments += ["--raw", RAW_NAMESPACE]
        else:
            arguments += ["--metrics-port", str(self.worker_port), "--own-metrics-port", str(self.own_worker_port)]
            arguments += ["--kubeconfig", str(self.worker_kubeconfig)]
        child = Child(self.folder, "raw-worker" if raw else "worker", "hack.bench.worker", arguments, {})
        child.start()
        try:
            await asyncio.sleep(4.0)  # imports, and the first polls
            yield child
        finally:
            await child.stop()

    def pids(self, **children: Child) -> dict[str, int]:
        """Processes whose processor time is worth knowing, by name."""
        paths = Paths(self.cluster.name)
        servers = {name: running_pid(paths, name) for name in ("temporal", "apiserver", "etcd", "controller-manager")}
        found = {name: pid for name, pid in servers.items() if pid is not None}
        return found | {name: child.pid for name, child in children.items()}

    async def metrics(self) -> str:
        """The operator's counters."""
        return await _text(self._url("metrics"))

    async def worker_metrics(self) -> str:
        """The counters of the worker's Temporal client."""
        return await _text(f"http://127.0.0.1:{self.worker_port}/metrics")

    async def own_worker_metrics(self) -> str:
        """The worker's own counters."""
        return await _text(f"http://127.0.0.1:{self.own_worker_port}/metrics")

    async def until_ready(self) -> float:
        """Wait for the operator's readiness; returns how long that took."""
        return await _until_ready(self._url("readyz"), self.folder / "operator.log")

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}/{path}"

    async def temporal(self, namespace: str) -> Client:
        return await connected(self.cluster.temporal_address, namespace, self.credentials)


async def connected(address: str, namespace: str, credentials: Path | None) -> Client:
    """A client of our own, with the bench's credentials."""
    shown = read_folder(credentials)
    return await Client.connect(address, namespace=namespace, tls=shown.tls, api_key=shown.api_key or None)


async def _until_ready(url: str, log: Path) -> float:
    """Wait until a process says that it is ready. Returns how long that took; raises RuntimeError."""
    begun = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while time.monotonic() - begun < _PATIENCE:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return time.monotonic() - begun
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"{url} is not ready; see {log}")


async def _text(url: str) -> str:
    """What is there; a process that was just started may need a moment."""
    deadline = time.monotonic() + _PATIENCE
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    return await answer.text()
            except aiohttp.ClientConnectorError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)


def prepare(name: str, folder: Path, temporal: TemporalKind | None = None) -> Scene:
    """A cluster with everything but operator and workers, which are started here."""
    cluster = handle.up(name, temporal)
    installation.install(cluster, worker={"image": cluster.images["worker"], "replicas": 0})
    installation.make_tenant(cluster, TENANT, NAMESPACE)
    limits = {"concurrentRuns": _LIMIT, "activitiesPerSecond": _LIMIT}
    spec = {"spec": {"limits": limits, "nodeSelector": NODES, "drills": {"enabled": True}}}
    cluster.kubectl("patch", "tenant", TENANT, "--type=merge", "--patch", json.dumps(spec))
    installation.apply(
        cluster,
        _procedure(),
        _patch_procedure(),
        installation.config_map(NAMESPACE, "source", {"Containerfile": "FROM a"}),
    )
    cluster.kubectl("scale", "deployment/bascule-operator", "-n", SYSTEM_NAMESPACE, "--replicas=0")
    cluster.kubectl("wait", "--for=delete", "pod", "-n", SYSTEM_NAMESPACE, "--all", "--timeout=60s")
    # No pod runs from here on, until drills need some: what nodes do in idleness would only disturb.
    for node in NODE_NAMES:
        cluster.stop(node)
    return Scene(
        cluster=cluster,
        folder=folder,
        operator_kubeconfig=_kubeconfig(cluster, folder, "operator"),
        worker_kubeconfig=_kubeconfig(cluster, folder, "worker"),
        keys=_payload_keys(cluster, folder),
        tenant_file=_tenant(cluster, folder),
        http_port=_free_port(),
        worker_port=_free_port(),
        own_worker_port=_free_port(),
        credentials=_credentials(cluster, folder),
    )


def _procedure() -> Json:
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "Procedure",
        "metadata": {"name": PROCEDURE},
        "spec": {
            "description": "Does nothing, for as long as it is told.",
            "uses": ["ImageBuild/build", "ImageBuild/test"],
            "parameters": [{"name": "seconds", "default": "0"}],
            "template": {"container": {"name": "step", "image": "bench.example.com/none:1"}},
        },
    }


def _patch_procedure() -> Json:
    procedure = _procedure()
    spec = procedure["spec"] | {"uses": ["PatchCampaign/patch", "PatchCampaign/rollback"], "placement": "OnTarget"}
    return procedure | {"metadata": {"name": PATCH_PROCEDURE}, "spec": spec}


def patch_campaign(name: str, labels: dict[str, str], parallel: int, seconds: float) -> Json:
    """A PatchCampaign of all nodes with these labels: a canary of one in a hundred, then the rest."""
    spec: Json = {
        "targets": {"nodes": {"selector": {"matchLabels": labels}}},
        "patch": {"procedure": PATCH_PROCEDURE, "parameters": {"seconds": f"{seconds:.2f}"}},
        "waves": [
            {"name": "canary", "size": "1%", "maxParallel": parallel},
            {"name": "fleet", "maxParallel": parallel},
        ],
        "timeout": "12h",
    }
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "PatchCampaign",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def image_build(name: str, build_seconds: float = 0.0, test_seconds: float = 0.0) -> Json:
    """An ImageBuild with one test, whose build and test take as long as said."""
    test = {"name": "smoke", "procedure": PROCEDURE, "parameters": {"seconds": f"{test_seconds:.2f}"}}
    spec: Json = {
        "source": {"configMap": {"name": "source"}},
        "build": {"procedure": PROCEDURE, "parameters": {"seconds": f"{build_seconds:.2f}"}},
        "tests": [test],
        "sign": {"keySecretRef": {"name": "signing-key"}},
        # A repository each: builds that share a tag have to look at one another.
        "publish": {"repository": f"bench.example.com/bench/{name}", "tags": ["v1"]},
    }
    return installation.image_build(NAMESPACE, name, spec)


def _kubeconfig(cluster: Cluster, folder: Path, who: str) -> Path:
    token = cluster.kubectl("create", "token", f"bascule-{who}", "-n", SYSTEM_NAMESPACE, "--duration=12h").strip()
    document = json.loads(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = folder / f"{who}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


def _payload_keys(cluster: Cluster, folder: Path) -> Path:
    secret = json.loads(
        cluster.kubectl("get", "secret", "bascule-payload-keys", "-n", SYSTEM_NAMESPACE, "--output=json")
    )
    keys = folder / "payload-keys"
    keys.mkdir(mode=0o700)
    for name, value in secret["data"].items():
        (keys / name).write_bytes(base64.b64decode(value))
    return keys


def _credentials(cluster: Cluster, folder: Path) -> Path | None:
    content = cluster.temporal_credentials("bench", ADMINISTRATOR)
    if not content:
        return None
    credentials = folder / "temporal"
    credentials.mkdir(mode=0o700)
    for name, value in content.items():
        (credentials / name).write_text(value)
    return credentials


def _tenant(cluster: Cluster, folder: Path) -> Path:
    path = folder / "tenant.json"
    path.write_text(cluster.kubectl("get", "tenant", TENANT, "--output=json"))
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
