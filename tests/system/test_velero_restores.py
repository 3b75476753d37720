"""What `Velero` promises, on the fake and on a real Velero; and what a Restore brings into a drill's namespace."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bascule_api import names
from bascule_api.failures import FailureType
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_velero import KubernetesVelero
from bascule_workers.dr_drills import DrillRequest
from bascule_workers.errors import StepFailedError
from bascule_workers.plans.velero import Backup, RestoreStanding, failure, progress, render_restore, restore_name
from bascule_workers.ports.velero import Velero
from hack.cluster.handle import Cluster
from tests.support.fake_velero import FakeVelero
from tests.support.velero import PATIENCE, WORKLOAD, VeleroSite
from tests.support.velero_subjects import FakeSite, RealSite, Site, drill_request

# With the tests that switch the object store off.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("object-store")]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[ApiServer]:
    server = await ApiServer.connect(str(cluster.kubeconfig))
    yield server
    await server.close()


@asynccontextmanager
async def real_site(cluster: Cluster) -> AsyncIterator[RealSite]:
    velero = VeleroSite(cluster, await asyncio.to_thread(cluster.add_velero))
    velero.install_from_chart("bascule-drills")
    api = await ApiServer.connect(str(cluster.kubeconfig))
    site = RealSite(KubernetesVelero(api, velero.velero.namespace), velero)
    yield site
    await site.close()
    await api.close()


@pytest.fixture
async def real(cluster: Cluster) -> AsyncIterator[RealSite]:
    async with real_site(cluster) as site:
        yield site


@pytest.fixture(params=["fake", "real"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """The fake, and then what it stands for."""
    if request.param == "fake":
        yield FakeSite(FakeVelero())
        return
    async with real_site(request.getfixturevalue("cluster")) as found:
        yield found


async def over(velero: Velero, name: str) -> RestoreStanding:
    standing = await velero.standing(name, PATIENCE)
    assert standing is not None
    assert standing.over
    return standing


async def removed(velero: Velero, request: DrillRequest) -> None:
    async with asyncio.timeout(PATIENCE):
        while await velero.delete(names.run_label(request.run.uid, request.run.number)):  # noqa: ASYNC110 - asked anew
            await asyncio.sleep(0.2)


async def test_a_backup_says_what_it_holds_and_when_it_began(site: Site) -> None:
    live = await site.workload()
    made = await site.back_up(live)
    found = await site.port.backup(made.name)
    assert found == made
    assert found == Backup(made.name, (live,), "Completed", made.started)
    assert found.started > 0
    assert await site.port.backup("no-such-backup") is None


async def test_the_newest_completed_backup_of_a_schedule_is_found(site: Site) -> None:
    live, schedule = await site.workload(), f"s-{secrets.token_hex(4)}"
    assert await site.port.newest_backup(schedule) is None
    await site.back_up(live, schedule)
    await asyncio.sleep(1.1)  # Velero's times are whole seconds.
    newest = await site.back_up(live, schedule)
    await site.back_up(live, schedule, fails=True)
    await site.back_up(live, f"{schedule}-other")
    assert await site.port.newest_backup(schedule) == newest


async def test_a_restore_is_made_once_and_brings_what_was_backed_up(site: Site) -> None:
    live, request = await site.workload(), drill_request()
    backup = await site.back_up(live)
    await site.space(request.namespace)
    wanted = render_restore(request, backup, live)

    first = await site.port.ensure(wanted)
    again = await site.port.ensure(wanted)
    assert first.name == again.name == restore_name(request)
    standing = await over(site.port, first.name)
    assert (standing.phase, standing.errors, failure(standing)) == ("Completed", 0, "")
    assert (standing.backup, standing.recovery_point) == (backup.name, backup.started)
    assert backup.started <= standing.started <= standing.finished
    assert (await site.port.ensure(wanted)).over, "it stays what it is when it is asked for again"
    assert site.items(request.namespace) in (
        None,
        {f"configmap/{WORKLOAD}", f"secret/{WORKLOAD}", f"deployment.apps/{WORKLOAD}"},
    )
    await removed(site.port, request)


async def test_a_restore_of_another_run_is_not_taken_for_ones_own(site: Site) -> None:
    live, request, other = await site.workload(), drill_request(), drill_request()
    backup = await site.back_up(live)
    await site.space(request.namespace)
    await site.port.ensure(render_restore(request, backup, live))
    theirs = render_restore(other, backup, live)
    theirs["metadata"]["name"] = restore_name(request)
    with pytest.raises(StepFailedError, match="not this run's") as raised:
        await site.port.ensure(theirs)
    assert raised.value.type == FailureType.RESTORE_FAILED
    await over(site.port, restore_name(request))
    await removed(site.port, request)


async def test_restores_of_a_run_are_deleted_and_named_until_they_are_gone(site: Site) -> None:
    live, request = await site.workload(), drill_request()
    backup = await site.back_up(live)
    await site.space(request.namespace)
    standing = await site.port.ensure(render_restore(request, backup, live))
    await over(site.port, standing.name)

    other = drill_request()
    assert await site.port.delete(names.run_label(other.run.uid, other.run.number)) == []
    assert await site.port.delete(standing.run) == [f"Restore velero/{standing.name}"]
    await removed(site.port, request)
    assert await site.port.standing(standing.name) is None
    assert await site.port.standing(standing.name, 1) is None


async def test_a_restore_whose_backup_went_away_is_refused_with_the_reason(real: RealSite) -> None:
    request = drill_request()
    await real.space(request.namespace)
    gone = Backup("no-such-backup", ("acme-prod",), "Completed", 1_795_347_619)
    name = (await real.port.ensure(render_restore(request, gone, "acme-prod"))).name
    standing = await over(real.port, name)
    assert standing.phase == "FailedValidation"
    assert "no-such-backup" in standing.message
    assert "no-such-backup" in failure(standing)
    await removed(real.port, request)


async def test_a_restore_that_the_drills_namespace_has_no_room_for_has_failed(real: RealSite) -> None:
    live, request = await real.workload(), drill_request()
    backup = await real.back_up(live)
    await real.space(request.namespace)
    quota = ("create", "quota", "bounds", "--hard=count/secrets=0", "-n", request.namespace)
    await asyncio.to_thread(real.site.cluster.kubectl, *quota)
    standing = await over(real.port, (await real.port.ensure(render_restore(request, backup, live))).name)
    assert (standing.phase, standing.errors) == ("PartiallyFailed", 1)
    assert f"velero restore logs {standing.name}" in failure(standing)
    await removed(real.port, request)


async def test_a_restore_waits_for_a_velero_that_is_away_and_may_be_taken_back_meanwhile(real: RealSite) -> None:
    live, kept, dropped = await real.workload(), drill_request(), drill_request()
    backup = await real.back_up(live)
    await real.space(kept.namespace)
    with real.site.switched_off():
        for request in (kept, dropped):
            standing = await real.port.ensure(render_restore(request, backup, live))
            assert await real.port.standing(standing.name, 1) == standing
            assert "does its server run" in progress(standing)
        # Velero has not seen it, so nothing holds it; and its namespace, which there is none of, is never made.
        await removed(real.port, dropped)
    standing = await over(real.port, restore_name(kept))
    assert (standing.phase, standing.recovery_point) == ("Completed", backup.started)
    spaces = real.site.cluster.kubectl("get", "namespaces", "-o", "name").split()
    assert f"namespace/{kept.namespace}" in spaces
    assert f"namespace/{dropped.namespace}" not in spaces
    await removed(real.port, kept)


async def test_a_restore_that_velero_holds_is_named_until_velero_lets_go(real: RealSite) -> None:
    live, request = await real.workload(), drill_request()
    backup = await real.back_up(live)
    await real.space(request.namespace)
    standing = await real.port.ensure(render_restore(request, backup, live))
    await over(real.port, standing.name)
    with real.site.switched_off():
        for _ in range(3):
            assert await real.port.delete(standing.run) == [f"Restore velero/{standing.name}"]
        held = real.site.get("Restore", standing.name)["metadata"]
        assert held["finalizers"], "it is not stripped"
    await removed(real.port, request)


async def test_where_there_is_no_velero_nothing_stands_and_restores_say_why(real: RealSite, api: ApiServer) -> None:
    wanted = render_restore(drill_request(), Backup("b", ("a",), "Completed", 1), "a")
    for velero, words in (
        (KubernetesVelero(api, ""), "drills.veleroNamespace"),
        (KubernetesVelero(api, "no-one"), "no-one"),
    ):
        assert await velero.delete("uid.1") == []
        with pytest.raises(StepFailedError, match=words) as raised:
            await velero.ensure(wanted)
        assert raised.value.type == FailureType.RESTORE_FAILED


HOSTILE_SERVICES: list[dict[str, Any]] = [
    {
        "metadata": {"name": "node", "annotations": {"external-dns.alpha.kubernetes.io/hostname": "shop.example.com"}},
        "spec": {
            "type": "NodePort",
            "externalIPs": ["198.51.100.7"],
            "externalTrafficPolicy": "Local",
            "selector": {"app": WORKLOAD},
            "ports": [
                {"name": "a", "port": 80, "nodePort": 31_501},
                {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 31_502},
            ],
        },
    },
    {
        "metadata": {"name": "balanced"},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "example.com/none",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "selector": {"app": WORKLOAD},
            "ports": [{"port": 443}],
        },
    },
    {"metadata": {"name": "elsewhere"}, "spec": {"type": "ExternalName", "externalName": "db.example.com"}},
    {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "selector": {"app": WORKLOAD}}},
]


def make_hostile(site: VeleroSite, live: str) -> None:
    """Put into a namespace what would reach out of a drill's."""

    def apply(*documents: dict[str, Any]) -> None:
        # By kubectl apply: its annotation is what tells Velero that a node port is meant.
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        site.cluster.kubectl("apply", "-n", live, "-f", "-", input=text)

    apply(*({"apiVersion": "v1", "kind": "Service", **service} for service in HOSTILE_SERVICES))
    account = {"name": "robot", "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}}
    token = {"name": "robot-key", "annotations": {"kubernetes.io/service-account.name": "robot"}}
    held = {"name": "held", "finalizers": ["example.com/never"]}
    apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": token},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held},
    )
    template = {
        "metadata": {
            "labels": {names.LABEL_RUN: "x.1", f"{names.GROUP}/egress": "restore"},
            "annotations": {"k8s.v1.cni.cncf.io/networks": "uplink"},
        },
        "spec": {"serviceAccountName": "robot", "priorityClassName": "system-cluster-critical"},
    }
    patch = json.dumps({"spec": {"replicas": 0, "template": template}})
    site.cluster.kubectl("patch", "deployment", WORKLOAD, "-n", live, "--type=merge", "-p", patch)


