"""What `DrillSpaces` promises, on the fake and on a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from bascule_api import names
from bascule_api.dr_drill_specs import Isolation
from bascule_api.progress import RunIdentity, TenantFacts
from bascule_workers.adapters.drill_watch import DrillWatch
from bascule_workers.adapters.kubernetes_drills import KubernetesDrills
from bascule_workers.dr_drills import ProvisionRequest
from bascule_workers.errors import DrillNamespaceTakenError, EnvironmentFailedError
from bascule_workers.plans import drill_plans, drill_spaces
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.ports.drills import DrillSpaces, Ending, Ensured
from hack.cluster.handle import Cluster
from tests.support.drill_environments import as_worker
from tests.support.fake_drills import FakeDrillSpaces
from tests.support.requests import WORKER, as_user

PATIENCE = 90.0
Json = dict[str, Any]


def config_map(name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


@dataclass
class Subject:
    """One implementation, and one drill's run."""

    spaces: DrillSpaces
    run: RunIdentity
    cluster: Cluster | None = None

    @property
    def label(self) -> str:
        return drill_spaces.run_label(self.run)

    @property
    def namespace(self) -> str:
        return names.drill_namespace(self.run.uid, self.run.number)

    def furniture(self) -> list[Json]:
        request = ProvisionRequest(
            run=self.run,
            tenant=TenantFacts(name="acme", steps_namespace="bascule-steps-acme", service_account="bascule-step"),
            step="provision",
            namespace=self.namespace,
            isolation=Isolation.DENY_EGRESS,
            namespace_labels={"team": "db"},
            quota={"pods": "20"},
        )
        return drill_spaces.objects(request, SpaceSettings("bascule-system"), {})

    def owned(self, *manifests: Json) -> list[Json]:
        kept = drill_plans.copy_of(
            self.run, TenantFacts(name="a", steps_namespace="s", service_account="x"), manifests, ""
        )
        return drill_plans.stage_of(kept, self.label, self.namespace, late=False)

    async def ensured(self) -> Ensured:
        """Made, once the API server has heard of the worker's RoleBinding."""
        async with asyncio.timeout(PATIENCE):
            while True:
                made = await self.spaces.ensure(self.namespace, self.furniture(), self.label)
                if not made.waits_for:
                    return made
                await asyncio.sleep(0.5)

    async def kubectl(self, *words: str, document: Json | None = None) -> str:
        assert self.cluster is not None
        return await asyncio.to_thread(self.cluster.kubectl, *words, input=json.dumps(document) if document else None)

    async def ended(self) -> Ending:
        async with asyncio.timeout(PATIENCE):
            while True:
                ending = await self.spaces.delete(self.namespace, self.label)
                if ending.gone:
                    return ending
                await asyncio.sleep(0.5)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """The fake, and then what it stands for."""
    run = RunIdentity(
        kind="DRDrill", namespace="acme-dev", name="db", uid=str(uuid4()), number=1, revision="1-a", tenant="acme"
    )
    if request.param == "fake":
        yield Subject(FakeDrillSpaces(), run)
        return
    # With the chart's policies, which let nobody but the worker make drills' namespaces.
    cluster: Cluster = request.getfixturevalue("bascule")
    async with as_worker(cluster) as api:
        watch = DrillWatch(api)
        made = Subject(KubernetesDrills(api, watch), run, cluster)
        try:
            yield made
            await made.kubectl("delete", "namespace", made.namespace, "--wait=false", "--ignore-not-found")
        finally:
            await watch.close()


async def test_a_namespace_is_made_once_and_bears_being_made_again(subject: Subject) -> None:
    made = await subject.ensured()
    again = await subject.spaces.ensure(subject.namespace, subject.furniture(), subject.label)
    assert again == made
    assert again.at > 0
    assert await subject.spaces.of_run(subject.label) == [subject.namespace]
    counted = await subject.spaces.count(subject.namespace, subject.label)
    assert {kind: counted.kinds[kind] for kind in ("Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange")} == {
        "Namespace": 1,
        "NetworkPolicy": 3,
        "ResourceQuota": 1,
        "LimitRange": 1,
    }


async def test_somebody_elses_namespace_is_neither_taken_nor_deleted_nor_counted(subject: Subject) -> None:
    if isinstance(subject.spaces, FakeDrillSpaces):
        subject.spaces.foreign(subject.namespace, team="other")
    else:
        await subject.kubectl("create", "namespace", subject.namespace)
    with pytest.raises(DrillNamespaceTakenError, match="not this run's"):
        await subject.spaces.ensure(subject.namespace, subject.furniture(), subject.label)
    assert await subject.spaces.delete(subject.namespace, subject.label) == Ending(gone=True)
    counted = await subject.spaces.count(subject.namespace, subject.label)
    assert set(counted.kinds.values()) == {0}
    assert await subject.spaces.of_run(subject.label) == []
    if isinstance(subject.spaces, FakeDrillSpaces):
        assert subject.namespace in subject.spaces.spaces
    else:
        assert "Active" in await subject.kubectl("get", "namespace", subject.namespace)


