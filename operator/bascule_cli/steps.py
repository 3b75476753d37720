"""A tenant's steps namespace and what the worker may do for the tenant, as Kubernetes objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bascule_api import names
from bascule_cli.generated_roles import STEPS_NAMESPACE_RULES, TENANT_NAMESPACE_RULES

Manifest = dict[str, Any]

WORKER = "bascule-worker"
CA_CONFIG_MAP = "bascule-ca"
CA_KEY = "ca-bundle.crt"

_QUOTA = {
    "pods": "100",
    "count/jobs.batch": "500",
    "count/secrets": "500",
    "count/configmaps": "500",
    # Nothing in a steps namespace serves or stores anything.
    "services": "0",
    "persistentvolumeclaims": "0",
}
_DEFAULT_REQUESTS = {"cpu": "50m", "memory": "64Mi"}


@dataclass(frozen=True)
class TenantGround:
    """What a platform team prepares for a tenant, besides the Tenant itself."""

    tenant: str
    namespaces: tuple[str, ...]
    steps_namespace: str
    service_account: str = "bascule-step"
    system_namespace: str = "bascule-system"
    ca_bundle: str = ""
    """PEM certificates that steps trust; empty: those of their images."""
    secrets: tuple[str, ...] = ()
    """The only Secrets of the tenant's namespaces that the worker may read; empty: any that it is pointed to."""
    config_maps: tuple[str, ...] = ()
    """The same for ConfigMaps."""
    patches_nodes: bool = False
    """Whether its campaigns patch nodes, by Procedures with the securityProfile `Host`."""

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/part-of": "bascule", names.LABEL_TENANT: self.tenant}


def manifests(ground: TenantGround) -> list[Manifest]:
    """Everything to apply, in an order in which it can be applied."""
    return [*_steps(ground), *(item for namespace in ground.namespaces for item in _tenant(ground, namespace))]


def _steps(ground: TenantGround) -> Iterable[Manifest]:
    namespace = ground.steps_namespace
    # What Pod Security cannot tell apart, the admission policy bascule-steps-host does: no other pod is privileged.
    level = "privileged" if ground.patches_nodes else "baseline"
    yield _object(
        ground,
        "v1",
        "Namespace",
        namespace,
        metadata_labels={
            names.LABEL_STEPS_OF: ground.tenant,
            "pod-security.kubernetes.io/enforce": level,
            "pod-security.kubernetes.io/warn": level,
        },
    )
    yield _object(ground, "v1", "ServiceAccount", ground.service_account, namespace, automountServiceAccountToken=False)
    yield from _grant(ground, namespace, STEPS_NAMESPACE_RULES)
    yield _object(ground, "v1", "ResourceQuota", "bascule-steps", namespace, spec={"hard": dict(_QUOTA)})
    limits = [{"type": "Container", "defaultRequest": dict(_DEFAULT_REQUESTS)}]
    yield _object(ground, "v1", "LimitRange", "bascule-steps", namespace, spec={"limits": limits})
    yield _object(
        ground,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "bascule-deny-ingress",
        namespace,
        spec={"podSelector": {}, "policyTypes": ["Ingress"]},
    )
    if ground.ca_bundle:
        yield _object(ground, "v1", "ConfigMap", CA_CONFIG_MAP, namespace, data={CA_KEY: ground.ca_bundle})


def _tenant(ground: TenantGround, namespace: str) -> Iterable[Manifest]:
    only = {"secrets": ground.secrets, "configmaps": ground.config_maps}
    rules = [
        rule | {"resourceNames": sorted(chosen)} if (chosen := only.get(rule["resources"][0])) else rule
        for rule in TENANT_NAMESPACE_RULES
    ]
    yield from _grant(ground, namespace, rules)


def _grant(ground: TenantGround, namespace: str, rules: Iterable[Manifest]) -> Iterable[Manifest]:
    group = "rbac.authorization.k8s.io"
    yield _object(ground, f"{group}/v1", "Role", WORKER, namespace, rules=[dict(rule) for rule in rules])
    yield _object(
        ground,
        f"{group}/v1",
        "RoleBinding",
        WORKER,
        namespace,
        roleRef={"apiGroup": group, "kind": "Role", "name": WORKER},
        subjects=[{"kind": "ServiceAccount", "name": WORKER, "namespace": ground.system_namespace}],
    )


def _object(
    ground: TenantGround,
    api_version: str,
    kind: str,
    name: str,
    namespace: str = "",
    metadata_labels: dict[str, str] | None = None,
    **content: Any,
) -> Manifest:
    metadata: Manifest = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = ground.labels | (metadata_labels or {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
