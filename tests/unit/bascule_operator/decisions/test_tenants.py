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
    elder_rival,
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
    assert elder_rival(young, [old, young]) == old
    assert elder_rival(old, [old, young]) is None
    told = decide(young, old, True, MADE)
    assert isinstance(told, Tell)
    assert told.reason is Reason.TEMPORAL_NAMESPACE_TAKEN
