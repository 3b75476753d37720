"""Drills that restore by a real Velero: from the Backup to the figures, and nothing left."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from bascule_workers.plans.velero import LABEL_SCHEDULE
from hack import installation
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.velero import VeleroSite, wait

# With the tests that switch Velero or the object store off.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("object-store")]

VELERO = "system:serviceaccount:velero:velero"
SITE = "site"
OVER = ("Succeeded", "Failed", "Cancelled", "Rejected", "CompensationFailed")


@dataclass(frozen=True)
class Shop:
    """A tenant whose web server shows what a ConfigMap says."""

    site: VeleroSite
    tenant: TenantHandle

    @property
    def namespace(self) -> str:
        return self.tenant.namespace

    def say(self, text: str) -> None:
        installation.apply(self.site.cluster, installation.config_map(self.namespace, SITE, {"index.html": text}))

    def back_up(self, *others: str, schedule: str = "") -> dict[str, Any]:
        """Back up the tenant's namespace, and others; as if by a Schedule of the tenant's."""
        labels = {LABEL_SCHEDULE: f"{self.namespace}-{schedule}"} if schedule else {}
        name = f"{self.namespace}-{secrets.token_hex(3)}"
        return self.site.back_up(name, self.namespace, *others, labels=labels)

    def drill(self, name: str, backup: str, **spec: Any) -> None:
        """Begin a drill whose probe asks for what stood in the ConfigMap before the backup."""
        probe = {"service": SITE, "port": 8080, "successCondition": "status == 200 && body.contains('before')"}
        wanted = {
            "environment": {},
            "restore": {"velero": {"backup": backup, "includedNamespaces": [self.namespace]}},
            "probes": [{"name": "shows", "http": probe, "timeout": "10m"}],
            "objectives": {"rto": "1h", "rpo": "1h"},
        }
        metadata = {"name": name, "namespace": self.namespace}
        document = {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "DRDrill",
            "metadata": metadata,
            "spec": wanted | spec,
        }
        installation.apply(self.site.cluster, document)

    def get(self, name: str) -> dict[str, Any]:
        found = self.site.cluster.kubectl("get", "drdrill", name, "-n", self.namespace, "-o", "json")
        return dict(json.loads(found))

    def ended(self, name: str) -> dict[str, Any]:
        """The status once the run is over."""
        ended = wait(lambda: found if (found := self.get(name)).get("status", {}).get("phase") in OVER else None)
        return dict(ended["status"])

    def live(self) -> dict[str, str]:
        """What lives in the tenant's namespace, by kind and name, and as which version. Status of pods may go on."""
        kinds = "configmaps,secrets,services,deployments,serviceaccounts"
        found = json.loads(self.site.cluster.kubectl("get", kinds, "-n", self.namespace, "-o", "json"))
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found["items"]
        }

    def left(self) -> list[str]:
        """Namespaces of the tenant's drills, and Restores of its runs."""
        spaces = self.site.cluster.kubectl("get", "ns", "-l", f"bascule.dev/drill-of={self.tenant.name}", "-o", "name")
        restores = self.site.find("Restore", f"bascule.dev/tenant={self.tenant.name}")
        return [*spaces.split(), *(each["metadata"]["name"] for each in restores)]


@pytest.fixture(scope="module")
def site(bascule: Cluster) -> VeleroSite:
    velero = bascule.add_velero()
    installation.install(bascule, drills={"enabled": True, "veleroNamespace": velero.namespace})
    return VeleroSite(bascule, velero)


@pytest.fixture
def shop(site: VeleroSite) -> Iterator[Shop]:
    tenant = installation.make_tenant(site.cluster, f"t-{secrets.token_hex(4)}")
    enabled = json.dumps({"spec": {"drills": {"enabled": True}}})
    site.cluster.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", enabled)
    shop = Shop(site, tenant)
    shop.say("written before")
    site.cluster.kubectl("apply", "-f", "-", input=json.dumps(web_server(tenant.namespace)))
    site.cluster.kubectl(
        "wait", f"deployment/{SITE}", "-n", tenant.namespace, "--for=condition=Available", "--timeout=300s"
    )
    yield shop
    site.cluster.kubectl("delete", "drdrills", "--all", "-n", tenant.namespace, "--wait=false")


