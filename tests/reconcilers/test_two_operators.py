"""Two operators, as processes: one leads, the other takes over whatever became of the first, and no run is doubled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

from bascule_operator.errors import GoneError
from bascule_operator.store import Key
from hack.cluster.binaries import binaries
from tests.reconcilers.conftest import PATIENCE, Lab
from tests.support.control_plane import OperatorProcess, answer_of, free_port

TERMINAL = {"Succeeded", "Failed", "Cancelled"}


class Replica(OperatorProcess):
    """One of several: its name is its identity at the Lease."""

    def __init__(self, lab: Lab, name: str, **settings: str) -> None:
        self.name, self.port = name, free_port()
        super().__init__(
            lab.plane,
            **{
                "BASCULE_SELECTOR": ",".join(f"{label}={value}" for label, value in lab.selector.items()),
                "BASCULE_NAMESPACE": lab.namespace,
                "BASCULE_LEADER_ELECTION": "true",
                "BASCULE_IDENTITY": name,
                "BASCULE_LEASE_SECONDS": "6",
                "BASCULE_LEASE_RENEW_SECONDS": "4",
                "BASCULE_LEASE_RETRY_SECONDS": "0.5",
                "BASCULE_HTTP_PORT": str(self.port),
            }
            | settings,
        )

    async def answers(self, path: str, status: int = 200, says: str = "") -> str:
        """The text of the answer, once it is the expected one. Others give it time: it may just have started."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found, text = await answer_of(f"http://127.0.0.1:{self.port}{path}")
                if found == status and says in text:
                    return text
                await asyncio.sleep(0.1)

    def said(self) -> str:
        return self.log.read_text()


async def lease_of(lab: Lab) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{lab.namespace}/leases/bascule-operator"
    spec: dict[str, Any] = (await lab.kube.request("GET", path, resource="test"))["spec"]
    return spec


async def until_leads(lab: Lab, replica: Replica) -> None:
    await replica.answers("/metrics", says="bascule_operator_leading 1.0")
    assert (await lease_of(lab))["holderIdentity"] == replica.name


async def tenant_with_worker(lab: Lab) -> None:
    await lab.start_operator()
    await lab.make_tenant()
    await lab.until_reason(Key("Tenant", "", lab.tenant), "NamespaceRegistered")
    await lab.stop_operator()
    await lab.start_worker()


