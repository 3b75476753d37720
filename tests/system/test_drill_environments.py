"""A drill's environment on the real cluster, made with the worker's own identity and rights and nothing more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bascule_api.dr_drill_specs import Isolation
from bascule_api.dr_drill_status import SearchedKind
from bascule_workers.activities.drill_environments import DrillEnvironmentActivities
from bascule_workers.errors import DrillNamespaceTakenError, EnvironmentFailedError, ManifestsRefusedError
from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.drill_environments import ADrill, done, environments, written_elsewhere
from tests.support.drill_manifests import (
    Json,
    config_map,
    deployment,
    job,
    secret,
    service,
    spoiled,
    stateful_set,
)

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("drill-environments")]


@pytest.fixture
async def drill(bascule: Cluster, tenant: TenantHandle) -> AsyncIterator[ADrill]:
    made = ADrill.of(tenant)
    yield made
    bascule.kubectl("delete", "namespace", made.space, "--wait=false", "--ignore-not-found")


@pytest.fixture
async def activities(bascule: Cluster) -> AsyncIterator[DrillEnvironmentActivities]:
    async with environments(bascule) as made:
        yield made


def environment(cluster: Cluster, tenant: TenantHandle, *manifests: Json) -> None:
    """The tenant's ConfigMap with the manifests."""
    data = {"app.yaml": "\n---\n".join(json.dumps(manifest) for manifest in manifests)}
    document = config_map("environment", **data)
    document["metadata"]["namespace"] = tenant.namespace
    installation.apply(cluster, document)


def sleeping(cluster: Cluster, name: str = "web") -> Json:
    return deployment(name, pod=running(cluster, "/runner/busybox", "sleep", "3600"))


def running(cluster: Cluster, *command: str) -> Json:
    """A pod of one container."""
    return {"containers": [{"name": "main", "image": cluster.images["test-runner"], "command": list(command)}]}


ASK = """
import sys, time, urllib.request
for number in range(int(sys.argv[2])):
    try:
        sys.exit(0 if urllib.request.urlopen(sys.argv[1], timeout=2).status == 200 else 1)
    except urllib.error.HTTPError:
        sys.exit(0)
    except OSError as error:
        print(error, flush=True)
        time.sleep(1)
sys.exit(1)
"""


def asking(cluster: Cluster, url: str, tries: int = 60, **spec: Any) -> Json:
    """A Job that is complete once the URL answers, and fails after a while."""
    container = {"name": "ask", "image": cluster.images["worker"], "command": ["python", "-c", ASK, url, str(tries)]}
    return job("ask", pod={"containers": [container]}, **spec)


