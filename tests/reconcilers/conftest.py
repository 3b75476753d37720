"""One control plane per test process; a tenant, a namespace and a worker per test; an operator in the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from bascule_api.kinds import RUN_KINDS
from bascule_api.tenants import Tenant
from bascule_operator import apply
from bascule_operator.bridge import Bridge
from bascule_operator.connections.kube import APPLY, MERGE_PATCH, Kube
from bascule_operator.connections.temporal import Temporal
from bascule_operator.errors import GoneError, OperatorError
from bascule_operator.observe import collection, path
from bascule_operator.settings import Settings
from bascule_operator.store import Key
from bascule_workers.adapters.temporal_connections import PlatformTemporal, TemporalConnections, no_secrets
from bascule_workers.supervisor import Equipment, make_worker
from tests.support import fake_world, scripted_builds
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.drills import DISASTER, time_of
from tests.support.temporal import patient

Json = dict[str, Any]
PATIENCE = 45.0


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as made:
        yield made


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Kube]:
    made = await plane.kube()
    yield made
    await made.close()


@dataclass
class Lab:
    """A tenant of the test's own, and what a test does to it."""

    plane: ControlPlane
    kube: Kube
    tenant: str
    namespace: str
    selector: dict[str, str]
    workers: list[tuple[Worker, asyncio.Task[None]]] = field(default_factory=list)
    bridges: list[asyncio.Task[None]] = field(default_factory=list)
    stops: list[asyncio.Event] = field(default_factory=list)
    bridge: Bridge | None = None
    _kubes: list[Kube] = field(default_factory=list)

    # the operator

    async def start_operator(
        self, clock: Callable[[], datetime] = lambda: datetime.now(UTC), **settings: Any
    ) -> Bridge:
        """An operator in this loop, for this test's resources only."""
        values = Settings(
            temporal_address=self.plane.temporal_address,
            temporal_ui_url="https://temporal.example.com",
            payload_keys_dir=self.plane.keys,
            http_port=0,
            selector=",".join(f"{name}={value}" for name, value in self.selector.items()),
            **settings,
        )
        kube = await self.plane.operator_kube()
        self._kubes.append(kube)
        bridge = Bridge(values, kube, Temporal(values.temporal_address, self.plane.keyring), clock=clock)
        stop = asyncio.Event()
        self.bridges.append(asyncio.create_task(bridge.run(stop)))
        self.stops.append(stop)
        self.bridge = bridge
        return bridge

    async def stop_operator(self) -> None:
        for stop in self.stops:
            stop.set()
        for task in self.bridges:
            await task
        for kube in self._kubes:
            await kube.close()
        self.stops, self.bridges, self._kubes = [], [], []

    @contextlib.asynccontextmanager
    async def crash(
        self, call: str, *, after: bool, concerns: Callable[[tuple[Any, ...]], bool]
    ) -> AsyncIterator[None]:
        """The operator dies before or after a call of `apply` that the block leads to. Nobody serves at its end."""
        real, reached = getattr(apply, call), asyncio.Event()

        async def breaks(*arguments: Any, **more: Any) -> Any:
            if concerns(arguments):
                if after:
                    await real(*arguments, **more)
                reached.set()
                await asyncio.Event().wait()
            return await real(*arguments, **more)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(apply, call, breaks)
            yield
            async with asyncio.timeout(PATIENCE):
                await reached.wait()
            for task in self.bridges:
                task.cancel()
            await asyncio.gather(*self.bridges, return_exceptions=True)
            self.bridges = []

    async def client(self) -> Client:
        return await scripted_builds.tenant_client(self.plane.temporal_address, self.plane.keyring, self.tenant)

    async def start_worker(self) -> Worker:
        made = scripted_builds.worker(await self.client(), self.tenant)
        # Not as a context manager: that belongs to one task, and fixtures are torn down in another.
        self.workers.append((made, asyncio.create_task(made.run())))
        return made

    async def start_real_worker(self, world: fake_world.World) -> Worker:
        """A worker with the real workflows and activities, on ports that `world` fakes."""
        key = {"cosign.key": "private", "cosign.password": "canary-secret"}
        world.objects.add(fake_world.secret("signing-key", "signing", key, namespace=self.namespace))
        source = {"kind": "ConfigMap", "metadata": {"name": "source", "namespace": self.namespace}, "data": {"a": "b"}}
        world.objects.add(source)
        world.tenants.keys[self.tenant] = "private"[::-1]
        equipment = Equipment(
            connections=TemporalConnections(PlatformTemporal(self.plane.temporal_address), no_secrets),
            keyring=self.plane.keyring,
            ports=world.ports(),
            targets=world.target_ports(),
            drills=world.drills,
            policy=lambda _: world.policy,
            audit=world.audit,
            grace=timedelta(0),
            identity="worker",
        )
        tenant = Tenant.parse({"metadata": {"name": self.tenant}, "spec": {"namespaces": [self.namespace]}})
        made = patient(make_worker(await self.client(), tenant, equipment))
        self.workers.append((made, asyncio.create_task(made.run())))
        return made

    async def stop_workers(self) -> None:
        for worker, task in self.workers:
            await worker.shutdown()
            await task
        self.workers = []

    # resources

    async def apply(self, kind: str, name: str, spec: Json, namespace: str = "", **metadata: Any) -> Json:
        document = {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata},
            "spec": spec,
        }
        return await self.kube.request(
            "PATCH", path(Key(kind, namespace, name)), resource="test", body=document, content_type=APPLY,
            query={"fieldManager": "test", "force": "true"},
        )  # fmt: skip

    async def build(self, name: str = "web", behaviour: str = "succeed", **changes: Any) -> Key:
        """Apply an ImageBuild whose run plays `behaviour`."""
        annotations, spec = changes.pop("annotations", {}), changes.pop("spec", {})
        await self.apply(
            "ImageBuild", name, build_spec(behaviour, **changes) | spec, self.namespace,
            labels=self.selector, annotations=annotations,
        )  # fmt: skip
        return Key("ImageBuild", self.namespace, name)

    async def campaign(self, name: str = "nodes", behaviour: str = "succeed", **changes: Any) -> Key:
        """Apply a PatchCampaign whose run plays `behaviour`."""
        annotations, spec = changes.pop("annotations", {}), campaign_spec(self.tenant, behaviour) | changes
        await self.apply("PatchCampaign", name, spec, self.namespace, labels=self.selector, annotations=annotations)
        return Key("PatchCampaign", self.namespace, name)

    async def drill(self, name: str = "shop", **changes: Any) -> Key:
        """Apply a DRDrill, whose workflow is the real one; None takes a field away."""
        annotations = changes.pop("annotations", {})
        spec = {key: value for key, value in (drill_spec() | changes).items() if value is not None}
        await self.apply("DRDrill", name, spec, self.namespace, labels=self.selector, annotations=annotations)
        return Key("DRDrill", self.namespace, name)

    async def make_tenant(self, name: str = "", namespaces: list[str] | None = None, **temporal: Any) -> None:
        name = name or self.tenant
        nodes, drills = temporal.pop("nodes", {"test-tenant": name}), temporal.pop("drills", True)
        await self.make_namespace(f"bascule-steps-{name}")
        spec = {"namespaces": namespaces or [self.namespace], "temporal": temporal, "nodeSelector": nodes}
        spec |= {"drills": {"enabled": drills, "quota": {"pods": "5"}}}
        await self.apply("Tenant", name, spec)

    async def make_namespace(self, name: str) -> None:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.kube.request(
            "PATCH", f"/api/v1/namespaces/{name}", resource="test", body=document, content_type=APPLY,
            query={"fieldManager": "test"},
        )  # fmt: skip

    async def get(self, key: Key) -> Json | None:
        with contextlib.suppress(GoneError):
            return await self.kube.request("GET", path(key), resource="test")
        return None

    async def annotate(self, key: Key, **annotations: str | None) -> None:
        named = {f"bascule.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
        await self.patch(key, {"metadata": {"annotations": named}})

    async def patch(self, key: Key, body: Json) -> Json:
        return await self.kube.request("PATCH", path(key), resource="test", body=body, content_type=MERGE_PATCH)

    async def delete(self, key: Key) -> None:
        await self.kube.request("DELETE", path(key), resource="test")

    async def until(self, key: Key, holds: Callable[[Json], bool], what: str) -> Json:
        """Wait until the resource looks so. Fails with what it looks like instead."""
        body: Json | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self.check()
                    body = await self.get(key)
                    if body is not None and holds(body):
                        return body
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{key} never {what}: {json.dumps(body and body.get('status'), indent=1)}") from None

    def check(self) -> None:
        for task in self.bridges:
            if task.done():
                task.result()

    async def until_phase(self, key: Key, phase: str) -> Json:
        return await self.until(key, lambda body: body.get("status", {}).get("phase") == phase, f"became {phase}")

    async def until_reason(self, key: Key, reason: str) -> Json:
        return await self.until(key, lambda body: ready(body).get("reason") == reason, f"said {reason}")

    async def until_gone(self, key: Key) -> None:
        body: Json | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                while (body := await self.get(key)) is not None:
                    self.check()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{key} never went: {json.dumps(body, indent=1)}") from None

    async def until_cancel_requested(self, workflow_id: str) -> None:
        """Wait until Temporal has a run's cancellation: whatever ends from then on ends in a run that is cancelled."""
        handle = (await self.client()).get_workflow_handle(workflow_id)
        for _ in range(round(PATIENCE / 0.1)):
            if (await handle.describe()).raw_description.workflow_extended_info.cancel_requested:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{workflow_id} was never cancelled")

    async def until_closed(self, workflow_id: str) -> None:
        """Wait until Temporal says that the run is over."""
        handle = (await self.client()).get_workflow_handle(workflow_id)
        for _ in range(200):
            if (await handle.describe()).close_time is not None:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{workflow_id} never ended")

    async def runs(self) -> list[str]:
        """Ids of all runs that Temporal knows of this tenant."""
        client = await self.client()
        return sorted([found.id async for found in client.list_workflows("BasculeUid IS NOT NULL")])


def build_spec(behaviour: str = "succeed", **changes: Any) -> Json:
    parameters = {"behaviour": behaviour} | changes.pop("parameters", {})
    return {
        "source": {"configMap": {"name": "source"}},
        "build": {"procedure": "scripted-build", "parameters": parameters},
        "tests": [{"name": "smoke", "procedure": "scripted-test", "parameters": {"command": ["true"]}}],
        "sign": {"keySecretRef": {"name": "signing-key"}},
        "publish": {"repository": changes.pop("repository", "registry.example.com/acme/web"), "tags": ["v1"]},
    } | changes


def campaign_spec(tenant: str, behaviour: str = "succeed") -> Json:
    return {
        "targets": {"nodes": {"selector": {"matchLabels": {"test-tenant": tenant}}}},
        "patch": {"procedure": "scripted-patch", "parameters": {"behaviour": behaviour}},
        "rollback": {"procedure": "scripted-rollback"},
        "waves": [{"name": "canary", "size": 1}, {"name": "fleet"}],
    }


def drill_spec() -> Json:
    """The disaster is that of `tests.support.drills`, whose activities measure from it."""
    return {
        "environment": {"manifests": {"configMap": {"name": "pilot-light"}}},
        "restore": {"procedure": "scripted-restore", "parameters": {"backup": "nightly"}},
        "disaster": {"declaredAt": time_of(DISASTER).isoformat()},
        "probes": [
            {"name": "db", "tcp": {"service": "db", "port": 5432}},
            {"name": "rows", "procedure": {"name": "scripted-query"}},
        ],
        "objectives": {"rto": "15m", "rpo": "1h"},
    }


def ready(body: Json) -> Json:
    return next((item for item in body.get("status", {}).get("conditions", []) if item["type"] == "Ready"), {})


def condition(body: Json, kind: str) -> Json:
    return next((item for item in body.get("status", {}).get("conditions", []) if item["type"] == kind), {})


def _procedure(use: str, *parameters: Json) -> Json:
    return {"uses": [use], "parameters": list(parameters), "template": {"container": {"image": "example.com/step:1"}}}


@pytest.fixture
async def lab(plane: ControlPlane, kube: Kube) -> AsyncIterator[Lab]:
    """A tenant that is not made yet, a namespace, Procedures; no operator and no worker until the test starts them."""
    mark = secrets.token_hex(3)
    made = Lab(plane, kube, f"t-{mark}", f"n-{mark}", {"test": mark})
    await made.make_namespace(made.namespace)
    text = {"type": "string"}
    await made.apply(
        "Procedure", "scripted-build",
        _procedure("ImageBuild/build", {"name": "behaviour", **text}, {"name": "previous", **text}),
    )  # fmt: skip
    await made.apply("Procedure", "scripted-test", _procedure("ImageBuild/test", {"name": "command", "type": "array"}))
    behaviour = {"name": "behaviour", **text}
    await made.apply("Procedure", "scripted-patch", _procedure("PatchCampaign/patch", behaviour))
    await made.apply("Procedure", "scripted-rollback", _procedure("PatchCampaign/rollback"))
    await made.apply("Procedure", "scripted-restore", _procedure("DRDrill/restore", {"name": "backup", **text}))
    await made.apply("Procedure", "scripted-query", _procedure("DRDrill/probe"))
    yield made
    await made.stop_operator()
    await made.stop_workers()
    running = [(kind.kind, made.namespace) for kind in RUN_KINDS]
    for kind, namespace in (*running, ("Approval", made.namespace), ("Tenant", "")):
        listed = await kube.request("GET", collection(kind, namespace), resource="test")
        for item in listed["items"]:
            key = Key(kind, namespace, item["metadata"]["name"])
            with contextlib.suppress(OperatorError):
                await made.patch(key, {"metadata": {"finalizers": None}})
            with contextlib.suppress(OperatorError):
                await made.delete(key)


@pytest.fixture
async def served(lab: Lab) -> Lab:
    """The lab with an operator, its tenant ready and a worker."""
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.start_worker()
    return lab
