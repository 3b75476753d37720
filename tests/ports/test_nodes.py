"""What `Nodes` promises, on the fake and on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from bascule_api import names
from bascule_api.selectors import LabelSelector, SelectorOperator, SelectorRequirement
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.kubernetes_nodes import KubernetesNodes
from bascule_workers.adapters.node_watch import NodeWatch
from bascule_workers.errors import TargetRefusedError, TargetTakenError
from bascule_workers.plans.nodes import PodOnNode
from bascule_workers.ports.nodes import Eviction, Nodes
from tests.support.fake_nodes import FakeNodes
from tests.support.node_subjects import CONTROL_PLANE, FakeFleet, RealFleet

RUN, OTHER = f"{uuid4()}.1", f"{uuid4()}.2"
PATIENCE = 60.0
Fleet = FakeFleet | RealFleet


@pytest.fixture(params=["fake", "real"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """The fake, and then what it stands for."""
    if request.param == "fake":
        yield FakeFleet(FakeNodes())
        return
    namespace: str = request.getfixturevalue("namespace")
    cluster = request.getfixturevalue("cluster")
    api = await ApiServer.connect(str(cluster.kubeconfig))
    watch = NodeWatch(api)
    try:
        yield RealFleet(KubernetesNodes(api, watch), api, cluster, namespace)
    finally:
        await watch.close()
        await api.close()


@pytest.fixture
async def within(fleet: Fleet) -> AsyncIterator[dict[str, str]]:
    """The label that only this test's nodes carry; they are removed at the end."""
    label = {"fleet": uuid4().hex[:8]}
    yield label
    for node in await fleet.port.select(LabelSelector(), label):
        await fleet.remove(node.name)


@pytest.fixture
async def node(fleet: Fleet, within: dict[str, str]) -> str:
    name = f"n-{uuid4().hex[:8]}"
    await fleet.node(name, within)
    await seen(fleet.port, name)
    return name


async def seen(nodes: Nodes, name: str) -> None:
    assert await nodes.until(name, lambda node: node is not None and node.ready, PATIENCE)


async def test_nodes_are_selected_within_the_tenants_labels_and_never_of_the_control_plane(
    fleet: Fleet, within: dict[str, str]
) -> None:
    web, db, cp = (f"{kind}-{uuid4().hex[:8]}" for kind in ("web", "db", "cp"))
    await fleet.node(db, within | {"role": "db", "old": "yes"})
    await fleet.node(web, within | {"role": "web"})
    await fleet.node(cp, within | {"role": "web", CONTROL_PLANE: ""})

    def requirement(operator: SelectorOperator, *values: str) -> LabelSelector:
        return LabelSelector(match_expressions=[SelectorRequirement(key="old", operator=operator, values=[*values])])

    async def selected(selector: LabelSelector) -> list[str]:
        return [node.name for node in await fleet.port.select(selector, within)]

    assert await selected(LabelSelector()) == sorted([db, web])
    assert await selected(LabelSelector(match_labels={"role": "web"})) == [web]
    assert await selected(requirement(SelectorOperator.EXISTS)) == [db]
    assert await selected(requirement(SelectorOperator.DOES_NOT_EXIST)) == [web]
    assert await selected(requirement(SelectorOperator.IN, "yes", "no")) == [db]
    assert await selected(requirement(SelectorOperator.NOT_IN, "yes")) == [web]
    assert await fleet.port.select(LabelSelector(), {}) == [], "a tenant without nodeSelector has no node"
    await fleet.remove(cp)


async def test_a_node_is_marked_and_cordoned_once_and_given_back_as_it_was(
    fleet: Fleet, node: str, within: dict[str, str]
) -> None:
    marked = await fleet.port.mark(node, RUN, "acme/web", within)
    again = await fleet.port.mark(node, RUN, "acme/web", within)

    assert marked is not None
    assert (marked.run, marked.cordoned_by, marked.unschedulable, marked.boot_id) == (RUN, RUN, True, "boot-1")
    assert marked.annotations == {names.ANNOTATION_RESOURCE: "acme/web"}
    assert again is not None
    assert again.version == marked.version, "nothing is written twice"
    assert [found.name for found in await fleet.port.marked(RUN)] == [node]

    assert await fleet.port.unmark(node, RUN)
    assert not await fleet.port.unmark(node, RUN)
    after = await fleet.port.fresh(node)
    assert after is not None
    assert (after.run, after.cordoned_by, after.unschedulable, after.annotations) == ("", "", False, {})
    assert await fleet.port.marked(RUN) == []


async def test_a_node_that_somebody_cordoned_before_stays_cordoned(
    fleet: Fleet, node: str, within: dict[str, str]
) -> None:
    await fleet.change(node, unschedulable=True)
    marked = await fleet.port.mark(node, RUN, "acme/web", within)
    assert marked is not None
    assert (marked.run, marked.cordoned_by) == (RUN, "")
    assert await fleet.port.unmark(node, RUN)
    after = await fleet.port.fresh(node)
    assert after is not None
    assert (after.run, after.unschedulable) == ("", True)


