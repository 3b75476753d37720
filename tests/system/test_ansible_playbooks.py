"""The Procedure `ansible-playbook` against real hosts with sshd, which are pods."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.handle import Cluster
from tests.support.host_steps import Ended, HostStep, Platform
from tests.support.ssh_hosts import PORT, USER, KeyPair, SshHosts, ssh_hosts

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("playbooks")]

PLAYBOOK = """\
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - copy: {content: "{{ greeting | default('hello') }}\\n", dest: /etc/greeting}
"""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"playbooks-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def hosts(cluster: Cluster, namespace: str) -> SshHosts:
    return ssh_hosts(cluster, namespace, ["web-1", "web-2"])


@pytest.fixture(scope="module")
def platform(cluster: Cluster, namespace: str) -> Platform:
    fresh = cluster.refresh_images()
    return Platform(fresh, namespace, {"ansible": fresh.extra_image("ansible")})


def step(
    platform: Platform,
    hosts: SshHosts,
    *,
    playbook: str = PLAYBOOK,
    known_hosts: str | None = None,
    key: KeyPair | None = None,
    address: str = "",
    **parameters: str | bool | list[str],
) -> HostStep:
    host = hosts.hosts[0]
    files = {"playbook.yml": playbook}
    ssh = {
        "ssh-privatekey": (key or hosts.user_key).private,
        "known_hosts": hosts.known_hosts if known_hosts is None else known_hosts,
    }
    target = {
        "BASCULE_SSH_DIR": "/run/bascule/ssh",
        "BASCULE_TARGET": host.name,
        "BASCULE_TARGET_ADDRESS": address or host.address,
        "BASCULE_TARGET_PORT": str(PORT),
        "BASCULE_TARGET_USER": USER,
    }
    run = f"{secrets.token_hex(16)}/1"
    return platform.step("ansible-playbook", "", run, **parameters).given(files=files, ssh=ssh, environment=target)


def carried_out(platform: Platform, hosts: SshHosts, **more: Any) -> Ended:
    return step(platform, hosts, **more).carried_out()


def test_a_playbook_changes_its_host_and_no_other_and_then_nothing_more(platform: Platform, hosts: SshHosts) -> None:
    variables = ["greeting={{ lookup('pipe', 'id') }} $(id)"]
    greeting = step(platform, hosts, variables=variables)

    first, second = greeting.carried_out(), greeting.carried_out()

    assert (first.code, first.results["changed"]) == (0, "1"), first.log
    assert (second.code, second.results["changed"]) == (0, "0"), second.log
    assert hosts.run("web-1", "cat", "/etc/greeting") == "{{ lookup('pipe', 'id') }} $(id)"
    assert hosts.run("web-2", "sh", "-c", "ls /etc/greeting || echo none") == "none"


def test_a_check_changes_nothing(platform: Platform, hosts: SshHosts) -> None:
    before = hosts.run("web-1", "sh", "-c", "cat /etc/greeting || true")

    done = carried_out(platform, hosts, check=True, variables=["greeting=other"])

    assert (done.code, done.results["changed"]) == (0, "1"), done.log
    assert hosts.run("web-1", "sh", "-c", "cat /etc/greeting || true") == before


def test_a_task_that_fails_is_told(platform: Platform, hosts: SshHosts) -> None:
    playbook = "- {hosts: all, gather_facts: false, tasks: [{command: /bin/false}]}\n"

    done = carried_out(platform, hosts, playbook=playbook)

    assert done.code == 10
    assert "the playbook failed on web-1" in done.message


def test_a_host_whose_key_is_not_known_or_another_is_refused_for_good(platform: Platform, hosts: SshHosts) -> None:
    address, (kind, public) = hosts.hosts[0].address, KeyPair.made().public.split()[:2]

    unknown = carried_out(platform, hosts, known_hosts="# none\n")
    another = carried_out(platform, hosts, known_hosts=f"{address} {kind} {public}\n")

    assert [unknown.code, another.code] == [20, 20]
    assert "refused us, or has another key" in another.message


def test_a_key_that_the_host_does_not_take_is_refused_for_good(platform: Platform, hosts: SshHosts) -> None:
    assert carried_out(platform, hosts, key=KeyPair.made()).code == 20


def test_a_host_that_is_away_is_worth_another_attempt(platform: Platform, hosts: SshHosts) -> None:
    done = carried_out(platform, hosts, address="10.244.1.254")

    assert done.code == 30
    assert "web-1 does not answer" in done.message
