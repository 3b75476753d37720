"""Gates measured by real Jobs: of a real Prometheus, of what it serves over HTTP, and of nodes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import pytest

from bascule_api.failures import FailureType
from bascule_api.fleets import Target
from bascule_api.gates import Gate, HttpCheck, HttpMeasure, ProcedureMeasure, PrometheusMeasure, Verdict
from bascule_api.procedures import Container, PinnedProcedure, ProcedureSpec, Template, Use
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.activities.gates import GateActivities
from bascule_workers.activities.patch_targets import PatchTargetPorts
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_jobs import KubernetesJobs
from bascule_workers.adapters.kubernetes_objects import KubernetesObjects
from bascule_workers.adapters.pod_watch import PodWatch
from bascule_workers.errors import JobLostError, StepFailedError
from bascule_workers.messages import NotYet
from bascule_workers.patch_campaigns import GateReport, GateRequest, HttpCheckRequest
from bascule_workers.plans import credentials
from bascule_workers.plans.jobs import CA_KEY, JobSettings
from bascule_workers.plans.nodes import Node, node_of
from bascule_workers.ports.nodes import Nodes, TargetLeases
from hack import installation
from hack.cluster import addresses
from hack.cluster.handle import Cluster
from tests.support import prometheus
from tests.support.fake_world import FakeLogs, FakeTenants
from tests.support.prometheus import Prometheus

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HEADER = "spec.gates[0].prometheus"


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus.serving(cluster, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@dataclass(frozen=True)
class RealNodes:
    """Of the port `Nodes`, what a check asks."""

    api: ApiServer

    async def get(self, name: str) -> Node | None:
        body = await self.api.find(f"/api/v1/nodes/{name}")
        return node_of(body) if body else None


@dataclass(frozen=True)
class Scene:
    """A namespace for Jobs that lets none run that is not restricted."""

    cluster: Cluster
    namespace: str
    activities: GateActivities

    @property
    def common(self) -> dict[str, Any]:
        run = RunIdentity(
            kind="PatchCampaign",
            namespace="acme-dev",
            name="kernel",
            uid=self.namespace,
            number=1,
            revision="1-a",
            tenant="acme",
        )
        tenant = TenantFacts(name="acme", steps_namespace=self.namespace, service_account="default")
        return {"run": run, "tenant": tenant, "step": "wave-canary"}

    def request(self, gate: dict[str, Any], **more: Any) -> GateRequest:
        given = {"name": f"gate-{uuid4().hex[:6]}", "interval": "1s"} | gate
        return GateRequest.model_validate(
            self.common | {"gate": Gate.model_validate(given), "timeout_seconds": 600} | more
        )

    async def report(self, request: GateRequest) -> GateReport:
        """What the gate comes to, asked again as a workflow does."""
        while isinstance(found := await self.activities.gate(request), NotYet):
            request = request.model_copy(update={"note": found.reason, "cursor": found.cursor})
            await asyncio.sleep(found.again_after)
        return found.value


@pytest.fixture
async def scene(cluster: Cluster) -> AsyncIterator[Scene]:
    name = f"gates-{uuid4().hex[:8]}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": restricted}
    installation.apply(
        cluster,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        installation.config_map(name, "bascule-ca", {CA_KEY: cluster.ca_file.read_text()}),
    )
    api = await ApiServer.connect(str(cluster.kubeconfig))
    watch = PodWatch(api)
    ports = PatchTargetPorts(
        nodes=cast(Nodes, RealNodes(api)),
        leases=cast(TargetLeases, None),
        steps=KubernetesJobs(api, watch),
        objects=KubernetesObjects(api),
        tenants=FakeTenants(),
        logs=FakeLogs(),
        job_settings=JobSettings(cluster.images["worker"], "bascule-ca"),
    )
    yield Scene(cluster, name, GateActivities(ports))
    await watch.close()
    await api.close()
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def asks(server: Prometheus, query: str, condition: str, **more: Any) -> dict[str, Any]:
    return {
        "prometheus": PrometheusMeasure(address=server.address, query=query),
        "success_condition": condition,
    } | more


TWO = 'label_replace(vector(1), "a", "1", "", "") or label_replace(vector(2), "a", "2", "", "")'


async def test_verdicts_of_a_real_prometheus(scene: Scene, server: Prometheus) -> None:
    cases: dict[str, tuple[dict[str, Any], Verdict, str]] = {
        "a number that holds": (asks(server, "up", "result == 1", count=2), PASS, "2 of 2 passed, last 1"),
        "one that does not": (
            asks(server, "vector(0.2)", "result < 0.05"),
            FAIL,
            "0 of 1 passed, 1 failed (none may), last 0.2",
        ),
        "a scalar": (asks(server, "scalar(vector(3))", "result == 3"), PASS, "1 of 1 passed, last 3"),
        "infinity": (
            asks(server, "vector(1) / 0", "result < 0.05"),
            FAIL,
            "0 of 1 passed, 1 failed (none may), last inf",
        ),
        "NaN": (asks(server, "vector(0) / 0", "result < 0.05"), INCONCLUSIVE, "the query gave NaN"),
        "no series": (asks(server, "no_such_metric", "result < 0.05"), INCONCLUSIVE, "the query gave no series"),
        "several": (asks(server, TWO, "result < 5"), INCONCLUSIVE, "the query gave 2 series (1, 2): aggregate them"),
        "all of several": (asks(server, TWO, "results.all(r, r < 5)"), PASS, "1 of 1 passed, last 1, 2"),
        "no query": (asks(server, "sum(", "result < 5"), INCONCLUSIVE, "Prometheus says: "),
        "a range": (asks(server, "up[5m]", "result < 5"), INCONCLUSIVE, "the query gave a matrix"),
        "some may say nothing": (
            asks(server, "no_such_metric", "result < 5", inconclusive_limit=1),
            INCONCLUSIVE,
            "0 of 1 passed, 2 said nothing (1 may)",
        ),
        "nobody there": (
            {"http": HttpMeasure(url=f"http://{prometheus.HOST}:9199/")},
            INCONCLUSIVE,
            "connection refused",
        ),
        "no such name": ({"http": HttpMeasure(url="http://no-such-name.invalid/")}, INCONCLUSIVE, "no answer from"),
        "a page": (
            {"http": HttpMeasure(url=f"{server.address}/-/healthy"), "success_condition": "body.contains('Healthy')"},
            PASS,
            "1 of 1 passed, last status 200",
        ),
        "no page": (
            {"http": HttpMeasure(url=f"{server.address}/nowhere")},
            FAIL,
            "0 of 1 passed, 1 failed (none may), last status 404",
        ),
        "a redirect": ({"http": HttpMeasure(url=f"{server.address}/")}, PASS, "1 of 1 passed, last status 200"),
        "its JSON": (
            {
                "http": HttpMeasure(url=f"{server.address}/api/v1/status/runtimeinfo"),
                "success_condition": "json.status == 'success' && json.data.CWD != ''",
            },
            PASS,
            "1 of 1 passed, last status 200",
        ),
        "a password is missing": (
            {"http": HttpMeasure(url=f"{server.tls_address}/-/healthy")},
            FAIL,
            "0 of 1 passed, 1 failed (none may), last status 401",
        ),
    }
    few = asyncio.Semaphore(4)

    async def told(gate: dict[str, Any]) -> GateReport:
        async with few:
            return await scene.report(scene.request(gate))

    reports = await asyncio.gather(*(told(gate) for gate, _, _ in cases.values()))

    found = dict(zip(cases, reports, strict=True))
    assert {name: report.verdict for name, report in found.items()} == {
        name: verdict for name, (_, verdict, _) in cases.items()
    }
    assert {name: report.message for name, report in found.items() if cases[name][2] not in report.message} == {}


async def test_a_gate_tells_how_it_stands_and_bears_the_loss_of_its_pod(scene: Scene, server: Prometheus) -> None:
    request = scene.request(asks(server, "up", "result == 1", count=20))
    first = await scene.activities.gate(request)
    assert isinstance(first, NotYet)
    while first.reason == "measuring":
        first = await scene.activities.gate(request)
        assert isinstance(first, NotYet)
    assert first.reason.endswith(" of 20 passed, last 1")

    waiting = asyncio.create_task(scene.report(request))
    await asyncio.to_thread(scene.cluster.kubectl, "delete", "pods", "--all", "-n", scene.namespace)
    with pytest.raises(JobLostError):
        await waiting

    report = await scene.report(request.model_copy(update={"job_attempt": 2}))
    assert report == GateReport(verdict=PASS, message="20 of 20 passed, last 1")


async def test_the_runs_secret_opens_a_server_behind_tls(scene: Scene, server: Prometheus) -> None:
    user = f"{addresses.TENANT_USER}:{addresses.TENANT_PASSWORD}"
    header = f"Basic {base64.b64encode(user.encode()).decode()}"
    request = scene.request(
        {
            "prometheus": PrometheusMeasure(address=server.tls_address, query="up"),
            "success_condition": "result == 1",
        },
        header=HEADER,
    )
    values = {credentials.http_key(HEADER): header, "cosign.key": "not for gates"}
    installation.apply(scene.cluster, *credentials.run_secrets(request.run, request.tenant, values))

    assert (await scene.report(request)).verdict is PASS
    pod = json.loads(scene.cluster.kubectl("get", "pods", "-n", scene.namespace, "-o", "json"))["items"][0]
    log = scene.cluster.kubectl("logs", "-n", scene.namespace, pod["metadata"]["name"], "--all-containers")
    assert header.partition(" ")[2] not in json.dumps(pod) + log
    assert "cosign.key" not in json.dumps(pod)


async def test_a_procedure_decides(scene: Scene) -> None:
    script = 'echo "{\\"results\\": {\\"verdict\\": \\"$PARAM_SAYS\\"}, \\"message\\": \\"says $PARAM_SAYS\\"}"'
    spec = ProcedureSpec(
        uses=[Use.PATCH_CAMPAIGN_GATE],
        template=Template(
            container=Container(
                image=scene.cluster.images["busybox"],
                command=["sh", "-c", f"{script} > /dev/termination-log; [ $PARAM_SAYS != Fail ]"],
            )
        ),
    )
    procedure = PinnedProcedure(name="says", generation=1, hash=uuid4().hex, spec=spec)

    async def told(says: str, **more: Any) -> GateReport:
        gate = {"procedure": ProcedureMeasure(name="says", parameters={"says": says}), **more}
        return await scene.report(scene.request(gate, procedure=procedure))

    passed, failed, unknown = await asyncio.gather(
        told("Pass", count=2), told("Fail", failure_limit=1), told("Inconclusive")
    )
    assert passed == GateReport(verdict=PASS, message="2 of 2 passed, last says Pass")
    assert failed.verdict is FAIL
    assert failed.message.startswith("0 of 1 passed, 2 failed (1 may), last says Fail")
    assert unknown.verdict is INCONCLUSIVE


@pytest.fixture
def agent(cluster: Cluster) -> Iterator[tuple[str, int]]:
    """A node, and the port on which something serves HTTP there."""
    name, port = f"agent-{uuid4().hex[:8]}", 10258
    container = {
        "name": "agent",
        "image": cluster.images["worker"],
        "command": ["python", "-m", "http.server", str(port), "--directory", "/usr/share/doc"],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    spec = {"nodeName": "node1", "hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    installation.apply(cluster, pod)
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", "default", "--timeout=120s")
    yield "node1", port
    cluster.kubectl("delete", "pod", name, "-n", "default", "--wait=false")


async def test_nodes_are_asked_over_http(scene: Scene, agent: tuple[str, int]) -> None:
    def check(node: str, port: int, **more: Any) -> HttpCheckRequest:
        given = {
            # When its phase began: each check is one of its own.
            "since": port,
            "target": Target(name=node),
            "check": HttpCheck.model_validate({"port": port, "interval": "1s"} | more),
            "node_selector": {"kubernetes.io/os": "linux"},
            "timeout_seconds": 3,
        }
        return HttpCheckRequest.model_validate(scene.common | given)

    async def told(request: HttpCheckRequest) -> str:
        try:
            while isinstance(await scene.activities.check_http(request), NotYet):
                pass
        except StepFailedError as error:
            return f"{error.type}: {error}"
        return "passed"

    up, down, kubelet = await asyncio.gather(
        told(check(*agent)), told(check("node2", 1)), told(check("node2", 10250, scheme="https", path="/pods"))
    )
    assert up == "passed"
    assert down.startswith(f"{FailureType.TARGET_NOT_READY}: http://")
    assert "did not pass within 3 s" in down
    assert "connection refused" in down
    assert "status 401" in kubelet or "its certificate is not trusted" in kubelet