@asynccontextmanager
async def statuses(lab: Lab) -> AsyncIterator[list[dict[str, Any]]]:
    """Every status that the API server published meanwhile, in order."""
    seen: list[dict[str, Any]] = []
    kubectl = [str(binaries() / "kubectl"), "--kubeconfig", str(lab.plane.kubeconfig), "-n", lab.namespace]
    process = await asyncio.create_subprocess_exec(
        *kubectl, "get", "imagebuilds", "--watch", "--output=jsonpath={.metadata.name} {.status}{'\\n'}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None

    async def follow(lines: asyncio.StreamReader) -> None:
        while line := (await lines.readline()).decode():
            name, _, status = line.partition(" ")
            seen.append({"name": name, **json.loads(status or "{}")})

    following = asyncio.create_task(follow(process.stdout))
    try:
        yield seen
    finally:
        await asyncio.sleep(1)
        process.terminate()
        await following
        await process.wait()


def assert_only_forward(seen: list[dict[str, Any]], key: Key) -> None:
    """Run and steps done never decrease, and a terminal phase of a run never changes."""
    story = [item for item in seen if item["name"] == key.name and item.get("run")]
    marks = [(item["run"]["number"], (item.get("progress") or {}).get("completed", 0)) for item in story]
    assert marks == sorted(marks), marks
    for before, after in pairwise(story):
        if before["phase"] in TERMINAL and before["run"]["number"] == after["run"]["number"]:
            assert after["phase"] == before["phase"]


async def test_the_second_operator_only_waits_and_takes_over_when_the_first_is_killed(lab: Lab) -> None:
    await tenant_with_worker(lab)
    with Replica(lab, "one") as one, Replica(lab, "two") as two:
        await until_leads(lab, one if (await holder(lab)) == "one" else two)
        first, second = (one, two) if (await holder(lab)) == "one" else (two, one)
        await second.answers("/readyz")
        await second.answers("/healthz")
        assert "bascule_operator_leading 0.0" in await second.answers("/metrics")
        keys = [await lab.build(f"b{number}", behaviour="slow") for number in range(3)]
        for key in keys:
            await lab.until(key, lambda body: (body.get("status") or {}).get("run", {}).get("runId"), "started")
        waited = await second.answers("/metrics")
        assert 'resource="imagebuilds"' not in waited, "who stands by lists nothing"
        first.kill()
        for key in keys:
            body = await lab.until_phase(key, "Succeeded")
            assert body["status"]["run"]["number"] == 1
        await until_leads(lab, second)
        await lab.until_phase(await lab.build("last"), "Succeeded")
    assert len(await lab.runs()) == 4


async def holder(lab: Lab) -> str:
    for _ in range(round(PATIENCE * 10)):
        with suppress(GoneError):
            if found := str((await lease_of(lab)).get("holderIdentity") or ""):
                return found
        await asyncio.sleep(0.1)
    raise AssertionError("nobody holds the Lease")


async def test_a_leader_that_is_told_to_stop_hands_over_and_ends_well(lab: Lab) -> None:
    await tenant_with_worker(lab)
    with Replica(lab, "one", BASCULE_LEASE_SECONDS="3000") as one:
        await until_leads(lab, one)
        with Replica(lab, "two", BASCULE_LEASE_SECONDS="3000") as two:
            await two.answers("/readyz")
            key = await lab.build(behaviour="slow")
            await lab.until_phase(key, "Running")
            assert await one.terminate() == 0
            # Its Lease would have lasted for 50 minutes more.
            await until_leads(lab, two)
            await lab.until_phase(key, "Succeeded")
            assert await two.terminate() == 0
    assert (await lease_of(lab))["holderIdentity"] == ""
    assert len(await lab.runs()) == 1


async def test_one_that_stands_by_ends_at_once_when_told_to(lab: Lab) -> None:
    with Replica(lab, "one") as one:
        await until_leads(lab, one)
        with Replica(lab, "two") as two:
            await two.answers("/readyz")
            assert await two.terminate() == 0
        assert await holder(lab) == "one"


async def test_a_leader_that_was_paused_does_no_harm_when_it_wakes_up(lab: Lab) -> None:
    await tenant_with_worker(lab)
    async with statuses(lab) as seen:
        with Replica(lab, "one") as one:
            await until_leads(lab, one)
            with Replica(lab, "two") as two:
                await two.answers("/readyz")
                keys = [await lab.build(f"b{number}", behaviour="slow") for number in range(6)]
                changed = await lab.build("changed", behaviour="hang")
                deleted = await lab.build("deleted", behaviour="hang")
                # In the midst of it: some have their finalizer, some their intent, some run.
                await lab.until_phase(deleted, "Running")
                one.pause()
                await lab.build("changed", repository="registry.example.com/acme/other")
                await lab.delete(deleted)
                for key in keys:
                    await lab.until_phase(key, "Succeeded")
                await lab.until_gone(deleted)
                await lab.until(changed, lambda body: body["status"]["run"]["number"] == 2, "went on to its second run")
                await lab.until_phase(changed, "Succeeded")
                runs = await lab.runs()
                one.resume()
                assert await one.ended() == 1
                assert "another operator leads" in one.said()
                await lab.until_phase(await lab.build("last"), "Succeeded")
                await two.answers("/healthz")
                assert await holder(lab) == "two"
    assert len(await lab.runs()) == len(runs) + 1 == 10
    for key in (*keys, changed):
        assert_only_forward(seen, key)


async def test_two_operators_that_both_believe_to_lead_start_each_run_once(lab: Lab) -> None:
    """What no Lease can rule out: a request of the old leader that was on its way when it was paused."""
    await tenant_with_worker(lab)
    async with statuses(lab) as seen:
        await lab.start_operator()
        await lab.start_operator()
        keys = [await lab.build(f"b{number}", behaviour="slow") for number in range(8)]
        changed, deleted = await lab.build("changed", behaviour="hang"), await lab.build("deleted", behaviour="hang")
        await lab.until_phase(changed, "Running")
        await lab.until_phase(deleted, "Running")
        await lab.build("changed", repository="registry.example.com/acme/other")
        await lab.delete(deleted)
        for key in keys:
            body = await lab.until_phase(key, "Succeeded")
            assert body["status"]["run"]["number"] == 1
        await lab.until_gone(deleted)
        await lab.until(changed, lambda body: body["status"]["run"]["number"] == 2, "went on to its second run")
        await lab.until_phase(changed, "Succeeded")
    assert len(await lab.runs()) == len(keys) + 3
    for key in (*keys, changed):
        assert_only_forward(seen, key)
