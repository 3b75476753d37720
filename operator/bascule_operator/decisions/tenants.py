"""What a Tenant needs, and what its status says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bascule_api import names
from bascule_api.conditions import ConditionStatus, ConditionType, Reason
from bascule_api.tenants import Management, Tenant, TenantRuns, TenantStatus
from bascule_operator.decisions.conditions import Says, conditions, find
from bascule_operator.decisions.selectors import overlap
from bascule_operator.decisions.wording import stamp

SEARCH_ATTRIBUTES = {
    names.SEARCH_KIND: "Keyword",
    names.SEARCH_UID: "Keyword",
    names.SEARCH_PHASE: "Keyword",
    names.SEARCH_UPDATED_AT: "Datetime",
}


@dataclass(frozen=True)
class Bank:
    """The tenant's Temporal namespace as it was found. `exists` is None where Temporal did not answer."""

    exists: bool | None = None
    owner: str = ""
    retention_seconds: int = 0
    attributes: frozenset[str] = frozenset()
    silence: str = "does not answer"
    """What Temporal does instead of answering."""
    closed: str = ""
    """What Temporal does when it is asked with the tenant's own credentials; empty: it answers."""


@dataclass(frozen=True)
class Register:
    """Make the Temporal namespace."""


@dataclass(frozen=True)
class SetRetention:
    seconds: int


@dataclass(frozen=True)
class AddAttributes:
    missing: frozenset[str]


@dataclass(frozen=True)
class Tell:
    """Nothing to do: say how it stands."""

    status: ConditionStatus
    reason: Reason
    message: str
    again: float | None = None


TenantDecision = Register | SetRetention | AddAttributes | Tell


def taken(tenant: Tenant, tenants: Iterable[Tenant]) -> Tell | None:
    """What an older Tenant has already; None when this one is the oldest that wants it."""
    elders = [other for other in tenants if other.metadata.uid != tenant.metadata.uid and _age(other) < _age(tenant)]
    rival = min((other for other in elders if _temporal(other) == _temporal(tenant)), key=_age, default=None)
    if rival is not None:
        namespace = tenant.temporal_namespace
        message = f"the Tenant {rival.metadata.name} is older and has the Temporal namespace {namespace}, too"
        return Tell(ConditionStatus.FALSE, Reason.TEMPORAL_NAMESPACE_TAKEN, message)
    ours = tenant.spec.node_selector
    neighbour = min((other for other in elders if overlap(other.spec.node_selector, ours)), key=_age, default=None)
    if neighbour is not None:
        message = (
            f"the Tenant {neighbour.metadata.name} is older, and a node may be of both: its spec.nodeSelector is "
            f"{_labels(neighbour.spec.node_selector)}, this one's {_labels(ours)}; give both the same label with "
            "different values"
        )
        return Tell(ConditionStatus.FALSE, Reason.NODE_SELECTOR_OVERLAPS, message)
    return None


def _temporal(tenant: Tenant) -> tuple[str, str]:
    return (tenant.temporal_namespace, tenant.spec.temporal.address)


