"""What the operator's calls need of the API server, exactly. The chart renders its roles from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bascule_api import names

LEASE = "bascule-operator"
"""The Lease that the leader holds, in the operator's namespace."""


class Scope(StrEnum):
    """Where a rule holds."""

    CLUSTER = "Cluster"
    OWN_NAMESPACE = "OwnNamespace"
    """The namespace that the operator runs in."""


@dataclass(frozen=True)
class PolicyRule:
    scope: Scope
    api_group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    only: tuple[str, ...] = ()
    """Names of the objects that the rule is about; none: all."""


RULES = (
    PolicyRule(
        Scope.CLUSTER,
        names.GROUP,
        ("imagebuilds", "patchcampaigns", "drdrills", "tenants"),
        ("get", "list", "watch", "patch"),
        "the resources; patching puts our finalizer on and takes it off",
    ),
    PolicyRule(
        Scope.CLUSTER,
        names.GROUP,
        ("imagebuilds/status", "patchcampaigns/status", "drdrills/status", "tenants/status"),
        ("patch",),
        "their status",
    ),
    PolicyRule(
        Scope.CLUSTER,
        names.GROUP,
        ("approvals",),
        ("get", "list", "watch", "patch"),
        "people's decisions; patching lets them go with their resource",
    ),
    PolicyRule(Scope.CLUSTER, names.GROUP, ("approvals/status",), ("patch",), "what became of them"),
    PolicyRule(Scope.CLUSTER, names.GROUP, ("procedures",), ("get", "list", "watch"), "what steps may name"),
    PolicyRule(Scope.CLUSTER, "", ("namespaces",), ("get",), "whether a tenant's steps namespace is there"),
    PolicyRule(Scope.OWN_NAMESPACE, "coordination.k8s.io", ("leases",), ("create",), "one leader at a time"),
    PolicyRule(
        Scope.OWN_NAMESPACE, "coordination.k8s.io", ("leases",), ("get", "update"), "and no other Lease", only=(LEASE,)
    ),
    PolicyRule(Scope.CLUSTER, "events.k8s.io", ("events",), ("create", "patch"), "Events on what happens to resources"),
)
