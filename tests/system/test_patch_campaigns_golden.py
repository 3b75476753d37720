"""Campaigns as they are meant to be used: real packages on real nodes, real playbooks on real hosts, real gates.

Proof is what dpkg of the node, or the host itself, says afterwards.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hack import installation
from hack.cluster.addresses import NODES
from hack.cluster.debian_archive import DebianPackage
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Body, condition, step_objects
from tests.support.host_steps import Platform
from tests.support.live_campaigns import (
    TENANT_LABEL,
    CampaignBuilder,
    bascule_verb,
    counts,
    held_leases,
    held_nodes,
)
from tests.support.ssh_hosts import SshHosts, ssh_hosts

# Each test has the nodes for itself: they run in one process.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]
Builder = Callable[[str], CampaignBuilder]
HOSTS = ("web-1", "web-2")
APPROVED: Body = {"approval": {"required": True}}
OF_RUNS = "jobs,pods,secrets,configmaps"


@pytest.fixture(scope="module")
def fleet(bascule: Cluster) -> Iterator[TenantHandle]:
    """A tenant whose campaigns may work on every node, as root."""
    name = f"golden-{secrets.token_hex(4)}"
    bascule.kubectl("label", "--overwrite", "nodes", *NODES, f"{TENANT_LABEL}={name}")
    yield installation.make_tenant(bascule, name, node_selector={TENANT_LABEL: name})
    bascule.kubectl("label", "nodes", *NODES, f"{TENANT_LABEL}-")
    bascule.kubectl("delete", "tenant", name, "--wait=false")
    bascule.kubectl("delete", "namespace", f"{name}-dev", f"bascule-steps-{name}", "--wait=false")


@pytest.fixture
def campaign(bascule: Cluster, fleet: TenantHandle) -> Iterator[Builder]:
    """Campaigns of the tenant. However a test ends, nothing may stay held."""
    yield lambda name: CampaignBuilder(name, bascule, fleet)
    bascule.kubectl("delete", "patchcampaigns", "--all", "-n", fleet.namespace, "--timeout=240s")
    assert held_nodes(bascule) == {}
    assert held_leases(bascule, fleet) == []


@pytest.fixture
def package(bascule: Cluster) -> Iterator[str]:
    """The name of a package of the test's own; the nodes have 1.0, and 1.1 is its security update."""
    name = f"golden-{secrets.token_hex(4)}"
    for node in NODES:
        bascule.install_package(node, DebianPackage(name, "1.0"))
    bascule.publish_package(DebianPackage(name, "1.1"), security=True)
    yield name
    for node in NODES:
        bascule.on_node(node, ["dpkg", "--purge", "--force-remove-reinstreq", name])
    for version in ("1.0", "1.1"):
        bascule.withdraw_package(name, version)


