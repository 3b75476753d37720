"""Backups, Schedules and Restores of a real Velero, as an administrator makes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from hack.cluster.handle import Cluster
from hack.cluster.velero import Velero
from hack.generated import ROOT

PATIENCE = 300.0
WORKLOAD = "web"
_IMAGE = "registry.bascule.test:5000/library/busybox:stable"


@dataclass(frozen=True)
class VeleroSite:
    """A cluster with Velero."""

    cluster: Cluster
    velero: Velero

    def make(self, kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> None:
        metadata = {"name": name, "namespace": self.velero.namespace, "labels": dict(labels or {})}
        document = {"apiVersion": "velero.io/v1", "kind": kind, "metadata": metadata, "spec": dict(spec)}
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(document))

    def find(self, kind: str, selector: str) -> list[dict[str, Any]]:
        resource = f"{kind.lower()}s.velero.io"
        listed = self.cluster.kubectl("get", resource, "-n", self.velero.namespace, "-l", selector, "-o", "json")
        return list(json.loads(listed)["items"])

    def get(self, kind: str, name: str) -> dict[str, Any]:
        resource = f"{kind.lower()}.velero.io"
        got = self.cluster.kubectl("get", resource, name, "-n", self.velero.namespace, "-o", "json")
        return dict(json.loads(got))

    def remove(self, kind: str, name: str) -> None:
        resource = f"{kind.lower()}.velero.io"
        options = ("-n", self.velero.namespace, "--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", resource, name, *options)

    def back_up(self, name: str, *namespaces: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Make a backup of namespaces and wait until it is completed; the Backup as it is then."""
        spec = {"includedNamespaces": list(namespaces), "snapshotVolumes": False, "ttl": "1h0m0s"}
        self.make("Backup", name, spec, labels)
        return self.ended("Backup", name)

    def ended(self, kind: str, name: str) -> dict[str, Any]:
        """Wait until a Backup or Restore has done all that it will do."""
        return self._once(kind, name, lambda status: "completionTimestamp" in status)

    def over(self, kind: str, name: str) -> dict[str, Any]:
        """Wait until a Backup or Restore has come to its end, or is refused."""
        ends = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")
        return self._once(kind, name, lambda status: status.get("phase") in ends)

    def _once(self, kind: str, name: str, holds: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
        return wait(lambda: found if holds((found := self.get(kind, name)).get("status") or {}) else None)

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Velero's server ends, and is back at the end."""
        self._scale(0)
        pods = ("pods", "-l", "deploy=velero", "-n", self.velero.namespace)
        self.cluster.kubectl("wait", *pods, "--for=delete", f"--timeout={PATIENCE:.0f}s")
        try:
            yield
        finally:
            self._scale(1)
            self.cluster.add_velero()

    def _scale(self, replicas: int) -> None:
        self.cluster.kubectl("scale", "deployment/velero", "-n", self.velero.namespace, f"--replicas={replicas}")

    def install_from_chart(self, *names: str) -> None:
        """Apply what the chart has for Velero: its objects of these names."""
        chart = str(ROOT / "charts/bascule")
        options = ("--namespace", "bascule-system", "--values", f"{chart}/ci/values.yaml")
        setting = ("--set", f"drills.veleroNamespace={self.velero.namespace}")
        text = self.cluster.exec(["helm", "template", "bascule", chart, *options, *setting], check=True).stdout
        chosen = [item for item in yaml.safe_load_all(text) if item and item["metadata"]["name"] in names]
        assert {item["metadata"]["name"] for item in chosen} == set(names)
        for item in chosen:
            # As Helm itself does it: an installation of the whole chart takes them over.
            release = {"meta.helm.sh/release-name": "bascule", "meta.helm.sh/release-namespace": "bascule-system"}
            item["metadata"]["annotations"] = release
        documents = "\n---\n".join(json.dumps(item) for item in chosen)
        options = ("--server-side", "--force-conflicts", "--field-manager=helm")
        self.cluster.kubectl("apply", *options, "-f", "-", input=documents)

    def workload(self, namespace: str) -> None:
        """A namespace with a Deployment that reads a ConfigMap and a Secret, and runs."""
        self.cluster.kubectl("create", "namespace", namespace)
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(_workload(namespace)))
        self.available(namespace)

    def available(self, namespace: str) -> None:
        options = ("-n", namespace, f"--timeout={PATIENCE:.0f}s")
        self.cluster.kubectl("wait", f"deployment/{WORKLOAD}", "--for=condition=Available", *options)


def wait(found: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (one := found()) is None:
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.5)
    return one


def _workload(namespace: str) -> dict[str, Any]:
    metadata = {"name": WORKLOAD, "namespace": namespace}
    container = {
        "name": WORKLOAD,
        "image": _IMAGE,
        "command": ["sleep", "86400"],
        "envFrom": [{"configMapRef": {"name": WORKLOAD}}, {"secretRef": {"name": WORKLOAD}}],
    }
    pod = {
        "metadata": {"labels": {"app": WORKLOAD}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    deployment = {"replicas": 1, "selector": {"matchLabels": {"app": WORKLOAD}}, "template": pod}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    items = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"GREETING": "hello"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"PASSWORD": "s3cret"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
