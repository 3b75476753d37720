"""The nodes of the test cluster are Debian machines, with an archive in which there is something to patch."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from hack.cluster.addresses import NODES
from hack.cluster.debian_archive import FIRST, UPDATE, DebianPackage
from hack.cluster.handle import Cluster

# Whether a node asks for a reboot is the same for every test that looks: they run in one process.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

WAIT = "-o=DPkg::Lock::Timeout=120"


@pytest.fixture
def package(cluster: Cluster) -> Iterator[str]:
    """The name of a package of the test's own, which nodes have in version 1.0."""
    name = f"canary-{secrets.token_hex(4)}"
    for node in NODES:
        cluster.install_package(node, DebianPackage(name, "1.0"))
    yield name
    for version in ("1.0", "1.1"):
        cluster.withdraw_package(name, version)


def apt(cluster: Cluster, node: str, *words: str) -> tuple[int, str]:
    # Lists have a lock for which apt does not wait.
    update = 'until apt-get --quiet update; do sleep 1; done; exec apt-get --yes --quiet "$@"'
    done = cluster.on_node(node, ["timeout", "120", "sh", "-c", update, "apt", WAIT, *words])
    return done.returncode, done.stdout + done.stderr


def test_a_new_node_has_the_old_version_and_sees_its_security_update(cluster: Cluster) -> None:
    code, said = apt(cluster, "node1", "--simulate", "upgrade")

    assert code == 0
    assert cluster.package_version("node1", FIRST.name) in (FIRST.version, UPDATE.version)
    if cluster.package_version("node1", FIRST.name) == FIRST.version:
        assert f"Inst {FIRST.name} [{FIRST.version}] ({UPDATE.version} Debian-Security:12/stable-security" in said


def test_an_upgrade_changes_one_node_and_can_be_taken_back(cluster: Cluster, package: str) -> None:
    cluster.publish_package(DebianPackage(package, "1.1"), security=True)

    code, said = apt(cluster, "node1", "install", "--only-upgrade", package)
    assert code == 0, said
    assert {node: cluster.package_version(node, package) for node in NODES} == {"node1": "1.1", "node2": "1.0"}

    code, said = apt(cluster, "node1", "install", "--allow-downgrades", f"{package}=1.0")
    assert code == 0, said
    assert cluster.package_version("node1", package) == "1.0"


def test_a_version_may_fail_on_one_node_and_ask_the_other_for_a_reboot(cluster: Cluster, package: str) -> None:
    broken = DebianPackage(package, "1.1", fails_on=["node2"], needs_reboot=True)
    cluster.publish_package(broken, security=True)

    assert apt(cluster, "node1", "install", "--only-upgrade", package)[0] == 0
    code, said = apt(cluster, "node2", "install", "--only-upgrade", package)

    assert code == 100
    assert f"{package} 1.1 does not start on node2" in said
    assert cluster.package_version("node1", package) == "1.1"
    assert cluster.package_version("node2", package) == "1.1 (broken)"
    asked = cluster.on_node("node1", ["cat", "/run/reboot-required.pkgs"], check=True).stdout
    cluster.on_node("node1", ["rm", "/run/reboot-required", "/run/reboot-required.pkgs"])
    assert package in asked.split()
    cluster.install_package("node2", DebianPackage(package, "1.2"))
    assert cluster.package_version("node2", package) == "1.2"
    cluster.withdraw_package(package, "1.2")
