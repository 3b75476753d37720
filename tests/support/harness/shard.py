"""One operator and one worker with a tenant of their own, all their connections through proxies."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client

from hack import installation
from hack.cluster.binaries import binaries
from tests.support import scripted_builds
from tests.support.harness import calls
from tests.support.harness.calls import Call
from tests.support.harness.gate import Gate, Kind
from tests.support.harness.https_proxy import HttpsProxy
from tests.support.harness.plane import Plane, namespace
from tests.support.harness.processes import Victim
from tests.support.harness.temporal_proxy import TemporalProxy

LABEL = "shard"
Json = dict[str, Any]


@dataclass
class Shard:
    """Its resources carry the label `shard=<tenant>`, and only its operator serves them."""

    plane: Plane
    name: str
    """Also the tenant's."""
    operator_api: HttpsProxy
    worker_api: HttpsProxy
    registry: HttpsProxy
    operator_temporal: TemporalProxy
    worker_temporal: TemporalProxy
    gate: Gate
    operator: Victim
    worker: Victim
    cases: int = 0
    person: Callable[[Kind], Awaitable[None]] | None = None
    """What a person does to the resource of the present case."""
    deaths: list[str] = field(default_factory=list)
    """Of processes that nobody killed."""
    others: list[Victim] = field(default_factory=list)
    """Beside those that were stopped."""
    restart: dict[str, bool] = field(default_factory=lambda: {"operator": True, "worker": True})

    @property
    def namespace(self) -> str:
        return f"{self.name}-dev"

    @property
    def steps_namespace(self) -> str:
        return f"bascule-steps-{self.name}"

    @property
    def registry_host(self) -> str:
        return f"127.0.0.1:{self.registry.port}"

    async def client(self) -> Client:
        """Of the tenant's Temporal namespace, past every proxy."""
        control = self.plane.control
        return await scripted_builds.tenant_client(control.temporal_address, control.keyring, self.name)

    def victim(self, who: str) -> Victim:
        return self.operator if who == "operator" else self.worker

    def kill(self, who: str) -> None:
        """SIGKILL, and start anew."""
        self.victim(who).kill()
        if self.restart[who]:
            self.victim(who).start()

    def another(self, who: str) -> Callable[[], None]:
        """Stop operator or worker where it stands, and start another beside it. Returns what lets it go on."""
        stopped = self.victim(who)
        stopped.send(signal.SIGSTOP)
        other = stopped.twin()
        self.others.append(other)
        other.start()
        return partial(stopped.send, signal.SIGCONT)

    def ended(self) -> list[str]:
        """Which of the processes ended by themselves. They are started again, as a kubelet would."""
        told = []
        for victim in (self.operator, self.worker):
            if (code := victim.exit_code) is not None:
                told.append(f"{victim.module} ended by itself with {code}: {victim.said(1)[-1500:]}")
                victim.start()
        return told

    async def supervise(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.deaths += self.ended()

    def alone(self) -> None:
        """End whoever stands beside another: operator and worker may both have been replaced in one life."""
        while self.others:
            self.others.pop().kill()

    def concerns(self, call: Call) -> bool:
        """Whether a call belongs to a life. What a process does all the time anyway does not."""
        if call.bank == "temporal":
            return not call.name.startswith(("GetSystemInfo", "GetClusterInfo", "Poll", "Shutdown")) or " " in call.name
        return call.about not in ("/version",) and not call.about.startswith(("/apis/bascule.dev/v1alpha1/procedures",))


@asynccontextmanager
async def shard(plane: Plane, name: str, folder: Path, **settings: str) -> AsyncIterator[Shard]:
    """A shard whose operator and worker run, and whose tenant is ready."""
    folder.mkdir()  # noqa: ASYNC240 - a moment, before anything is served
    holder: list[Shard] = []

    def kill(who: str) -> None:
        holder[0].kill(who)

    async def person(kind: Kind) -> None:
        assert holder[0].person is not None
        await holder[0].person(kind)

    def another(who: str) -> Callable[[], None]:
        return holder[0].another(who)

    gate = Gate(kill, person, another)
    made = _planned(plane, name, folder, gate, settings)
    holder.append(made)
    async with AsyncExitStack() as stack:
        proxies = (made.operator_api, made.worker_api, made.registry, made.operator_temporal, made.worker_temporal)
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.close)
        _write_settings(made, folder, settings)
        await _make_tenant(made)
        for victim in (made.operator, made.worker):
            victim.start()
            stack.callback(victim.kill)
        stack.callback(made.alone)
        supervising = asyncio.create_task(made.supervise())
        stack.callback(supervising.cancel)
        await _tenant_ready(made)
        yield made