@dataclass(frozen=True)
class Shop:
    """A web server in the tenant's namespace that serves what it is given."""

    cluster: Cluster
    namespace: str
    name: str = "shop"

    def start(self) -> None:
        container = {
            "name": "shop",
            "image": self.cluster.images["worker"],
            "command": ["python3", "-m", "http.server", "8080", "--directory", "/srv"],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "volumeMounts": [{"name": "pages", "mountPath": "/srv"}],
        }
        spec = {
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "pages", "emptyDir": {}}],
        }
        metadata = {"name": self.name, "namespace": self.namespace}
        installation.apply(self.cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        named = ["-n", self.namespace, f"pod/{self.name}"]
        self.cluster.kubectl("wait", *named, "--for=condition=Ready", "--timeout=180s")

    def says(self, **health: bool) -> None:
        """From now on this is its health; until then it has no such page."""
        write = ["sh", "-c", f"echo '{json.dumps(health)}' >/srv/new && mv /srv/new /srv/health"]
        self.cluster.kubectl("exec", "-n", self.namespace, self.name, "--", *write)

    def gate(self, **limits: int) -> Body:
        """What holds while it is well."""
        named = ["pod", self.name, "-n", self.namespace, "-o", "jsonpath={.status.podIP}"]
        address = self.cluster.kubectl("get", *named)
        condition = "status == 200 && json.well"
        http = {"url": f"http://{address}:8080/health"}
        return {"name": "shop", "http": http, "successCondition": condition, "interval": "1s"} | limits


@pytest.fixture
def shop(bascule: Cluster, fleet: TenantHandle) -> Iterator[Shop]:
    made = Shop(bascule, fleet.namespace)
    made.start()
    yield made
    bascule.kubectl("delete", "pod", made.name, "-n", made.namespace)


def upgrading(made: CampaignBuilder, package: str, **fields: object) -> CampaignBuilder:
    """Upgrades that package on the nodes with the Procedures of the chart."""
    patch = {"procedure": "apt-upgrade", "parameters": {"packages": [package]}}
    check = {"procedure": "node-check", "parameters": {"minFreePercent": 1, "allowPendingReboot": True}}
    return made.with_spec(patch=patch, rollback={"procedure": "apt-rollback"}, verify=check, **fields)


def versions(cluster: Cluster, package: str) -> dict[str, str]:
    """What dpkg of every node says."""
    return {node: cluster.package_version(node, package) for node in NODES}


def dpkg_log(cluster: Cluster, node: str, package: str) -> list[tuple[str, str]]:
    """From which version to which that node's dpkg replaced the package, in order."""
    lines = cluster.on_node(node, ["cat", "/var/log/dpkg.log"], check=True).stdout.splitlines()
    words = (line.split()[2:] for line in lines)
    return [(said[2], said[3]) for said in words if said[:2] == ["upgrade", f"{package}:all"]]


def open_now(zone: str) -> Body:
    """A window that is open on the clocks of that place, and closed on those of UTC."""
    now = datetime.now(ZoneInfo(zone))
    offset = now.utcoffset()
    assert offset is not None
    assert abs(offset) > timedelta(hours=3)
    start, end = now - timedelta(hours=1), now + timedelta(hours=2)
    days = [f"{start:%a}"]
    return {"days": days, "start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "timeZone": zone}


class TestNodes:
    def test_a_gate_holds_the_fleet_back_until_the_shop_is_well_after_the_canary(
        self, campaign: Builder, bascule: Cluster, package: str, shop: Shop
    ) -> None:
        gates, windows = [shop.gate(failureLimit=1000, inconclusiveLimit=1000)], [open_now("Asia/Kolkata")]
        made = upgrading(campaign("upgrade"), package, gates=gates, windows=windows).apply()

        body = made.until(lambda found: _waits_for(found) == "Check", "at its gate")

        (canary,), (other,) = (wave["names"] for wave in body["status"]["waves"])
        assert versions(bascule, package) == {canary: "1.1", other: "1.0"}
        assert held_nodes(bascule) == {}
        shop.says(well=True)
        done = made.until_phase("Succeeded")
        assert counts(done) == {"total": len(NODES), "patched": len(NODES)}
        assert condition(done, "Verified")["reason"] == "TargetsVerified"
        assert versions(bascule, package) == dict.fromkeys(NODES, "1.1")
        assert [dpkg_log(bascule, node, package) for node in NODES] == [[("1.0", "1.1")]] * len(NODES)

    def test_a_gate_that_fails_has_the_package_of_its_wave_taken_back_and_no_other(
        self, campaign: Builder, bascule: Cluster, fleet: TenantHandle, package: str, shop: Shop
    ) -> None:
        shop.says(well=True)
        waves, policy = [{"name": "canary", "size": 1}, {"name": "fleet"} | APPROVED], {"action": "RollbackWave"}
        made = upgrading(campaign("worse"), package, gates=[shop.gate()], waves=waves, failurePolicy=policy).apply()
        body = made.until_phase("Waiting")
        (canary,), (other,) = (wave["names"] for wave in body["status"]["waves"])
        assert versions(bascule, package) == {canary: "1.1", other: "1.0"}

        shop.says(well=False)
        bascule_verb(made, "approve", "pcamp/worse", "--yes")

        body = made.until_phase("Failed")
        assert body["status"]["failure"]["type"] == "GateFailed"
        assert versions(bascule, package) == {canary: "1.1", other: "1.0"}
        assert dpkg_log(bascule, other, package) == [("1.0", "1.1"), ("1.1", "1.0")]
        assert dpkg_log(bascule, canary, package) == [("1.0", "1.1")]
        assert counts(body) == {"total": 2, "patched": 1, "rolledBack": 1}
        assert [wave["state"] for wave in body["status"]["waves"]] == ["Succeeded", "RolledBack"]
        assert condition(body, "Compensated")["status"] == "True"
        # Jobs of gates are left to Kubernetes, which removes them after a while.
        assert step_objects(bascule, fleet, body["metadata"]["uid"], "secrets,configmaps") == []


def _waits_for(body: Body) -> str:
    return str((body.get("status", {}).get("waitingFor") or {}).get("kind", ""))


GREETING = "/etc/greeting"
_GREET = {"copy": {"content": "{{ release }}\n", "dest": GREETING}}
_HELD = {"wait_for": {"path": "/run/go", "timeout": 1800}}


def playbook(*tasks: Body) -> str:
    # What is JSON is YAML.
    return json.dumps([{"hosts": "all", "become": True, "gather_facts": False, "tasks": list(tasks)}])


@pytest.fixture(scope="module")
def hosts(bascule: Cluster) -> Iterator[SshHosts]:
    """Hosts with sshd, and the Procedure for playbooks as the chart ships it."""
    namespace = f"hosts-{secrets.token_hex(4)}"
    bascule.kubectl("create", "namespace", namespace)
    shipped = Platform(bascule, namespace, {"ansible": bascule.extra_image("ansible")}).procedures["ansible-playbook"]
    spec = shipped.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    named = {"apiVersion": "bascule.dev/v1alpha1", "kind": "Procedure", "metadata": {"name": "ansible-playbook"}}
    installation.apply(bascule, named | {"spec": spec})
    yield ssh_hosts(bascule, namespace, HOSTS)
    bascule.kubectl("delete", "procedure", "ansible-playbook", "--wait=false")
    bascule.kubectl("delete", "namespace", namespace, "--wait=false")


def greetings(hosts: SshHosts) -> dict[str, str]:
    """What every host was told; nothing where nobody was there."""
    return {name: hosts.run(name, "sh", "-c", f"cat {GREETING} 2>/dev/null || true") for name in HOSTS}


class TestInventory:
    @pytest.fixture
    def playing(
        self, bascule: Cluster, fleet: TenantHandle, hosts: SshHosts, campaign: Builder
    ) -> Callable[..., CampaignBuilder]:
        """Campaigns that play these tasks on the hosts, from what a tenant keeps in the namespace."""
        space = fleet.namespace
        for name in HOSTS:
            hosts.run(name, "rm", "-f", GREETING, "/run/go")
        inventory = installation.config_map(space, "hosts", {"hosts.yaml": hosts.inventory()})
        installation.apply(bascule, inventory, hosts.secret(space))

        def made(name: str, *tasks: Body, **fields: object) -> CampaignBuilder:
            installation.apply(bascule, installation.config_map(space, "playbooks", {"playbook.yml": playbook(*tasks)}))
            targets = {"inventory": {"configMap": {"name": "hosts"}, "secretRef": {"name": "ssh"}}}
            patch = {
                "procedure": "ansible-playbook",
                "files": {"name": "playbooks"},
                "parameters": {"variables": ["release=12.5"]},
            }
            return campaign(name).with_spec(targets=targets, patch=patch, rollback=None, drain=None, **fields)

        return made

    def test_a_playbook_reaches_the_first_host_and_after_an_approval_the_others(
        self, bascule: Cluster, fleet: TenantHandle, hosts: SshHosts, playing: Callable[..., CampaignBuilder]
    ) -> None:
        waves = [{"name": "canary", "size": 1}, {"name": "fleet"} | APPROVED]
        made = playing("release", _GREET, waves=waves).apply()

        body = made.until_phase("Waiting")

        (canary,), (other,) = (wave["names"] for wave in body["status"]["waves"])
        assert greetings(hosts) == {canary: "12.5", other: ""}
        assert body["status"]["waitingFor"]["subject"] == body["status"]["plan"]["digest"]
        bascule_verb(made, "approve", "pcamp/release", "--yes")
        done = made.until_phase("Succeeded")
        assert counts(done) == {"total": len(HOSTS), "patched": len(HOSTS)}
        assert greetings(hosts) == dict.fromkeys(HOSTS, "12.5")
        assert step_objects(bascule, fleet, done["metadata"]["uid"], OF_RUNS) == []

    def test_deletion_in_mid_run_without_a_rollback_takes_nothing_back_and_leaves_nothing_behind(
        self, bascule: Cluster, fleet: TenantHandle, hosts: SshHosts, playing: Callable[..., CampaignBuilder]
    ) -> None:
        made = playing("doomed", _GREET, _HELD).apply()
        first, _ = made.until_at_work("Patching")
        hosts.run(first, "touch", "/run/go")
        made.until(lambda found: counts(found).get("patched") == 1, "done with its canary")
        second, body = made.until_at_work("Patching")
        uid = body["metadata"]["uid"]
        assert (second != first, len(held_leases(bascule, fleet))) == (True, 1)
        made.until(lambda _: greetings(hosts)[second] == "12.5", "amid the second host's playbook")
        assert step_objects(bascule, fleet, uid, "secrets") != []

        made.delete()
        made.until_gone()

        assert greetings(hosts) == dict.fromkeys(HOSTS, "12.5")
        assert held_leases(bascule, fleet) == []
        assert step_objects(bascule, fleet, uid, OF_RUNS) == []
