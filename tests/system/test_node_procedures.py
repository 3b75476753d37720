"""The Procedures for nodes, each in a privileged pod on a real node with real packages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from hack.cluster.addresses import NODES
from hack.cluster.debian_archive import DebianPackage
from hack.cluster.handle import Cluster
from tests.support.host_steps import Platform

# Whether a node asks for a reboot is the same for every test that looks: they run in one process.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

NODE, OTHER = NODES


@pytest.fixture(scope="module")
def platform(cluster: Cluster) -> Iterator[Platform]:
    fresh = cluster.refresh_images()
    namespace = f"node-steps-{secrets.token_hex(4)}"
    fresh.kubectl("create", "namespace", namespace)
    yield Platform(fresh, namespace)
    fresh.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def run() -> str:
    return f"{secrets.token_hex(16)}/1"


@pytest.fixture
def package(cluster: Cluster) -> Iterator[str]:
    """The name of a package of the test's own; the nodes have 1.0, and 1.1 is its security update."""
    name = f"canary-{secrets.token_hex(4)}"
    for node in NODES:
        cluster.install_package(node, DebianPackage(name, "1.0"))
    cluster.publish_package(DebianPackage(name, "1.1"), security=True)
    yield name
    for node in NODES:
        cluster.on_node(node, ["sh", "-c", "rm -f /run/reboot-required*"])
        cluster.on_node(node, ["dpkg", "--purge", "--force-remove-reinstreq", name])
    for version in ("1.0", "1.1", "1.2"):
        cluster.withdraw_package(name, version)


def record(cluster: Cluster, run: str, file: str) -> dict[str, object]:
    text = cluster.on_node(NODE, ["cat", f"/var/lib/bascule/{run}/{file}"], check=True).stdout
    content: dict[str, object] = json.loads(text)
    return content


