"""Pure planning of a PatchCampaign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_api.patch_campaign_specs import BATCH_LIMIT
from bascule_workers.messages import SecretUse
from bascule_workers.plans import patch_campaigns as plans
from tests.support.campaigns import campaign


def test_steps_are_the_plan_and_the_waves() -> None:
    waves = [{"name": "canary", "size": 1}, {"name": "fleet"}]
    assert plans.steps(campaign(waves=waves)) == ["plan", "wave-canary", "wave-fleet"]
    assert plans.steps(campaign(waves=waves, mode="Plan")) == ["plan"]


def test_the_plan_that_is_shown_is_the_one_that_is_carried_out() -> None:
    waves = [{"name": "canary", "size": 1}, {"name": "fleet"}]
    shown, applied = (plans.plan_request(campaign(waves=waves, mode=mode)) for mode in ("Plan", "Apply"))
    another = plans.plan_request(campaign(waves=[{"name": "fleet"}]))

    assert shown.order == applied.order
    assert another.order != applied.order


def test_every_secret_is_pinned_with_the_hosts_that_it_goes_to() -> None:
    gates = [
        {"name": "plain", "http": {"url": "http://example.com"}},
        {"name": "http", "http": {"url": "https://example.com:8443/x?y=z", "secretRef": {"name": "token"}}},
        {
            "name": "errors",
            "prometheus": {"address": "http://prometheus:9090", "query": "up", "secretRef": {"name": "prometheus"}},
            "successCondition": "result > 0",
        },
    ]
    targets = {"inventory": {"configMap": {"name": "hosts"}, "secretRef": {"name": "key"}}}

    assert plans.secret_uses(campaign(gates=gates, targets=targets).spec) == [
        SecretUse(field="spec.targets.inventory.secretRef", name="key", use="ssh"),
        SecretUse(field="spec.gates[1].http", name="token", use="http", hosts=["example.com:8443"]),
        SecretUse(field="spec.gates[2].prometheus", name="prometheus", use="http", hosts=["prometheus:9090"]),
    ]


@given(st.integers(1, 5_000))
def test_a_batch_is_whole_rounds_of_its_share(free: int) -> None:
    share = plans.share_of_batch(free, free)
    size = plans.batch_size(share)

    assert 1 <= share <= min(free, BATCH_LIMIT)
    assert share <= size <= BATCH_LIMIT
    assert size % share == 0


@pytest.mark.parametrize(
    ("free", "wanted", "share"),
    [
        pytest.param(1, 1, 1, id="one at a time"),
        pytest.param(3, 10, 0, id="a few of many wait for more"),
        pytest.param(5, 10, 5, id="half of them is enough"),
        pytest.param(25, 500, 25, id="half a batch is enough"),
        pytest.param(500, 500, 50, id="no more than a batch holds"),
        pytest.param(0, 1, 0, id="none is free"),
    ],
)
def test_a_batch_begins_when_enough_are_free(free: int, wanted: int, share: int) -> None:
    assert plans.share_of_batch(free, wanted) == share


@pytest.mark.parametrize(
    ("share", "total", "allowed"), [(0, 40, 0), (3, 40, 3), ("10%", 45, 5), ("0%", 40, 0), ("100%", 40, 40)]
)
def test_so_many_targets_may_fail(share: int | str, total: int, allowed: int) -> None:
    spec = campaign(failurePolicy={"maxFailures": share}).spec
    assert plans.allowed_failures(spec, total) == allowed


def test_a_batch_gets_what_it_needs_of_the_campaign() -> None:
    given = campaign(
        gates=[{"name": "g", "http": {"url": "http://example.com"}}], waves=[{"name": "a", "size": 1}, {"name": "b"}]
    )
    slim = plans.batch_input_campaign(given)

    assert set(slim.procedures) == {"patch", "rollback", "reboot"}
    assert (slim.spec.gates, slim.spec.windows, len(slim.spec.waves)) == ([], [], 1)
    assert slim.spec.patch == given.spec.patch


def test_many_batches_report_less_often_each() -> None:
    assert plans.reports_of_batch(3) == 1_000
    assert plans.reports_of_batch(5_000) == 10


def test_a_small_batch_may_tell_each_phase_besides_and_a_large_one_may_not() -> None:
    reports = plans.reports_of_batch(3)
    assert [plans.reports_so_far(1, reports, 0, phases) for phases in range(3)] == [2, 4, 6]
    assert plans.reports_so_far(plans.SMALL_BATCH, reports, 0, 9) == 20
    assert plans.reports_so_far(plans.SMALL_BATCH + 1, reports, 0, 9) == 2


def test_what_a_batch_may_report_grows_with_the_targets_that_are_over() -> None:
    assert [plans.reports_so_far(50, 10, over, 600) for over in (0, 25, 50)] == [2, 7, 12]