def _planned(plane: Plane, name: str, folder: Path, gate: Gate, settings: Mapping[str, str]) -> Shard:
    def api(who: str) -> HttpsProxy:
        return HttpsProxy(
            upstream=_server(plane.control.kubeconfig), name_of=partial(calls.kubernetes, who), gate=gate,
            server_tls=plane.server_tls, query=partial(_own_tenant_only, name),
        )  # fmt: skip

    def temporal(who: str) -> TemporalProxy:
        return TemporalProxy(plane.control.temporal_address, who, gate)

    registry = HttpsProxy(
        upstream=f"https://{plane.registry.host}", server_tls=plane.server_tls, gate=gate,
        name_of=lambda method, path, _: calls.registry("worker", method, path),
    )  # fmt: skip
    return Shard(
        plane=plane, name=name, operator_api=api("operator"), worker_api=api("worker"), registry=registry,
        operator_temporal=temporal("operator"), worker_temporal=temporal("worker"), gate=gate,
        operator=Victim(plane.nurseries, "bascule_operator", [], {}, folder / "operator.log"),
        worker=Victim(plane.nurseries, "bascule_workers", ["--tenant", name], {}, folder / "worker.log"),
    )  # fmt: skip


def _server(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])


def _own_tenant_only(tenant: str, call: Call, query: Mapping[str, str]) -> dict[str, str]:
    """Tenants have no label by which to share them out, and each operator would count its own runs only."""
    if call.name in ("list tenants", "watch tenants"):
        return dict(query) | {"fieldSelector": f"metadata.name={tenant}"}
    return dict(query)


def listening_port() -> int:
    """A port to listen on again and again: below those that connections of others are given."""
    while True:
        port = random.randrange(12_000, 30_000)  # noqa: S311 - chance, not secrets
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _through(kubeconfig: Path, port: int, file: Path) -> str:
    """The kubeconfig with a proxy instead of the server."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    file.write_text(yaml.safe_dump(document))
    return str(file)


def _write_settings(made: Shard, folder: Path, settings: Mapping[str, str]) -> None:
    control = made.plane.control
    made.operator.environment = control.operator_environment(
        BASCULE_TEMPORAL_ADDRESS=f"127.0.0.1:{made.operator_temporal.port}",
        BASCULE_KUBECONFIG=_through(control.operator_kubeconfig, made.operator_api.port, folder / "operator.yaml"),
        BASCULE_SELECTOR=f"{LABEL}={made.name}",
        BASCULE_NAMESPACE=made.namespace,
        BASCULE_HTTP_PORT=str(listening_port()),
        **settings,
    )
    made.worker.environment = {
        "PATH": f"{binaries()}:/usr/bin:/bin",
        "BASCULE_TEMPORAL_ADDRESS": f"127.0.0.1:{made.worker_temporal.port}",
        "KUBECONFIG": _through(control.worker_kubeconfig, made.worker_api.port, folder / "worker.yaml"),
        "BASCULE_PAYLOAD_KEYS_DIR": str(control.keys),
        "BASCULE_TOOLS_IMAGE": "example.com/tools:1",
        "BASCULE_GRACE_SECONDS": "1",
        "SSL_CERT_FILE": str(made.plane.registry.ca_file),
    } | {name: value for name, value in settings.items() if name.startswith("OTEL_")}


async def _make_tenant(made: Shard) -> None:
    plane = made.plane
    await namespace(plane, made.namespace)
    await namespace(plane, made.steps_namespace)
    secret = installation.signing_secret(made.namespace, plane.key.pem, plane.key.password)
    await plane.apply(f"/api/v1/namespaces/{made.namespace}/secrets/signing-key", secret)
    source = installation.config_map(made.namespace, "source", {"Containerfile": "FROM scratch\n"})
    await plane.apply(f"/api/v1/namespaces/{made.namespace}/configmaps/source", source)
    document = {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": made.name},
        "spec": {
            "namespaces": [made.namespace],
            "signing": {"publicKey": plane.key.public},
            "nodeSelector": {LABEL: made.name},
        },
    }
    await plane.apply(f"/apis/bascule.dev/v1alpha1/tenants/{made.name}", document)


async def _tenant_ready(made: Shard) -> None:
    path = f"/apis/bascule.dev/v1alpha1/tenants/{made.name}"
    body: Json = {}
    for _ in range(600):
        body = await made.plane.kube.request("GET", path, resource="test")
        conditions = (body.get("status") or {}).get("conditions", [])
        if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{made.name} never became ready: {body.get('status')}; {made.operator.said()}")