def state(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Every object of a namespace with its version."""
    kinds = "configmaps,secrets,services,serviceaccounts,deployments,jobs,rolebindings,networkpolicies"
    listed = json.loads(cluster.kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in listed}


async def test_a_drills_environment_from_its_plan_to_its_teardown_touches_nothing_that_is_live(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    environment(bascule, tenant, config_map(), secret(), service(), sleeping(bascule))
    began, live = datetime.now(UTC).isoformat(), state(bascule, tenant.namespace)

    plan = await done(activities.plan, drill.plan())
    assert (plan.before, plan.after, plan.services) == (4, 0, ["web"])
    assert await done(activities.plan, drill.plan()) == plan
    environment(bascule, tenant, config_map())
    assert await done(activities.plan, drill.plan()) == plan, "what a run planned it keeps"
    live = state(bascule, tenant.namespace)

    made = await done(activities.provision, drill.provision())
    again = await done(activities.provision, drill.provision())
    assert again.at == made.at > 0
    applied = await done(activities.apply, drill.apply(int(time.time())))
    assert applied.objects == 4
    assert applied.at >= made.at

    torn = await done(activities.teardown, drill.teardown())
    found = {item.kind: (item.before, item.after) for item in torn.searched}
    assert found["Namespace"] == (1, 0)
    assert found["Deployment"] == (1, 0)
    assert found["Pod"] == (1, 0)
    assert (torn.items, torn.found) == ([], 1)
    assert torn.started <= torn.finished
    assert SearchedKind(kind="PersistentVolume", before=0, after=0) in torn.searched
    assert (await done(activities.teardown, drill.teardown())).found == 0

    assert state(bascule, tenant.namespace) == live
    assert await asyncio.to_thread(written_elsewhere, bascule, tenant, began) == []


async def test_manifests_that_reach_out_are_refused_before_anything_is_made(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    environment(bascule, tenant, spoiled(deployment(), "spec.template.spec.hostNetwork", True))
    with pytest.raises(ManifestsRefusedError, match=r"app\.yaml, document 1 \(Deployment web\): .*hostNetwork"):
        await activities.plan(drill.plan())
    assert drill.space not in bascule.kubectl("get", "namespaces", "-o", "name")


async def test_an_image_that_cannot_be_pulled_is_told_with_its_pod_and_ends_the_drill_in_time(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    environment(bascule, tenant, deployment())
    await done(activities.plan, drill.plan())
    await done(activities.provision, drill.provision())
    waiting = await activities.apply(drill.apply(int(time.time()), seconds=600))
    assert waiting.kind == "NotYet"
    late = drill.apply(int(time.time()) - 1000, seconds=600).model_copy(update={"cursor": waiting.cursor})
    with pytest.raises(
        EnvironmentFailedError, match=r"not ready within 600 s: .*Pod web-.*registry\.example\.com/web:1"
    ):
        await activities.apply(late)


async def test_a_job_that_fails_ends_the_drill(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    pod = {
        "containers": [
            {"name": "load", "image": bascule.images["test-runner"], "command": ["/runner/busybox", "false"]}
        ]
    }
    environment(bascule, tenant, job(pod=pod, backoffLimit=0))
    await done(activities.plan, drill.plan())
    await done(activities.provision, drill.provision())
    with pytest.raises(EnvironmentFailedError, match="Job/load"):
        await done(activities.apply, drill.apply(int(time.time())))


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job"])
async def test_what_the_quota_refuses_is_told(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities, kind: str
) -> None:
    """A StatefulSet and a Job do not say so themselves: their controllers' events do."""
    made = {
        "Deployment": sleeping(bascule),
        "StatefulSet": stateful_set(volumeClaimTemplates=[]),
        "Job": job(),
    }
    environment(bascule, tenant, made[kind])
    await done(activities.plan, drill.plan())
    await done(activities.provision, drill.provision(quota={"pods": "0"}))
    waiting = await activities.apply(drill.apply(int(time.time())))
    assert waiting.kind == "NotYet"
    assert "exceeded quota" in waiting.reason


async def test_a_namespace_that_is_taken_is_left_as_it_is(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    bascule.kubectl("create", "namespace", drill.space)
    with pytest.raises(DrillNamespaceTakenError):
        await done(activities.provision, drill.provision())
    assert (await done(activities.teardown, drill.teardown())).found == 0
    assert "Active" in bascule.kubectl("get", "namespace", drill.space)


async def test_a_foreign_finalizer_is_named_and_never_stripped(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    environment(bascule, tenant, config_map())
    await done(activities.plan, drill.plan())
    await done(activities.provision, drill.provision())
    await done(activities.apply, drill.apply(int(time.time())))
    where = ("configmap", "settings", "-n", drill.space)
    bascule.kubectl("patch", *where, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    counted = await activities.teardown(drill.teardown())
    request = drill.teardown().model_copy(update={"cursor": counted.cursor})
    waiting = await activities.teardown(request)
    assert "ConfigMap/settings: example.com/hold" in waiting.reason
    assert "example.com/hold" in bascule.kubectl("get", *where, "-o", "yaml")
    bascule.kubectl("patch", *where, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    torn = await done(activities.teardown, request.model_copy(update={"cursor": waiting.cursor}))
    assert torn.items == []


async def test_isolation_that_the_network_enforces_is_proven(
    tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    await done(activities.provision, drill.provision(Isolation.DENY_EGRESS))
    report = await done(activities.isolated, drill.isolated())
    assert report.enforced, report.message
    assert report.at > 0
    assert await done(activities.isolated, drill.isolated()) == report, "the same two pods are asked again"


async def test_where_nothing_keeps_pods_in_the_canary_gets_through_and_says_so(
    tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    await done(activities.provision, drill.provision(Isolation.NONE))
    report = await done(activities.isolated, drill.isolated())
    assert not report.enforced
    assert "reached the API server" in report.message


async def test_pods_of_a_drill_reach_each_other_and_the_dns_and_nobody_reaches_them_from_outside(
    bascule: Cluster, tenant: TenantHandle, drill: ADrill, activities: DrillEnvironmentActivities
) -> None:
    """The Service is found by its name in the cluster's DNS."""
    container = {"name": "web", "image": bascule.images["worker"], "command": ["python", "-m", "http.server", "8080"]}
    serving = deployment(pod={"containers": [container]})
    web = service(ports=[{"port": 80, "targetPort": 8080}])
    environment(bascule, tenant, serving, web, asking(bascule, f"http://web.{drill.space}.svc.cluster.local/"))
    await done(activities.plan, drill.plan())
    await done(activities.provision, drill.provision())
    applied = await done(activities.apply, drill.apply(int(time.time())))
    assert applied.objects == 3, "the Job that asks is complete"
    outside = asking(bascule, f"http://web.{drill.space}.svc.cluster.local/", tries=8, backoffLimit=0)
    outside["metadata"]["namespace"] = tenant.namespace
    await asyncio.to_thread(installation.apply, bascule, outside)
    await asyncio.to_thread(
        bascule.kubectl, "wait", "--for=condition=failed", "job/ask", "-n", tenant.namespace, "--timeout=150s"
    )