async def test_what_is_applied_is_there_ready_and_counted_and_applying_again_changes_nothing(subject: Subject) -> None:
    await subject.ensured()
    objects = subject.owned(config_map(), config_map("other", b="2"))
    await subject.spaces.apply(subject.namespace, objects)
    await subject.spaces.apply(subject.namespace, objects)
    found = await _standing(subject, objects, lambda standings: all(item.ready for item in standings))
    assert [standing.name for standing in found] == ["ConfigMap/settings", "ConfigMap/other"]
    assert all(standing.at > 0 for standing in found)
    assert (await subject.spaces.count(subject.namespace, subject.label)).kinds["ConfigMap"] >= 2


async def _standing(subject: Subject, objects: list[Json], holds: Callable[[Any], bool]) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        while not holds(found := await subject.spaces.standing(subject.namespace, objects)):
            await subject.spaces.until_changed(subject.namespace, 5)
    return found


async def test_what_the_api_server_refuses_is_named(subject: Subject) -> None:
    await subject.ensured()
    service: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"bogus": True, "ports": [{"port": 80}]},
    }
    with pytest.raises(EnvironmentFailedError, match=r"Service/web.*bogus"):
        await subject.spaces.apply(subject.namespace, subject.owned(service))


async def test_a_change_ends_the_wait(subject: Subject) -> None:
    await subject.ensured()
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "load"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "load", "image": "registry.invalid/none:1"}],
                }
            },
        },
    }
    objects = subject.owned(job)
    await subject.spaces.apply(subject.namespace, objects)
    found = await _standing(subject, objects, lambda standings: "not there" not in standings[0].message)
    assert not found[0].ready
    if isinstance(subject.spaces, FakeDrillSpaces):
        failed = {"conditions": [{"type": "Failed", "status": "True", "message": "no luck"}]}
        subject.spaces.status(subject.namespace, "Job", "load", failed)
    else:
        await _fail(subject)
    found = await _standing(subject, objects, lambda standings: standings[0].failed)
    assert (found[0].name, found[0].ready) == ("Job/load", False)


async def _fail(subject: Subject) -> None:
    """The Job's pod can never run: its deadline ends it."""
    patch = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    await subject.kubectl(
        *as_user(WORKER), "patch", "job", "load", "-n", subject.namespace, "--type=merge", "-p", patch
    )


async def test_a_namespace_goes_with_all_that_is_in_it_and_going_again_is_fine(subject: Subject) -> None:
    await subject.ensured()
    await subject.spaces.apply(subject.namespace, subject.owned(config_map()))
    await subject.ended()
    assert await subject.spaces.delete(subject.namespace, subject.label) == Ending(gone=True)
    counted = await subject.spaces.count(subject.namespace, subject.label)
    assert set(counted.kinds.values()) == {0}
    assert await subject.spaces.of_run(subject.label) == []


async def test_a_namespace_that_a_foreign_finalizer_holds_says_which_and_is_never_stripped(subject: Subject) -> None:
    await subject.ensured()
    await subject.spaces.apply(subject.namespace, subject.owned(config_map()))
    await _hold(subject, "example.com/hold")
    counted = await subject.spaces.count(subject.namespace, subject.label)
    assert counted.held == ("ConfigMap/settings: example.com/hold",)
    async with asyncio.timeout(PATIENCE):
        while "example.com/hold" not in " ".join(
            (ending := await subject.spaces.delete(subject.namespace, subject.label)).held_by
        ):
            assert not ending.gone
            await asyncio.sleep(0.5)
    assert ending.deleted > 0
    with pytest.raises(DrillNamespaceTakenError, match="being deleted"):
        await subject.spaces.ensure(subject.namespace, subject.furniture(), subject.label)
    await _hold(subject, None)
    await subject.ended()


async def _hold(subject: Subject, finalizer: str | None) -> None:
    if isinstance(subject.spaces, FakeDrillSpaces):
        if finalizer:
            subject.spaces.hold(subject.namespace, "ConfigMap", "settings", finalizer)
        else:
            subject.spaces.let_go(subject.namespace)
        return
    patch = json.dumps({"metadata": {"finalizers": [finalizer] if finalizer else None}})
    await subject.kubectl("patch", "configmap", "settings", "-n", subject.namespace, "--type=merge", "-p", patch)
