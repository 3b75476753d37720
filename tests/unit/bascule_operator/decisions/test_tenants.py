"""What a Tenant needs, one step at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bascule_api.conditions import Reason
from bascule_api.tenants import Tenant
from bascule_operator.decisions.tenants import (
    SEARCH_ATTRIBUTES,
    AddAttributes,
    Bank,
    Register,
    SetRetention,
    Tell,
    TenantDecision,
    decide,
    taken,
)
from tests.support.subjects import NOW

ALL = frozenset(SEARCH_ATTRIBUTES)
DAYS_90 = 90 * 86_400
MADE = Bank(True, "acme", DAYS_90, ALL)


def a_tenant(name: str = "acme", age: int = 0, **temporal: Any) -> Tenant:
    created = (NOW - timedelta(days=age)).isoformat()
    return Tenant.parse(
        {
            "metadata": {"name": name, "uid": name, "creationTimestamp": created},
            "spec": {"namespaces": ["acme-dev"], "temporal": temporal},
        }
    )


EXISTING = a_tenant(management="Existing")
STEPS = [
    pytest.param(a_tenant(), Bank(exists=False), Register(), id="no namespace yet"),
    pytest.param(a_tenant(), Bank(True, "acme", 86_400, ALL), SetRetention(DAYS_90), id="another retention"),
    pytest.param(
        a_tenant(),
        Bank(True, "acme", DAYS_90, ALL - {"BasculeUid"}),
        AddAttributes(frozenset({"BasculeUid"})),
        id="lacks",
    ),
]


@pytest.mark.parametrize(("tenant", "bank", "expected"), STEPS)
def test_steps(tenant: Tenant, bank: Bank, expected: TenantDecision) -> None:
    assert decide(tenant, None, True, bank) == expected


WORDS = [
    pytest.param(a_tenant(), MADE, Reason.NAMESPACE_REGISTERED, "is registered", id="ready"),
    pytest.param(
        a_tenant(),
        Bank(True, "other", DAYS_90, ALL),
        Reason.TEMPORAL_NAMESPACE_TAKEN,
        "the Tenant other",
        id="of another",
    ),
    pytest.param(
        a_tenant(), Bank(True, "", DAYS_90, ALL), Reason.TEMPORAL_NAMESPACE_TAKEN, "not made by Bascule", id="of nobody"
    ),
    pytest.param(a_tenant(), Bank(), Reason.TEMPORAL_UNAVAILABLE, "does not answer", id="Temporal away"),
    pytest.param(EXISTING, Bank(True, "", 1, ALL), Reason.NAMESPACE_REGISTERED, "is registered", id="existing"),
    pytest.param(
        EXISTING,
        Bank(exists=False),
        Reason.TENANT_NOT_READY,
        "temporal operator namespace create --namespace acme --retention 90d",
        id="existing, but missing: the commands",
    ),
    pytest.param(
        EXISTING,
        Bank(True, "", 1, ALL - {"BasculeUpdatedAt"}),
        Reason.TENANT_NOT_READY,
        "search-attribute create --namespace acme --name BasculeUpdatedAt --type Datetime",
        id="existing, but incomplete: the commands",
    ),
]


@pytest.mark.parametrize(("tenant", "bank", "reason", "words"), WORDS)
def test_words(tenant: Tenant, bank: Bank, reason: Reason, words: str) -> None:
    told = decide(tenant, None, True, bank)
    assert isinstance(told, Tell)
    assert told.reason is reason
    assert words in told.message


def test_a_missing_steps_namespace_is_said_with_the_command() -> None:
    told = decide(a_tenant(), None, False, MADE)
    assert isinstance(told, Tell)
    assert told.reason is Reason.STEPS_NAMESPACE_MISSING
    assert "bascule tenant manifests acme | kubectl apply -f -" in told.message


def test_of_two_tenants_with_one_temporal_namespace_the_younger_is_not_ready() -> None:
    old, young = a_tenant("old", 2, namespace="shared"), a_tenant("young", 1, namespace="shared")
    assert taken(old, [old, young]) is None
    told = decide(young, taken(young, [old, young]), True, MADE)
    assert isinstance(told, Tell)
    assert told.reason is Reason.TEMPORAL_NAMESPACE_TAKEN


def with_nodes(tenant: Tenant, **labels: str) -> Tenant:
    return tenant.model_copy(update={"spec": tenant.spec.model_copy(update={"node_selector": labels})})


OVERLAPS = [
    pytest.param({"pool": "web"}, {"pool": "web"}, True, id="the same label"),
    pytest.param({"pool": "web"}, {"zone": "a"}, True, id="labels that a node may have both"),
    pytest.param({"pool": "web"}, {"pool": "web", "zone": "a"}, True, id="one within the other"),
    pytest.param({"pool": "web"}, {"pool": "db", "zone": "a"}, False, id="a label tells them apart"),
    pytest.param({}, {"pool": "web"}, False, id="the elder may patch none"),
    pytest.param({"pool": "web"}, {}, False, id="the younger may patch none"),
]


@pytest.mark.parametrize(("elder", "younger", "overlap"), OVERLAPS)
def test_of_two_tenants_whose_nodes_may_be_the_same_the_younger_is_not_ready(
    elder: dict[str, str], younger: dict[str, str], overlap: bool
) -> None:
    old = with_nodes(a_tenant("old", 2, namespace="one"), **elder)
    young = with_nodes(a_tenant("young", 1, namespace="two"), **younger)
    assert taken(old, [old, young]) is None
    told = taken(young, [old, young])
    assert (told is not None) is overlap
    if told is not None:
        assert told.reason is Reason.NODE_SELECTOR_OVERLAPS
        assert "the Tenant old is older" in told.message