async def test_a_node_that_somebody_uncordoned_is_cordoned_again(
    fleet: Fleet, node: str, within: dict[str, str]
) -> None:
    await fleet.port.mark(node, RUN, "acme/web", within)
    await fleet.change(node, unschedulable=False)
    await fleet.port.until(node, lambda found: found is not None and not found.unschedulable, PATIENCE)
    marked = await fleet.port.mark(node, RUN, "acme/web", within)
    assert marked is not None
    assert marked.unschedulable


async def test_another_runs_node_is_neither_marked_nor_given_back(
    fleet: Fleet, node: str, within: dict[str, str]
) -> None:
    await fleet.port.mark(node, OTHER, "acme/other", within)
    with pytest.raises(TargetTakenError, match="acme/other"):
        await fleet.port.mark(node, RUN, "acme/web", within)
    assert not await fleet.port.unmark(node, RUN)
    after = await fleet.port.fresh(node)
    assert after is not None
    assert (after.run, after.unschedulable) == (OTHER, True)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param({CONTROL_PLANE: ""}, "belongs to the control plane", id="of the control plane"),
        pytest.param({"fleet": "elsewhere"}, "lacks the label fleet=", id="of another tenant"),
    ],
)
async def test_a_node_that_the_tenant_may_not_patch_is_refused(
    fleet: Fleet, within: dict[str, str], labels: dict[str, str], words: str
) -> None:
    name = f"n-{uuid4().hex[:8]}"
    await fleet.node(name, within | labels)
    with pytest.raises(TargetRefusedError, match=words):
        await fleet.port.mark(name, RUN, "acme/web", within)
    after = await fleet.port.fresh(name)
    await fleet.remove(name)
    assert after is not None
    assert (after.run, after.unschedulable) == ("", False)


@pytest.mark.parametrize("name", ["n-never-there", "..", "../namespaces/default", "a/b", "A", ""])
async def test_what_is_no_node_is_none(fleet: Fleet, name: str, within: dict[str, str]) -> None:
    assert await fleet.port.fresh(name) is None
    assert await fleet.port.mark(name, RUN, "acme/web", within) is None
    assert not await fleet.port.unmark(name, RUN)


async def test_news_of_a_node_are_waited_for(fleet: Fleet, node: str) -> None:
    waiting = asyncio.create_task(fleet.port.until(node, lambda n: n is not None and n.boot_id == "boot-2", PATIENCE))
    await asyncio.sleep(0.1)
    await fleet.change(node, boot_id="boot-2")
    found = await waiting
    assert found is not None
    assert found.boot_id == "boot-2"
    assert await fleet.port.until(node, lambda n: n is None, 0.1) is not None
    await fleet.remove(node)
    assert await fleet.port.until(node, lambda n: n is None, PATIENCE) is None


async def test_a_nodes_pods_are_seen_until_they_are_gone(fleet: Fleet, node: str) -> None:
    bare = await fleet.pod(node, "bare", labels={"app": "web"}, empty_dir=True)
    await fleet.pod(node, "over", finished=True)
    async with fleet.port.draining(node) as view:
        found = {pod.name: pod for pod in view.pods()}
        assert sorted(found) == ["bare", "over"]
        assert found["bare"].empty_dir
        assert (found["bare"].labels.get("app"), found["bare"].owner_kind) == ("web", "")
        assert (found["over"].finished, found["bare"].finished) == (True, False)
        await fleet.delete_pod(bare)
        async with asyncio.timeout(PATIENCE):
            while any(pod.name == "bare" for pod in view.pods()):
                await view.changed(1.0)


async def test_an_evicted_pod_goes_and_one_that_is_another_by_now_stays(fleet: Fleet, node: str) -> None:
    await fleet.pod(node, "web")
    async with fleet.port.draining(node) as view:
        [pod] = view.pods()
        stale = PodOnNode(pod.namespace, pod.name, "0f1e2d3c-0000-4000-8000-000000000000")
        assert (await fleet.port.evict(stale, None)).outcome == Eviction.GONE
        assert [one.uid for one in view.pods()] == [pod.uid]
        assert (await fleet.port.evict(pod, 0)).outcome == Eviction.ACCEPTED
        async with asyncio.timeout(PATIENCE):
            while view.pods():
                await view.changed(1.0)
    assert (await fleet.port.evict(pod, None)).outcome == Eviction.GONE


async def test_a_budget_blocks_and_says_which(fleet: Fleet, node: str) -> None:
    await fleet.guard(await fleet.pod(node, "web"))
    async with fleet.port.draining(node) as view:
        answer = await fleet.port.evict(view.pods()[0], None)
    assert answer.outcome == Eviction.BLOCKED
    assert "The disruption budget web needs 1 healthy pods and has 1 currently" in answer.reason


async def test_a_pod_of_two_budgets_is_blocked_and_not_a_fault_of_ours(fleet: Fleet, node: str) -> None:
    await fleet.guard_twice(await fleet.pod(node, "web"))
    async with fleet.port.draining(node) as view:
        answer = await fleet.port.evict(view.pods()[0], None)
    assert answer.outcome == Eviction.BLOCKED
    assert "more than one PodDisruptionBudget" in answer.reason
