"""Manifests of a drill's environment for tests: a good one of each kind, and how to spoil it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

POD: Json = {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]}


def config_map(name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def secret(name: str = "password") -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": "s"}}


def service(name: str = "web", **spec: Any) -> Json:
    content = {"selector": {"app": name}, "ports": [{"port": 80}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": content}


def claim(name: str = "data", **spec: Any) -> Json:
    content = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}} | spec
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": content}


def account(name: str = "web") -> Json:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def template(name: str = "web", pod: Mapping[str, Any] | None = None) -> Json:
    return {"metadata": {"labels": {"app": name}}, "spec": copy.deepcopy(dict(pod or POD))}


def deployment(name: str = "web", pod: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    content = {"selector": {"matchLabels": {"app": name}}, "template": template(name, pod)} | spec
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": content}


def stateful_set(name: str = "db", pod: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    content = {
        "serviceName": name,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, pod),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim()["spec"]}],
    } | spec
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": content}


def job(name: str = "load", pod: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    content = {"template": {"spec": {"restartPolicy": "Never", **copy.deepcopy(dict(pod or POD))}}} | spec
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": content}


def budget(name: str = "web") -> Json:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


EVERY_KIND = [config_map(), secret(), service(), claim(), account(), deployment(), stateful_set(), job(), budget()]


def spoiled(manifest: Json, path: str, value: Any) -> Json:
    """The manifest with that value at a path such as `spec.template.spec.hostNetwork`; numbers are positions."""
    result = copy.deepcopy(manifest)
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    where: Any = result
    for part in way:
        where = where[part] if isinstance(part, int) else where.setdefault(part, {})
    where[last] = value
    return result


def files(*manifests: Json) -> dict[str, bytes]:
    """One file with these documents; JSON is YAML."""
    return {"app.yaml": "\n---\n".join(json.dumps(manifest) for manifest in manifests).encode()}