def web_server(namespace: str) -> dict[str, Any]:
    metadata = {"name": SITE, "namespace": namespace}
    container = {
        "name": SITE,
        "image": "registry.bascule.test:5000/library/busybox:stable",
        "command": ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"],
        "volumeMounts": [{"name": SITE, "mountPath": "/www"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }
    volume = {"name": SITE, "configMap": {"name": SITE}}
    pod = {
        "metadata": {"labels": {"app": SITE}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [volume]},
    }
    deployment = {"replicas": 1, "selector": {"matchLabels": {"app": SITE}}, "template": pod}
    service = {"selector": {"app": SITE}, "ports": [{"port": 8080}]}
    items = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def moment(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


def test_a_drill_brings_back_what_was_backed_up_and_says_how_old_it_is(shop: Shop) -> None:
    backup = shop.back_up()
    shop.say("written after")
    before = shop.live()
    shop.drill("golden", backup["metadata"]["name"])
    status = shop.ended("golden")
    drill = status["drill"]

    assert (status["phase"], drill["verdict"], drill.get("left", [])) == ("Succeeded", "Met", []), json.dumps(status)
    assert drill["backup"] == backup["metadata"]["name"]
    assert drill["recoveryPoint"] == backup["status"]["startTimestamp"]
    assert drill["rpoSeconds"] == moment(drill["declaredAt"]) - moment(backup["status"]["startTimestamp"])
    assert drill["rtoSeconds"] == moment(drill["probes"][0]["passedAt"]) - moment(drill["declaredAt"])
    assert {each["kind"]: each["before"] for each in drill["searched"]}["Namespace"] == 1
    assert not [each for each in drill["searched"] if each["after"]]
    assert shop.left() == []
    assert shop.live() == before, "nothing that lives was touched"
    written = [json.loads(line) for line in shop.site.cluster.audit_log.read_text().splitlines() if VELERO in line]
    places = [entry.get("objectRef", {}).get("namespace") for entry in written if entry["user"]["username"] == VELERO]
    assert drill["namespace"] in places
    assert shop.namespace not in places


def test_the_newest_backup_of_a_schedule_is_restored(shop: Shop) -> None:
    shop.back_up(schedule="nightly")
    shop.say("written before, and then again")
    time.sleep(1.1)  # Velero's times are whole seconds.
    newest = shop.back_up(schedule="nightly")
    shop.say("written after")
    restore = {"velero": {"schedule": f"{shop.namespace}-nightly", "includedNamespaces": [shop.namespace]}}
    wanted = "body.contains('before, and then again')"
    probe = {"name": "shows", "http": {"service": SITE, "port": 8080, "successCondition": wanted}}
    shop.drill("nightly", "", restore=restore, probes=[probe])
    status = shop.ended("nightly")

    assert status["drill"].get("verdict") == "Met", json.dumps(status)
    assert status["drill"]["backup"] == newest["metadata"]["name"]
    assert status["drill"]["recoveryPoint"] == newest["status"]["startTimestamp"]
    assert shop.left() == []


def test_a_backup_that_holds_more_than_the_tenants_namespaces_is_not_touched(shop: Shop) -> None:
    backup = shop.back_up("default")
    shop.drill("greedy", backup["metadata"]["name"])
    status = shop.ended("greedy")

    assert status["phase"] == "Failed"
    assert status["failure"]["type"] == "BackupForbidden"
    assert status["drill"]["verdict"] == "Missed"
    assert not shop.site.find("Restore", f"bascule.dev/tenant={shop.tenant.name}")
    assert shop.left() == []


def test_a_drill_that_is_deleted_while_velero_is_away_leaves_nothing(shop: Shop) -> None:
    backup = shop.back_up()
    with shop.site.switched_off():
        shop.drill("dropped", backup["metadata"]["name"])
        label = f"bascule.dev/tenant={shop.tenant.name}"
        wait(lambda: next(iter(shop.site.find("Restore", label)), None))
        shop.site.cluster.kubectl("delete", "drdrill", "dropped", "-n", shop.namespace, "--timeout=300s")
        assert shop.left() == []
    assert shop.left() == [], "Velero makes nothing anew"