async def test_nothing_that_is_restored_reaches_out_of_the_drills_namespace(real: RealSite) -> None:
    live, request = await real.workload(), drill_request()
    make_hostile(real.site, live)
    try:
        backup = await real.back_up(live)
    finally:
        free = json.dumps({"metadata": {"finalizers": None}})
        real.site.cluster.kubectl("patch", "configmap", "held", "-n", live, "--type=merge", "-p", free)
    await real.space(request.namespace)
    standing = await over(real.port, (await real.port.ensure(render_restore(request, backup, live))).name)
    assert (standing.phase, standing.errors, standing.message) == ("Completed", 0, "")

    def restored(kind: str) -> dict[str, dict[str, Any]]:
        found = real.site.cluster.kubectl("get", kind, "-n", request.namespace, "-o", "json")
        return {item["metadata"]["name"]: item for item in json.loads(found)["items"]}

    services = restored("services")
    assert services.keys() == {"node", "balanced", "elsewhere", "headless"}
    for service in services.values():
        spec = service["spec"]
        assert spec["type"] == "ClusterIP"
        assert not {"externalIPs", "externalName", "loadBalancerClass", "externalTrafficPolicy"} & spec.keys()
        assert not [port for port in spec.get("ports", ()) if port.get("nodePort")]
        assert "annotations" not in service["metadata"]
    robot, key = restored("serviceaccounts")["robot"], restored("secrets")["robot-key"]
    assert robot["automountServiceAccountToken"] is False
    assert "annotations" not in robot["metadata"]
    assert (key["type"], "token" in key.get("data", {})) == ("Opaque", False)
    assert "finalizers" not in restored("configmaps")["held"]["metadata"]
    template = restored("deployments")[WORKLOAD]["spec"]["template"]
    assert template["metadata"]["labels"] == {"app": WORKLOAD}
    assert "annotations" not in template["metadata"]
    assert template["spec"]["automountServiceAccountToken"] is False
    assert "priorityClassName" not in template["spec"]
    assert (real.items(request.namespace) or set()).isdisjoint({f"role.rbac.authorization.k8s.io/{WORKLOAD}"})
    await removed(real.port, request)
