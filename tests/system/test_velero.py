"""A real Velero, where tests ask for one: what it backed up from one namespace is restored into another."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from tests.support.velero import WORKLOAD, VeleroSite, wait

# With the tests that switch the object store off.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("object-store")]


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> VeleroSite:
    return VeleroSite(cluster, cluster.add_velero())


@pytest.fixture
def live(site: VeleroSite) -> Iterator[str]:
    """A namespace with a workload."""
    name = f"live-{secrets.token_hex(4)}"
    site.workload(name)
    yield name
    site.cluster.kubectl("delete", "namespace", name, f"{name}-drill", "--ignore-not-found", "--wait=false")


def objects(site: VeleroSite, namespace: str) -> list[dict[str, Any]]:
    kinds = "configmaps,secrets,deployments,roles"
    found = site.cluster.kubectl(
        "get", kinds, "-n", namespace, f"--field-selector=metadata.name={WORKLOAD}", "-o", "json"
    )
    return list(json.loads(found)["items"])


def test_a_namespace_is_backed_up_and_restored_into_another(site: VeleroSite, live: str) -> None:
    before = objects(site, live)
    backup = site.back_up(live, live)
    assert backup["status"]["phase"] == "Completed"

    drill = f"{live}-drill"
    site.cluster.kubectl("create", "namespace", drill)
    spec = {
        "backupName": live,
        "includedNamespaces": [live],
        "namespaceMapping": {live: drill},
        "includedResources": ["configmaps", "secrets", "deployments.apps"],
        "includeClusterResources": False,
    }
    site.make("Restore", live, spec)
    restore = site.ended("Restore", live)
    assert (restore["status"]["phase"], restore["status"].get("errors", 0)) == ("Completed", 0)

    site.available(drill)
    restored = {found["kind"]: found for found in objects(site, drill)}
    assert restored.keys() == {"ConfigMap", "Secret", "Deployment"}, "no Role"
    assert restored["ConfigMap"]["data"] == {"GREETING": "hello"}
    assert restored["Secret"]["data"] == {"PASSWORD": "czNjcmV0"}
    assert objects(site, live) == before, "nothing of what lives was touched"


def test_backups_are_objects_of_the_store(site: VeleroSite, live: str) -> None:
    site.back_up(live, live)
    assert f"backups/{live}/{live}.tar.gz" in site.velero.store.keys(f"backups/{live}/")


def test_a_schedule_makes_backups(site: VeleroSite, live: str) -> None:
    template = {"includedNamespaces": [live], "snapshotVolumes": False, "ttl": "1h0m0s"}
    site.make("Schedule", live, {"schedule": "* * * * *", "template": template})
    try:
        label = f"velero.io/schedule-name={live}"
        backup = wait(lambda: next(iter(site.find("Backup", label)), None))
    finally:
        site.remove("Schedule", live)
    assert backup["spec"]["includedNamespaces"] == [live]
    assert site.ended("Backup", backup["metadata"]["name"])["status"]["phase"] == "Completed"


def test_it_is_asked_for_twice_and_installed_once(site: VeleroSite) -> None:
    def generation() -> str:
        return site.cluster.kubectl(
            "get", "deployment", "velero", "-n", site.velero.namespace, "-o", "jsonpath={.metadata.generation}"
        )

    first = generation()
    assert site.cluster.add_velero() == site.velero
    assert generation() == first
