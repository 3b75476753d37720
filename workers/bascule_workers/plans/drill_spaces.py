"""What the platform puts into a drill's namespace before anything of the tenant's comes into it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bascule_api import names
from bascule_api.dr_drill_specs import Isolation
from bascule_api.progress import RunIdentity
from bascule_workers.dr_drills import ProvisionRequest

CLUSTER_ROLE = "bascule-drill"
"""What the worker may do in a drill's namespace; it binds itself to it."""
WORKER = "bascule-worker"
_POD_SECURITY = "pod-security.kubernetes.io"
_DEFAULT_REQUESTS = {"cpu": "50m", "memory": "64Mi"}
_DEFAULT_LIMITS = {"cpu": "1", "memory": "512Mi"}
_NEVER = {"services.nodeports": "0", "services.loadbalancers": "0"}
_NODE_LOCAL_DNS = "169.254.20.10/32"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class SpaceSettings:
    """What the platform knows of itself."""

    worker_namespace: str
    """Where the worker's ServiceAccount is."""
    ca_config_map: str = ""
    """ConfigMap with the certificates that Jobs trust; empty: none."""


def run_label(run: RunIdentity) -> str:
    return names.run_label(run.uid, run.number)


def objects(request: ProvisionRequest, settings: SpaceSettings, ca_data: Mapping[str, str]) -> list[Manifest]:
    """The namespace, the worker's RoleBinding, then the rest. `ca_data`: of the CA's ConfigMap, where there is one."""
    return [_namespace(request), _binding(request, settings), *_furniture(request, settings, ca_data)]


def reserved_names(settings: SpaceSettings) -> list[str]:
    """Names of objects that manifests may not have, besides those that begin with `bascule-`."""
    return [settings.ca_config_map] if settings.ca_config_map else []


def labels(request: ProvisionRequest) -> dict[str, str]:
    """Of everything that is the run's."""
    return {
        "app.kubernetes.io/part-of": "bascule",
        names.LABEL_TENANT: request.tenant.name,
        names.LABEL_RUN: run_label(request.run),
        names.LABEL_KIND: request.run.kind,
    }


def _annotations(request: ProvisionRequest) -> dict[str, str]:
    run = request.run
    return {
        names.ANNOTATION_RUN: names.run_of(run.uid, run.number),
        names.ANNOTATION_RESOURCE: f"{run.namespace}/{run.name}",
    }


def _namespace(request: ProvisionRequest) -> Manifest:
    ours = {
        **labels(request),
        names.LABEL_DRILL_OF: request.tenant.name,
        f"{_POD_SECURITY}/enforce": "baseline",
        f"{_POD_SECURITY}/warn": "baseline",
    }
    # The platform's last: a tenant's labels never stand in for them.
    metadata = {
        "name": request.namespace,
        "labels": {**request.namespace_labels, **ours},
        "annotations": _annotations(request),
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _binding(request: ProvisionRequest, settings: SpaceSettings) -> Manifest:
    group = "rbac.authorization.k8s.io"
    return _object(
        request,
        f"{group}/v1",
        "RoleBinding",
        CLUSTER_ROLE,
        roleRef={"apiGroup": group, "kind": "ClusterRole", "name": CLUSTER_ROLE},
        subjects=[{"kind": "ServiceAccount", "name": WORKER, "namespace": settings.worker_namespace}],
    )


def _furniture(request: ProvisionRequest, settings: SpaceSettings, ca_data: Mapping[str, str]) -> Iterable[Manifest]:
    # Isolation first: nothing may run here before it holds.
    yield from _network_policies(request)
    yield _object(request, "v1", "ResourceQuota", "bascule-drill", spec={"hard": {**request.quota, **_NEVER}})
    yield _object(request, "v1", "LimitRange", "bascule-drill", spec={"limits": [_container_limits(request.quota)]})
    yield _object(request, "v1", "ServiceAccount", "default", automountServiceAccountToken=False)
    if settings.ca_config_map and ca_data:
        yield _object(request, "v1", "ConfigMap", settings.ca_config_map, data=dict(ca_data))


def _container_limits(quota: Mapping[str, str]) -> Manifest:
    """A quota refuses pods that do not say what it counts: those get a default."""
    limits = {name: value for name, value in _DEFAULT_LIMITS.items() if f"limits.{name}" in quota}
    result: Manifest = {"type": "Container", "defaultRequest": dict(_DEFAULT_REQUESTS)}
    return result | ({"default": limits} if limits else {})


def _network_policies(request: ProvisionRequest) -> Iterable[Manifest]:
    own: list[Manifest] = [{"podSelector": {}}]
    yield _policy(
        request, "bascule-ingress", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": own}]}
    )
    if request.isolation != Isolation.DENY_EGRESS:
        return
    yield _policy(
        request,
        "bascule-egress",
        {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": own}, _dns()]},
    )
    yield _policy(
        request,
        "bascule-restore",
        {
            "podSelector": {"matchLabels": {names.LABEL_EGRESS: names.EGRESS_RESTORE}},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    )


def _dns() -> Manifest:
    """The cluster's DNS: its pods, or its cache on each node."""
    system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    return {
        "to": [system, {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }


def _policy(request: ProvisionRequest, name: str, spec: Manifest) -> Manifest:
    return _object(request, "networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _object(request: ProvisionRequest, api_version: str, kind: str, name: str, **content: Any) -> Manifest:
    metadata = {
        "name": name,
        "namespace": request.namespace,
        "labels": labels(request),
        "annotations": _annotations(request),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
