"""What the workers' calls need of the API server, exactly. The chart and the command line render Roles from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bascule_api import names


class Scope(StrEnum):
    """Where a rule holds."""

    CLUSTER = "Cluster"
    NODES = "Nodes"
    """The whole cluster, where campaigns may patch its nodes."""
    OWN_NAMESPACE = "OwnNamespace"
    """The namespace that operator and workers run in."""
    STEPS_NAMESPACE = "StepsNamespace"
    """The steps namespace of each tenant."""
    VELERO_NAMESPACE = "VeleroNamespace"
    """Velero's namespace, where drills may restore by it."""
    TENANT_NAMESPACE = "TenantNamespace"
    """Each namespace that a tenant owns."""
    DRILLS = "Drills"
    """The whole cluster, where tenants may rehearse disasters."""
    DRILL_NAMESPACE = "DrillNamespace"
    """Each namespace of a drill: the ClusterRole `bascule-drill`, which the worker binds itself to there."""


@dataclass(frozen=True)
class PolicyRule:
    scope: Scope
    api_group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    only: tuple[str, ...] = ()
    """Names of the objects that the rule is about; none: all."""


_APPLIED = ("get", "list", "watch", "create", "patch", "delete")

RULES = (
    PolicyRule(
        Scope.CLUSTER, names.GROUP, ("tenants",), ("get", "list", "watch"), "whom to serve, and tenants' public keys"
    ),
    PolicyRule(
        Scope.NODES,
        "",
        ("nodes",),
        ("get", "list", "watch", "patch"),
        "nodes are marked and cordoned; a policy says which, and what of them",
    ),
    PolicyRule(Scope.NODES, "", ("pods",), ("list", "watch"), "what runs on a node that is drained"),
    PolicyRule(Scope.NODES, "", ("pods/eviction",), ("create",), "pods leave a node as their budgets allow"),
    PolicyRule(
        Scope.OWN_NAMESPACE,
        "coordination.k8s.io",
        ("leases",),
        ("get", "create", "update"),
        "one publisher at a time; their names follow from repositories, so that a policy says which",
    ),
    PolicyRule(
        Scope.STEPS_NAMESPACE, "batch", ("jobs",), ("get", "list", "watch", "create", "delete"), "steps run as Jobs"
    ),
    PolicyRule(
        Scope.STEPS_NAMESPACE,
        "coordination.k8s.io",
        ("leases",),
        ("get", "list", "create", "delete"),
        "one campaign at a time per target",
    ),
    PolicyRule(Scope.STEPS_NAMESPACE, "", ("pods",), ("list", "watch"), "how a step's pod fares"),
    PolicyRule(Scope.STEPS_NAMESPACE, "", ("events",), ("list",), "why a Job's pods are refused"),
    PolicyRule(Scope.STEPS_NAMESPACE, "", ("pods/log",), ("get",), "the last lines of a failed step"),
    PolicyRule(
        Scope.STEPS_NAMESPACE,
        "",
        ("secrets", "configmaps"),
        ("get", "list", "create", "delete"),
        "what a run pinned, found by its label when the run is taken back",
    ),
    PolicyRule(Scope.VELERO_NAMESPACE, "velero.io", ("backups",), ("get", "list"), "what a drill may restore"),
    PolicyRule(
        Scope.VELERO_NAMESPACE,
        "velero.io",
        ("restores",),
        ("get", "list", "watch", "create", "delete"),
        "drills restore into their own namespaces; a policy says what of that",
    ),
    PolicyRule(
        Scope.TENANT_NAMESPACE,
        "",
        ("secrets", "configmaps"),
        ("get",),
        "what a resource names",
    ),
    PolicyRule(
        Scope.DRILLS,
        "",
        ("namespaces",),
        ("get", "list", "create", "delete"),
        "a drill has a namespace of its own; a policy says which are drills'",
    ),
    PolicyRule(
        Scope.DRILLS,
        "rbac.authorization.k8s.io",
        ("rolebindings",),
        ("create",),
        "in a drill's namespace the worker binds itself to bascule-drill; a policy lets it bind nothing else",
    ),
    PolicyRule(
        Scope.DRILLS,
        "rbac.authorization.k8s.io",
        ("clusterroles",),
        ("bind",),
        "it needs none of these rights itself to have them in a drill's namespace",
        only=("bascule-drill",),
    ),
    PolicyRule(Scope.DRILLS, "", ("persistentvolumes",), ("list",), "whether a drill's volumes are gone with it"),
    *(
        PolicyRule(Scope.DRILL_NAMESPACE, group, resources, _APPLIED, why)
        for group, resources, why in (
            (
                "",
                ("configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"),
                "what a drill's manifests may have, a CA, and for as long as the restore needs them its keys",
            ),
            ("apps", ("deployments", "statefulsets"), "what a drill's manifests may have"),
            ("batch", ("jobs",), "what a drill's manifests may have; canary, restore and probes"),
            ("policy", ("poddisruptionbudgets",), "what a drill's manifests may have"),
            ("networking.k8s.io", ("networkpolicies",), "a drill's isolation"),
            ("", ("limitranges", "resourcequotas"), "a drill's bounds"),
        )
    ),
    PolicyRule(Scope.DRILL_NAMESPACE, "apps", ("replicasets",), ("list",), "the teardown's proof"),
    PolicyRule(Scope.DRILL_NAMESPACE, "", ("pods",), ("list", "watch"), "how a drill's pods fare"),
    PolicyRule(Scope.DRILL_NAMESPACE, "", ("pods/log",), ("get",), "what a step said"),
    PolicyRule(Scope.DRILL_NAMESPACE, "", ("events",), ("list",), "why pods are refused"),
)