class TestUpgrading:
    def test_a_named_package_is_upgraded_on_that_node_alone_and_taken_back_by_the_same_run(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        done = platform.step("apt-upgrade", NODE, run, packages=[package]).carried_out()

        assert (done.code, dict(done.results)) == (
            0,
            {"rebootRequired": "false", "upgraded": "1", "changes": f"{package} 1.0 → 1.1"},
        )
        assert [cluster.package_version(node, package) for node in NODES] == ["1.1", "1.0"]
        assert record(cluster, run, "packages-before.json")[package] == "1.0"
        assert record(cluster, run, "packages-after.json")[package] == "1.1"

        back = platform.step("apt-rollback", NODE, run).carried_out()

        assert (back.code, back.message) == (0, f"took back {package} 1.1 → 1.0")
        assert cluster.package_version(NODE, package) == "1.0"
        again = platform.step("apt-rollback", NODE, run).carried_out()
        assert (again.code, again.message) == (0, "every package is as it was before the run")

    def test_security_updates_are_upgraded_and_others_are_not(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        other = f"{package}-other"
        cluster.install_package(NODE, DebianPackage(other, "1.0"))
        cluster.publish_package(DebianPackage(other, "1.1"))

        done = platform.step("apt-upgrade", NODE, run).carried_out()

        assert done.code == 0, done.log
        assert cluster.package_version(NODE, package) == "1.1"
        assert cluster.package_version(NODE, other) == "1.0"
        everything = platform.step("apt-upgrade", NODE, run, scope="All").carried_out()
        assert everything.code == 0, everything.log
        assert cluster.package_version(NODE, other) == "1.1"
        back = platform.step("apt-rollback", NODE, run).carried_out()
        assert back.code == 0, back.log
        assert [cluster.package_version(NODE, name) for name in (package, other)] == ["1.0", "1.0"]
        cluster.on_node(NODE, ["dpkg", "--purge", other])
        for version in ("1.0", "1.1"):
            cluster.withdraw_package(other, version)

    def test_what_is_not_installed_stays_so(self, cluster: Cluster, platform: Platform, run: str, package: str) -> None:
        cluster.on_node(NODE, ["dpkg", "--purge", package], check=True)

        done = platform.step("apt-upgrade", NODE, run, packages=[package]).carried_out()

        assert (done.code, done.results["upgraded"]) == (0, "0"), done.log
        assert cluster.package_version(NODE, package) == ""

    def test_a_package_that_nobody_has_is_named_and_not_tried_again(self, platform: Platform, run: str) -> None:
        done = platform.step("apt-upgrade", NODE, run, packages=["no-such-package"]).carried_out()

        assert done.code == 10
        assert "no-such-package" in done.message

    def test_a_package_that_fails_is_named_with_its_own_words_and_can_be_taken_back(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        cluster.publish_package(DebianPackage(package, "1.2", fails_on=[NODE]), security=True)
        step = platform.step("apt-upgrade", NODE, run, packages=[package])

        failed, repeated = step.carried_out(), step.carried_out()
        elsewhere = platform.step("apt-upgrade", OTHER, run, packages=[package]).carried_out()

        assert elsewhere.code == 0, elsewhere.log
        for done in (failed, repeated):
            assert done.code == 10
            assert f"{package} 1.2 does not start on {NODE}" in done.message
        assert cluster.package_version(NODE, package) == "1.2 (broken)"
        back = platform.step("apt-rollback", NODE, run).carried_out()
        assert back.code == 0, back.log
        assert cluster.package_version(NODE, package) == "1.0"

    def test_the_old_version_is_kept_for_an_archive_that_drops_it(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        assert platform.step("apt-upgrade", NODE, run, packages=[package]).carried_out().code == 0
        cluster.withdraw_package(package, "1.0")

        back = platform.step("apt-rollback", NODE, run).carried_out()

        assert back.code == 0, back.log
        assert cluster.package_version(NODE, package) == "1.0"

    def test_a_new_package_that_an_upgrade_needs_goes_again_with_it(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        needed = f"{package}-needed"
        cluster.publish_package(DebianPackage(needed, "1.0"))
        cluster.publish_package(DebianPackage(package, "1.2", depends=[needed]), security=True)

        done = platform.step("apt-upgrade", NODE, run, packages=[package]).carried_out()
        assert (done.code, done.results["upgraded"]) == (0, "2"), done.log
        assert cluster.package_version(NODE, needed) == "1.0"
        back = platform.step("apt-rollback", NODE, run).carried_out()

        assert back.code == 0, back.log
        assert [cluster.package_version(NODE, name) for name in (package, needed)] == ["1.0", ""]
        cluster.withdraw_package(needed, "1.0")

    def test_an_upgrade_that_was_killed_is_repeated_and_the_first_record_counts(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        slow = DebianPackage(package, "1.2", seconds=20)
        cluster.publish_package(slow, security=True)
        step = platform.step("apt-upgrade", NODE, run, packages=[package])
        attempt = step.start()
        attempt.until(f"Setting up {package} (1.2)")

        attempt.kill()
        done = step.carried_out()

        assert (done.code, done.results["changes"]) == (0, f"{package} 1.0 → 1.2"), done.log
        assert cluster.package_version(NODE, package) == "1.2"
        assert record(cluster, run, "packages-before.json")[package] == "1.0"
        assert platform.step("apt-rollback", NODE, run).carried_out().code == 0
        assert cluster.package_version(NODE, package) == "1.0"

    def test_it_waits_for_another_package_manager(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        take = "import fcntl, time; file = open('var/lib/dpkg/lock-frontend', 'a'); fcntl.lockf(file, fcntl.LOCK_EX)"
        holder = platform.holder(NODE, f"{take}; print('holding', flush=True); time.sleep(600)")
        attempt = platform.step("apt-upgrade", NODE, run, packages=[package]).start()
        attempt.until("waiting for another package manager")
        assert cluster.package_version(NODE, package) == "1.0"

        holder.kill()

        assert attempt.ended().code == 0
        assert cluster.package_version(NODE, package) == "1.1"

    def test_an_archive_that_is_away_is_worth_another_attempt(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        step = platform.step("apt-upgrade", NODE, run, packages=[package])
        cluster.stop("packages")
        try:
            away = step.carried_out()
        finally:
            cluster.start("packages")

        assert away.code == 30
        assert "cannot be fetched" in away.message
        assert step.carried_out().code == 0
        assert cluster.package_version(NODE, package) == "1.1"

    def test_a_rollback_of_a_run_that_did_nothing_here_has_nothing_to_do(self, platform: Platform, run: str) -> None:
        done = platform.step("apt-rollback", NODE, run).carried_out()

        assert (done.code, done.message) == (0, "the run wrote nothing down on this node: nothing to take back")

    def test_a_reboot_that_is_due_may_be_left_to_others(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        cluster.publish_package(DebianPackage(package, "1.2", needs_reboot=True), security=True)

        done = platform.step("apt-upgrade", NODE, run, packages=[package], reboot="Never").carried_out()

        assert (done.code, done.results["rebootRequired"]) == (0, "false"), done.log
        assert f"a reboot is due for {package}, and is left to others" in done.message
        check = platform.step("node-check", NODE, run).carried_out()
        assert (check.code, check.message) == (1, f"a reboot is due for {package}")
        assert platform.step("node-check", NODE, run, allowPendingReboot=True).carried_out().code == 0


class TestChecking:
    def test_a_broken_package_and_a_full_disk_are_named(
        self, cluster: Cluster, platform: Platform, run: str, package: str
    ) -> None:
        assert platform.step("node-check", NODE, run, minFreePercent=1).carried_out().code == 0
        cluster.publish_package(DebianPackage(package, "1.2", fails_on=[NODE]), security=True)
        platform.step("apt-upgrade", NODE, run, packages=[package]).carried_out()

        done = platform.step("node-check", NODE, run, minFreePercent=100).carried_out()

        assert done.code == 1
        assert f"not wholly installed: {package}" in done.message
        assert "of its space left, less than 100 %" in done.message


class TestScripts:
    SCRIPTS = {
        "greet": "#!/bin/sh\nset -eu\ncat /etc/hostname\nprintf '%s\\n' \"$BASCULE_RUN\" >/run/greeted\necho greeted\n",
        "fail": "#!/bin/sh\necho no such luck\nexit 3\n",
        "later": "#!/bin/sh\necho busy\nexit 75\n",
        "not-a-script": "hello\n",
    }

    @pytest.fixture(autouse=True)
    def _scripts(self, platform: Platform) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "bascule-node-scripts", "namespace": platform.namespace},
            "data": self.SCRIPTS,
        }
        platform.cluster.kubectl("apply", "-f", "-", input=json.dumps(document))

    def test_a_script_runs_on_the_node_and_leaves_no_copy(self, cluster: Cluster, platform: Platform, run: str) -> None:
        done = platform.step("node-script", NODE, run, script="greet").carried_out()

        assert (done.code, done.message, done.results["changes"]) == (0, "greeted", "greeted"), done.log
        assert NODE in done.log
        assert cluster.on_node(NODE, ["cat", "/run/greeted"], check=True).stdout.strip() == run
        assert cluster.on_node(NODE, ["ls", f"/var/lib/bascule/{run}"], check=True).stdout == ""

    @pytest.mark.parametrize(
        ("script", "code", "message"),
        [
            ("fail", 10, "fail ended with 3: no such luck"),
            ("later", 30, "later asks to be tried again: busy"),
            ("gone", 10, "there is no script 'gone'; there are: fail, greet, later, not-a-script"),
        ],
    )
    def test_a_script_that_fails_says_so(
        self, platform: Platform, run: str, script: str, code: int, message: str
    ) -> None:
        done = platform.step("node-script", NODE, run, script=script).carried_out()

        assert (done.code, done.message) == (code, message)