def _labels(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _age(tenant: Tenant) -> tuple[str, str]:
    return (stamp(tenant.metadata.creation_timestamp), tenant.metadata.name)


def decide(tenant: Tenant, already: Tell | None, steps_namespace: bool, bank: Bank) -> TenantDecision:
    """The next single step that makes a Tenant ready. `already`: what is taken."""
    not_ready = ConditionStatus.FALSE
    namespace = tenant.temporal_namespace
    if already is not None:
        return already
    if not steps_namespace:
        message = (
            f"the namespace {tenant.steps_namespace} for the tenant's steps is missing: "
            f"bascule tenant manifests {tenant.metadata.name} | kubectl apply -f -"
        )
        return Tell(not_ready, Reason.STEPS_NAMESPACE_MISSING, message, again=10.0)
    if bank.exists is None:
        message = f"Temporal {bank.silence}: nothing is known of the namespace {namespace}; tried again until it does"
        return Tell(not_ready, Reason.TEMPORAL_UNAVAILABLE, message)
    existing = tenant.spec.temporal.management is Management.EXISTING
    decision = _existing(namespace, bank) if existing else _managed(tenant, bank)
    if bank.closed and isinstance(decision, Tell) and decision.status is ConditionStatus.TRUE:
        message = f"with the tenant's own credentials Temporal {bank.closed}: see spec.temporal of the Tenant"
        return Tell(not_ready, Reason.TENANT_NOT_READY, message, again=30.0)
    return decision


def _managed(tenant: Tenant, bank: Bank) -> TenantDecision:
    namespace, name = tenant.temporal_namespace, tenant.metadata.name
    if not bank.exists:
        return Register()
    if bank.owner != name:
        owner = f"belongs to the Tenant {bank.owner}" if bank.owner else "was not made by Bascule"
        message = (
            f"the Temporal namespace {namespace} {owner}: choose another spec.temporal.namespace, "
            "or set spec.temporal.management to Existing to use it as it is"
        )
        return Tell(ConditionStatus.FALSE, Reason.TEMPORAL_NAMESPACE_TAKEN, message)
    if bank.retention_seconds != tenant.spec.temporal.retention.seconds:
        return SetRetention(tenant.spec.temporal.retention.seconds)
    if missing := SEARCH_ATTRIBUTES.keys() - bank.attributes:
        return AddAttributes(frozenset(missing))
    return _usable(namespace)


def _existing(namespace: str, bank: Bank) -> TenantDecision:
    commands = []
    if not bank.exists:
        commands.append(f"temporal operator namespace create --namespace {namespace} --retention 90d")
    commands += [
        f"temporal operator search-attribute create --namespace {namespace} --name {name} --type {kind}"
        for name, kind in SEARCH_ATTRIBUTES.items()
        if name not in bank.attributes
    ]
    if not commands:
        return _usable(namespace)
    message = f"spec.temporal.management is Existing, and this is missing: {'; '.join(commands)}"
    return Tell(ConditionStatus.FALSE, Reason.TENANT_NOT_READY, message, again=10.0)


def _usable(namespace: str) -> Tell:
    message = f"the Temporal namespace {namespace} is registered and has its search attributes"
    return Tell(ConditionStatus.TRUE, Reason.NAMESPACE_REGISTERED, message)


def leaving(dependants: list[str]) -> Tell:
    """A Tenant that is being deleted while resources depend on it."""
    told = ", ".join(dependants[:5]) + (f" and {len(dependants) - 5} more" if len(dependants) > 5 else "")
    return Tell(ConditionStatus.FALSE, Reason.DELETING, f"nothing starts any more; {told} still depend on this Tenant")


def status(tenant: Tenant, tell: Tell, active: int, now: datetime) -> TenantStatus:
    """The complete status."""
    old = tenant.status or TenantStatus()
    ready = Says(ConditionType.READY, tell.status, tell.reason, tell.message)
    told = conditions(
        old.conditions,
        [ready],
        replaces=(ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED),
        generation=tenant.metadata.generation,
        now=now,
    )
    return TenantStatus(observed_generation=tenant.metadata.generation, conditions=told, runs=TenantRuns(active=active))


def serves(tenant: Tenant | None) -> bool:
    """Whether runs may start under this Tenant."""
    ready = find(tenant.status.conditions, ConditionType.READY) if tenant and tenant.status else None
    return ready is not None and ready.status is ConditionStatus.TRUE and tenant is not None and not _leaving(tenant)


def is_changed(tenant: Tenant) -> bool:
    """Whether its status speaks of an earlier spec."""
    return tenant.status is None or tenant.status.observed_generation != tenant.metadata.generation


def _leaving(tenant: Tenant) -> bool:
    return tenant.metadata.deletion_timestamp is not None
