"""A campaign at real nodes, and whatever dies in each of its phases: each node is patched once, and none stays held."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from hack.cluster.addresses import NODES
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support import faults
from tests.support.live_campaigns import (
    CHECKED,
    UNPACED,
    Campaign,
    CampaignBuilder,
    counts,
    held_leases,
    held_nodes,
    owning_nodes,
)
from tests.support.patching import Workloads

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]
FIRST, SECOND = NODES
HELD = {"holdAt": f"{FIRST},{SECOND}"}
"""A phase lasts until the test has seen it, and done its worst."""
AWAY_SECONDS = 15


@pytest.fixture
def campaign(bascule: Cluster, tenant: TenantHandle) -> Iterator[Callable[[str], CampaignBuilder]]:
    with owning_nodes(bascule, tenant) as made:
        yield made


@pytest.fixture
def workloads(bascule: Cluster) -> Iterator[Workloads]:
    namespace = f"apps-{uuid4().hex[:8]}"
    bascule.kubectl("create", "namespace", namespace)
    yield Workloads(bascule, namespace)
    bascule.kubectl("delete", "namespace", namespace, "--wait=false")


def _killed(component: str) -> Callable[[Cluster], None]:
    def trouble(cluster: Cluster) -> None:
        assert faults.sigkill(cluster, component) > 0

    return trouble


def _away(component: str) -> Callable[[Cluster], None]:
    def trouble(cluster: Cluster) -> None:
        cluster.kill(component)
        time.sleep(AWAY_SECONDS)
        cluster.start(component)

    return trouble


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(_killed("operator"), id="the operator is killed"),
        pytest.param(_killed("worker"), id="the worker is killed"),
        pytest.param(_away("apiserver"), id="the API server is killed and away for a while"),
        pytest.param(_away("temporal"), id="Temporal is killed and away for a while"),
    ],
)
def test_whatever_dies_in_each_phase_every_node_is_patched_once_and_given_back(
    campaign: Callable[[str], CampaignBuilder],
    workloads: Workloads,
    bascule: Cluster,
    tenant: TenantHandle,
    trouble: Callable[[Cluster], None],
) -> None:
    """While the first node is drained, patched and verified, and the second patched, which fails, and rolled back."""
    workloads.deployment("web", FIRST)
    workloads.budget("web", min_available=1)
    made = _planned(campaign("dying"), workloads).apply()

    made.until_at_work("Draining")
    trouble(bascule)
    assert held_nodes(bascule)[FIRST]["unschedulable"]
    workloads.no_budget("web")
    # By their pods: a batch of one target tells the status of its first phases only, and of its end.
    for node, use in ((FIRST, "patch"), (FIRST, "verify"), (SECOND, "patch"), (SECOND, "rollback")):
        faults.until_running(bascule, tenant.steps_namespace, f"-{use}-{node}-")
        trouble(bascule)
        faults.let_go(bascule, tenant.steps_namespace)

    _came_out_right(made, tenant)


def _planned(made: CampaignBuilder, workloads: Workloads) -> CampaignBuilder:
    # Operator and worker may well be on a node of the campaign: they die by other means here.
    chosen = {"matchLabels": {"test": workloads.namespace}}
    return (
        made.with_spec(
            drain={"enabled": True, "timeout": "10m", "podSelector": chosen},
            rollback={"procedure": UNPACED, "parameters": HELD},
            verify={"procedure": CHECKED, "parameters": HELD},
        )
        .paced(failAt=SECOND, **HELD)
        .beginning_at(FIRST)
    )


def _came_out_right(made: Campaign, tenant: TenantHandle) -> None:
    body, cluster = made.until_phase("Failed"), made.cluster
    status = body["status"]
    assert counts(body) == {"total": 2, "patched": 1, "failed": 1}
    assert (status["failure"]["type"], status["run"]["number"]) == ("TooManyFailures", 1)
    [failed] = status["targets"]["failures"]
    assert (failed["name"], failed["phase"], failed["rolledBack"]) == (SECOND, "Patching", True)
    # The campaign halts: what failed was rolled back by itself, and nothing else had to be.
    assert status["compensation"]["state"] == "NothingToDo"
    assert held_nodes(cluster) == {}
    assert held_leases(cluster, tenant) == []
    jobs = Counter(faults.jobs_created(cluster, tenant.steps_namespace))
    # Patch and verification of the one, patch and rollback of the other.
    assert (len(jobs), set(jobs.values())) == (4, {1}), jobs
    made.delete()
    made.until_gone()
