"""Activities at targets on the real nodes: real pods, real budgets, real reboots, the worker's own rights."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule_workers.errors import (
    DrainBlockedError,
    JobLostError,
    StepFailedError,
    TargetGoneError,
    TargetRefusedError,
)
from bascule_workers.messages import Done, NotYet
from hack import installation
from hack.cluster.addresses import NODES
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.patching import (
    PATIENCE_SECONDS,
    Campaign,
    WorkerProcess,
    Workloads,
    api_requests,
    host_script,
    worker_kubeconfig,
)

# Nodes are cordoned and rebooted: one test at a time.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

NODE, OTHER = NODES
FLEET = "bascule.example.com/tenant"
"""The label by which tests give nodes to tenants: with another one, two Tenants could have the same node."""
Make = Callable[..., Campaign]


@pytest.fixture(scope="module")
def fleet(bascule: Cluster) -> Iterator[TenantHandle]:
    """A tenant that may patch the first node and no other."""
    name = f"fleet-{secrets.token_hex(4)}"
    bascule.kubectl("label", "node", NODE, f"{FLEET}={name}", "--overwrite")
    yield installation.make_tenant(bascule, name, node_selector={FLEET: name})
    bascule.kubectl("label", "node", NODE, f"{FLEET}-")
    bascule.kubectl("delete", "tenant", name, "--wait=false")
    bascule.kubectl("delete", "namespace", f"{name}-dev", f"bascule-steps-{name}", "--wait=false")


@pytest.fixture(scope="module")
def kubeconfig(bascule: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worker_kubeconfig(bascule, tmp_path_factory.mktemp("worker"))


@pytest.fixture
async def worker(bascule: Cluster, kubeconfig: Path) -> AsyncIterator[WorkerProcess]:
    made = await WorkerProcess.start(kubeconfig, bascule)
    yield made
    await made.stop()


@pytest.fixture
async def make(bascule: Cluster, fleet: TenantHandle, worker: WorkerProcess) -> AsyncIterator[Make]:
    """Campaigns about a target; afterwards no node may be marked or cordoned by one."""
    made: list[Campaign] = []

    def campaign(target: str = NODE, **fields: Any) -> Campaign:
        made.append(Campaign(fleet, target, {FLEET: fleet.name}, **fields))
        return made[-1]

    yield campaign
    for one in made:
        await one.released(worker)
    for node in NODES:
        if facts(bascule, node):
            assert facts(bascule, node)["marks"] == {}
            bascule.kubectl("uncordon", node)


@pytest.fixture
def workloads(bascule: Cluster) -> Iterator[Workloads]:
    namespace = f"apps-{secrets.token_hex(4)}"
    bascule.kubectl("create", "namespace", namespace)
    yield Workloads(bascule, namespace)
    bascule.kubectl("delete", "namespace", namespace, "--wait=false")


def facts(cluster: Cluster, node: str) -> dict[str, Any]:
    """Marks, whether it is cordoned, boot id; nothing where there is no such node."""
    text = cluster.kubectl("get", "node", node, "-o", "json", "--ignore-not-found")
    if not text.strip():
        return {}
    body = json.loads(text)
    known = body["metadata"]["labels"] | (body["metadata"].get("annotations") or {})
    marks = ("bascule.dev/run", "bascule.dev/cordoned-by", "bascule.dev/resource")
    return {
        "marks": {key: known[key] for key in marks if key in known},
        "cordoned": body["spec"].get("unschedulable", False),
        "boot": body["status"]["nodeInfo"]["bootID"],
    }


def only(workloads: Workloads) -> dict[str, Any]:
    """Drain nothing but the test's own pods: the platform's run on these nodes too."""
    return {"pod_selector": {"match_labels": {"test": workloads.namespace}}}


async def test_a_node_is_cordoned_drained_patched_and_given_back(
    bascule: Cluster, worker: WorkerProcess, make: Make, workloads: Workloads
) -> None:
    workloads.deployment("web", NODE, replicas=2, empty_dir=True)
    workloads.daemon_set("agent")
    campaign = make()

    acquired = await campaign.acquired(worker)

    during = facts(bascule, NODE)
    assert (acquired.cordoned, acquired.boot_id) == (True, during["boot"])
    assert during["cordoned"]
    assert during["marks"] == {
        "bascule.dev/run": campaign.run,
        "bascule.dev/cordoned-by": campaign.run,
        "bascule.dev/resource": f"{campaign.tenant.namespace}/web-nodes",
    }
    await campaign.drained(worker, delete_empty_dir_data=True, grace_period="1s", **only(workloads))
    assert workloads.on(NODE) == ["agent"]
    mark = f"/var/tmp/{secrets.token_hex(4)}"
    report = '{"results": {"rebootRequired": "false"}, "message": "done"}'
    script = f"echo $BASCULE_TARGET > /host{mark}; echo '{report}' > /dev/termination-log"
    done = await campaign.carried_out(worker, host_script(script, **busybox(bascule)))
    assert done.results == {"rebootRequired": "false"}
    assert bascule.on_node(NODE, ["cat", mark]).stdout.strip() == NODE
    await campaign.ready(worker)
    left = await campaign.released(worker)
    assert (left.items, left.found) == ([], 2)
    assert {**facts(bascule, NODE), "boot": ""} == {"marks": {}, "cordoned": False, "boot": ""}
    jobs = json.loads(bascule.kubectl("get", "jobs", "-n", campaign.tenant.steps_namespace, "-o", "json"))["items"]
    assert jobs == []


def busybox(cluster: Cluster, **spec: Any) -> dict[str, Any]:
    return {"template": {"container": {"image": cluster.images["busybox"]}}} | spec


async def test_a_budget_blocks_the_drain_until_it_does_not(
    bascule: Cluster, worker: WorkerProcess, make: Make, workloads: Workloads
) -> None:
    workloads.deployment("web", NODE)
    workloads.budget("web", min_available=1)
    campaign = make()
    await campaign.acquired(worker)

    first = await campaign.drain_once(worker, **only(workloads))

    assert isinstance(first, NotYet)
    assert first.waits_for == "Disruption"
    assert first.subject.startswith(f"{workloads.namespace}/web-")
    assert "may not be evicted since 20" in first.reason
    assert "The disruption budget web needs 1 healthy pods and has 1 currently" in first.reason
    assert workloads.on(NODE) == ["web"]
    waiting = asyncio.create_task(campaign.drain_once(worker, note=first.reason, **only(workloads)))
    await asyncio.sleep(1)
    assert not waiting.done(), "what is told is not told again"
    workloads.no_budget("web")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert isinstance(await waiting, Done)
    assert workloads.on(NODE) == []


async def test_a_drain_that_takes_too_long_says_what_stood_in_the_way(
    bascule: Cluster, worker: WorkerProcess, make: Make, workloads: Workloads
) -> None:
    workloads.deployment("web", NODE)
    workloads.budget("web", min_available=1)
    campaign = make()
    await campaign.acquired(worker)
    with pytest.raises(
        DrainBlockedError, match=r"not drained within 1s: .*web-.*may not be evicted since .*budget web"
    ):
        await campaign.drain_once(worker, since=1, timeout="1s", **only(workloads))


@pytest.mark.parametrize(
    ("pod", "allowed", "words"),
    [
        pytest.param({}, {"force": True}, "has no controller that would bring it back", id="bare"),
        pytest.param(
            {"empty_dir": True},
            {"force": True, "delete_empty_dir_data": True},
            "has an emptyDir volume, whose data would be lost",
            id="with an emptyDir",
        ),
    ],
)
async def test_pods_that_would_be_lost_are_evicted_only_where_the_policy_says_so(
    bascule: Cluster,
    worker: WorkerProcess,
    make: Make,
    workloads: Workloads,
    pod: dict[str, Any],
    allowed: dict[str, Any],
    words: str,
) -> None:
    workloads.bare("lonely", NODE, **pod)
    campaign = make()
    await campaign.acquired(worker)
    with pytest.raises(DrainBlockedError, match=f"{workloads.namespace}/lonely {words}"):
        await campaign.drain_once(worker, **only(workloads))
    assert workloads.on(NODE) == ["lonely"]
    await campaign.drained(worker, **allowed, **only(workloads))
    assert workloads.on(NODE) == []


async def test_a_pod_whose_node_never_says_that_it_ended_is_named(
    bascule: Cluster, worker: WorkerProcess, make: Make, workloads: Workloads
) -> None:
    workloads.deployment("web", NODE)
    campaign = make()
    await campaign.acquired(worker)
    await asyncio.to_thread(bascule.stop, NODE)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await campaign.drain_once(worker, timeout="1h", **only(workloads))
        assert isinstance(answer, NotYet)
        assert answer.subject.startswith(f"{workloads.namespace}/web-")
        assert "should have ended since 20" in answer.reason
        released = await campaign.released(worker)
        assert released.found == 2, "a node that does not answer is given back all the same"
        assert not facts(bascule, NODE)["cordoned"]
    finally:
        await asyncio.to_thread(bascule.start, NODE)


async def test_a_node_that_a_person_cordoned_stays_cordoned(
    bascule: Cluster, worker: WorkerProcess, make: Make
) -> None:
    bascule.kubectl("cordon", NODE)
    campaign = make()
    acquired = await campaign.acquired(worker)
    assert not acquired.cordoned
    await campaign.released(worker)
    assert {**facts(bascule, NODE), "boot": ""} == {"marks": {}, "cordoned": True, "boot": ""}


async def test_a_second_campaign_waits_and_says_for_whom(worker: WorkerProcess, make: Make) -> None:
    first, second = make(), make(name="other")
    await first.acquired(worker)
    answer = await worker.activities.acquire(second.acquire_request())
    assert isinstance(answer, NotYet)
    assert (answer.waits_for, answer.subject) == ("Lease", f"{first.tenant.namespace}/web-nodes")
    await second.released(worker)
    await first.acquired(worker)
    await first.released(worker)
    await second.acquired(worker)


@pytest.mark.parametrize(
    ("target", "selector"),
    [pytest.param(OTHER, None, id="another tenant's node"), pytest.param(NODE, {}, id="a tenant that has no nodes")],
)
async def test_nodes_of_others_are_refused_at_every_step(
    bascule: Cluster, worker: WorkerProcess, make: Make, target: str, selector: dict[str, str] | None
) -> None:
    campaign = make(target)
    if selector is not None:
        campaign.selector = selector
    script = host_script("true", **busybox(bascule))
    with pytest.raises(TargetRefusedError):
        await campaign.acquired(worker)
    with pytest.raises(TargetRefusedError):
        await campaign.drain_once(worker)
    with pytest.raises(TargetRefusedError):
        await worker.activities.run_procedure(campaign.job_request(script))
    with pytest.raises(TargetRefusedError):
        await campaign.ready(worker)
    assert not facts(bascule, target)["cordoned"]
    assert await worker.leases.held(campaign.tenant.steps_namespace, campaign.run) == []


async def test_a_target_that_is_no_node_is_gone(worker: WorkerProcess, make: Make) -> None:
    with pytest.raises(TargetGoneError):
        await make("node-never-there").acquired(worker)


async def test_a_procedure_runs_on_a_cordoned_node_that_is_not_ready_and_its_end_is_seen(
    bascule: Cluster, worker: WorkerProcess, make: Make
) -> None:
    """The node goes off while the Procedure runs: no plain loss, and the campaign waits until it is back."""
    campaign = make()
    acquired = await campaign.acquired(worker)
    script = host_script("sleep 3600", **busybox(bascule))
    request = campaign.job_request(script, boot_id=acquired.boot_id)
    running = asyncio.create_task(worker.activities.run_procedure(request))
    await until_running(bascule, campaign)

    await asyncio.to_thread(bascule.stop, NODE)
    await worker.nodes.until(NODE, lambda node: node is not None and not node.ready, PATIENCE_SECONDS)
    await asyncio.to_thread(bascule.start, NODE)

    with pytest.raises(
        JobLostError, match="was rebooted while the Procedure ran, which is therefore carried out again"
    ):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended(running, worker, campaign, script, acquired.boot_id)
    done = await campaign.carried_out(worker, host_script("true", **busybox(bascule)), job_attempt=2)
    assert done.results == {}


async def ended(running: Any, worker: WorkerProcess, campaign: Campaign, script: Any, boot_id: str) -> None:
    answer = await running
    while isinstance(answer, NotYet):
        request = campaign.job_request(script, boot_id=boot_id, note=answer.reason)
        answer = await worker.activities.run_procedure(request)


async def until_running(cluster: Cluster, campaign: Campaign) -> None:
    for _ in range(600):
        pods = await asyncio.to_thread(
            cluster.kubectl, "get", "pods", "-n", campaign.tenant.steps_namespace, "-o", "json"
        )
        if any(
            "running" in (status.get("state") or {})
            for item in json.loads(pods)["items"]
            for status in item["status"].get("containerStatuses") or []
        ):
            return
        await asyncio.sleep(0.3)
    raise AssertionError("the Procedure's container does not start")


# By its path: busybox has a `reboot` of its own, which would end the node's first process instead of asking it.
REBOOT = "nsenter --target 1 --mount --uts --ipc --net -- /usr/sbin/reboot"


async def test_a_procedure_that_reboots_its_node_under_itself_is_carried_out_again_or_done(
    bascule: Cluster, worker: WorkerProcess, make: Make
) -> None:
    campaign = make()
    acquired = await campaign.acquired(worker)
    script = host_script(f"{REBOOT}; sleep 3600", **busybox(bascule))

    reboot = await campaign.carried_out(worker, script, use="reboot", boot_id=acquired.boot_id)

    assert reboot.results == {}, "a reboot that was asked for is done when the node is back"
    await campaign.rebooted(worker, acquired.boot_id)
    now = facts(bascule, NODE)["boot"]
    assert now != acquired.boot_id
    assert facts(bascule, NODE)["cordoned"], "a node keeps its cordon over a reboot"
    with pytest.raises(JobLostError, match="was rebooted while the Procedure ran"):
        await campaign.carried_out(worker, script, use="patch", boot_id=now)
    with pytest.raises(StepFailedError, match="let it report rebootRequired, end"):
        await campaign.carried_out(
            worker,
            host_script(f"{REBOOT}; sleep 3600", **busybox(bascule, retry={"attempts": 1})),
            use="again",
            boot_id=facts(bascule, NODE)["boot"],
        )


async def test_a_failure_of_the_procedures_own_is_no_reboot(
    bascule: Cluster, worker: WorkerProcess, make: Make
) -> None:
    campaign = make()
    acquired = await campaign.acquired(worker)
    script = host_script("echo disk full >&2; exit 3", **busybox(bascule))
    with pytest.raises(StepFailedError, match="disk full"):
        await campaign.carried_out(worker, script, boot_id=acquired.boot_id)


async def test_a_node_that_was_made_again_in_mid_patch_is_not_ours_any_more(
    bascule: Cluster, worker: WorkerProcess, make: Make
) -> None:
    campaign = make()
    acquired = await campaign.acquired(worker)
    label = f"{FLEET}={campaign.tenant.name}"
    bascule.kubectl("delete", "node", NODE)
    await worker.nodes.until(NODE, lambda node: node is None, PATIENCE_SECONDS)
    try:
        with pytest.raises(TargetGoneError, match="no longer there"):
            await campaign.ready(worker)
        assert (await campaign.released(worker)).found == 1, "the Lease goes, although the node is gone"
        await asyncio.to_thread(bascule.restart, NODE)
        # Its kubelet registers it when it gets round to it.
        await worker.nodes.until(NODE, lambda node: node is not None, PATIENCE_SECONDS)
        bascule.kubectl("label", "node", NODE, label, "--overwrite")
        await worker.nodes.until(NODE, lambda node: node is not None and FLEET in node.labels, PATIENCE_SECONDS)
        with pytest.raises(TargetGoneError, match="is another one than was acquired"):
            await campaign.rebooted(worker, acquired.boot_id)
        assert (await campaign.released(worker)).found == 0
        assert not facts(bascule, NODE)["cordoned"]
    finally:
        bascule.kubectl("wait", "node", NODE, "--for=condition=Ready", "--timeout=180s")
        bascule.kubectl("label", "node", NODE, label, "--overwrite")


async def test_what_one_target_costs_the_api_server(bascule: Cluster, worker: WorkerProcess, make: Make) -> None:
    """A node without pods to evict, and with one: docs/patch-targets.md has these numbers."""
    first = make(name="warm")
    await first.acquired(worker)
    await first.carried_out(worker, host_script("true", **busybox(bascule)))
    await first.released(worker)
    campaign = make()
    nothing = {"pod_selector": {"match_labels": {"none": "such"}}}
    counted: dict[str, int] = {}
    with api_requests(counted):
        await campaign.acquired(worker)
        await campaign.drained(worker, **nothing)
        await campaign.carried_out(worker, host_script("true", **busybox(bascule)))
        await campaign.ready(worker)
        await campaign.released(worker)
    assert {key: count for key, count in counted.items() if not key.startswith("watch")} == {
        "post leases": 1,
        "patch nodes": 2,
        "list pods": 1,
        "post jobs": 1,
        "get tenants": 1,
        "list jobs": 1,
        "delete jobs": 1,
        "delete leases": 1,
    }
