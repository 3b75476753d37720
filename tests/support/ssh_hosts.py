"""Hosts of an inventory: pods with sshd, each with its own host key, and a user with one key for all."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.handle import Cluster

USER, PORT = "patcher", 22
PATIENCE = 300.0


@dataclass(frozen=True)
class KeyPair:
    private: str
    public: str

    @classmethod
    def made(cls) -> KeyPair:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "key")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", file], check=True)
            return cls(file.read_text(), file.with_suffix(".pub").read_text().strip())


@dataclass(frozen=True)
class SshHost:
    """One host: its name, where it is, and the public half of its key."""

    name: str
    address: str
    key: str

    @property
    def known(self) -> str:
        """Its line of known_hosts."""
        kind, public = self.key.split()[:2]
        return f"{self.address} {kind} {public}\n"


@dataclass(frozen=True)
class SshHosts:
    """Pods with sshd in a namespace, and what is needed to get in."""

    cluster: Cluster
    namespace: str
    user_key: KeyPair
    hosts: Sequence[SshHost]

    @cached_property
    def known_hosts(self) -> str:
        return "".join(host.known for host in self.hosts)

    def inventory(self) -> str:
        """The list as a PatchCampaign's inventory ConfigMap holds it."""
        return yaml.safe_dump(
            [{"name": host.name, "address": host.address, "port": PORT, "user": USER} for host in self.hosts]
        )

    def secret(self, namespace: str, name: str = "ssh") -> dict[str, Any]:
        """The tenant's Secret with the key and the keys of the hosts."""
        content = {"ssh-privatekey": self.user_key.private, "known_hosts": self.known_hosts}
        metadata = {"name": name, "namespace": namespace, "labels": {"bascule.dev/use": "ssh"}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}

    def run(self, name: str, *command: str) -> str:
        """Run a command on a host, as root, and return what it prints."""
        return self.cluster.kubectl("exec", "-n", self.namespace, name, "--", *command).strip()


def ssh_hosts(cluster: Cluster, namespace: str, names: Sequence[str]) -> SshHosts:
    """Make hosts and wait until they answer. They go with their namespace."""
    image, user = cluster.extra_image("inventory-host"), KeyPair.made()
    keys = {name: KeyPair.made() for name in names}
    for name, key in keys.items():
        cluster.kubectl("apply", "-f", "-", input=json.dumps(_secret(namespace, name, key, user)))
        cluster.kubectl("apply", "-f", "-", input=json.dumps(_pod(namespace, name, image)))
    addresses = {name: _address(cluster, namespace, name) for name in names}
    hosts = [SshHost(name, addresses[name], key.public) for name, key in keys.items()]
    return SshHosts(cluster, namespace, user, hosts)


def _secret(namespace: str, name: str, key: KeyPair, user: KeyPair) -> dict[str, Any]:
    content = {"host_key": key.private, "authorized_keys": f"{user.public}\n"}
    metadata = {"name": f"{name}-keys", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}


def _pod(namespace: str, name: str, image: str) -> dict[str, Any]:
    container = {
        "name": "sshd",
        "image": image,
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
    }
    # Readable for the user as well, whose authorized_keys sshd opens in its name; the host's key is a test's.
    volume = {
        "name": "keys",
        "projected": {"sources": [_item(name, "host_key", 0o600), _item(name, "authorized_keys", 0o644)]},
    }
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "inventory-host"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _item(name: str, key: str, mode: int) -> dict[str, Any]:
    return {"secret": {"name": f"{name}-keys", "items": [{"key": key, "path": key, "mode": mode}]}}


def _address(cluster: Cluster, namespace: str, name: str) -> str:
    cluster.kubectl("wait", "-n", namespace, f"pod/{name}", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
    deadline = time.monotonic() + PATIENCE
    while not (found := cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.podIP}")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found
