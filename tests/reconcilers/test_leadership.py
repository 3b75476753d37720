"""The Lease: one leader at a time, whatever its timestamps say and whichever answers get lost."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bascule_operator.connections.kube import MERGE_PATCH, Kube
from bascule_operator.errors import ApiUnavailableError, LeadershipLostError, NotLeadingError
from bascule_operator.leadership import LeaseLeadership, Timing
from tests.support.control_plane import ControlPlane

TIMING = Timing(lease=15, renew_deadline=10, retry=0.05)
PATIENCE = 30.0


class Wire(Kube):
    """A connection that may be cut, before a request reaches the API server or after."""

    before = after = False

    async def request(self, method: str, *rest: Any, **more: Any) -> dict[str, Any]:
        if self.before:
            raise ApiUnavailableError("cut")
        answer = await super().request(method, *rest, **more)
        if self.after and method != "GET":
            raise ApiUnavailableError("cut")
        return answer


@dataclass
class Field:
    """A namespace with candidates, and a clock that a test moves."""

    plane: ControlPlane
    kube: Kube
    namespace: str
    now: float = 1000.0
    wires: list[Wire] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def candidate(self, name: str) -> tuple[LeaseLeadership, Wire]:
        wire = await Wire.connect(str(self.plane.operator_kubeconfig))
        assert isinstance(wire, Wire)
        self.wires.append(wire)
        return LeaseLeadership(wire, self.namespace, name, TIMING, lambda: self.now), wire

    def begin(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    async def leader(self, name: str) -> tuple[LeaseLeadership, Wire]:
        made, wire = await self.candidate(name)
        async with asyncio.timeout(PATIENCE):
            assert await made.acquire(asyncio.Event())
        return made, wire

    @property
    def path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/bascule-operator"

    async def lease(self) -> dict[str, Any]:
        return await self.kube.request("GET", self.path, resource="test")

    async def write(self, **spec: Any) -> None:
        await self.kube.request("PATCH", self.path, resource="test", body={"spec": spec}, content_type=MERGE_PATCH)


@pytest.fixture
async def ground(plane: ControlPlane, kube: Kube) -> AsyncIterator[Field]:
    name = f"lead-{secrets.token_hex(3)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await kube.request("POST", "/api/v1/namespaces", resource="test", body=body)
    made = Field(plane, kube, name)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    for wire in made.wires:
        await wire.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE * 50)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never came")


async def looks(times: int = 10) -> None:
    """Long enough for a candidate to have looked at the Lease several times."""
    await asyncio.sleep(TIMING.retry * times)


async def test_one_leads_and_the_other_follows_when_it_lets_go(ground: Field) -> None:
    one, _ = await ground.leader("one")
    other, _ = await ground.candidate("other")
    waiting = ground.begin(other.acquire(asyncio.Event()))
    await looks()
    assert (one.leading, other.leading) == (True, False)
    await one.release()
    assert await asyncio.wait_for(waiting, PATIENCE) is True
    assert (one.leading, other.leading) == (False, True)
    spec = (await ground.lease())["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("other", 15, 2)


async def test_of_many_candidates_one_leads(ground: Field) -> None:
    made = [(await ground.candidate(str(number)))[0] for number in range(6)]
    for one in made:
        ground.begin(one.acquire(asyncio.Event()))
    await until(lambda: any(one.leading for one in made))
    await looks()
    assert sum(one.leading for one in made) == 1


async def test_a_candidate_that_is_told_to_stop_waits_no_longer(ground: Field) -> None:
    await ground.leader("one")
    other, _ = await ground.candidate("other")
    stop = asyncio.Event()
    waiting = ground.begin(other.acquire(stop))
    await looks(2)
    stop.set()
    assert await asyncio.wait_for(waiting, PATIENCE) is False


@pytest.mark.parametrize("year", [2001, 2099])
async def test_a_leader_whose_clock_is_wrong_is_followed_only_once_it_is_silent(ground: Field, year: int) -> None:
    await ground.leader("one")
    other, _ = await ground.candidate("other")
    waiting = ground.begin(other.acquire(asyncio.Event()))
    for second in range(4):
        await ground.write(renewTime=f"{year}-01-01T00:00:0{second}.000000Z")
        await looks()
        ground.now += 14.9
        await looks()
    assert not waiting.done(), "it was heard of every 14.9 s, which is less than the Lease lasts"
    ground.now += 0.2
    assert await asyncio.wait_for(waiting, PATIENCE) is True


async def test_a_holder_whose_lease_lasts_longer_than_ours_is_given_its_time(ground: Field) -> None:
    await ground.leader("one")
    await ground.write(leaseDurationSeconds=40)
    other, _ = await ground.candidate("other")
    waiting = ground.begin(other.acquire(asyncio.Event()))
    await looks()
    ground.now += 39
    await looks()
    assert not waiting.done()
    ground.now += 2
    assert await asyncio.wait_for(waiting, PATIENCE) is True


async def test_a_leader_that_cannot_renew_stops_acting_before_another_may_lead(ground: Field) -> None:
    one, wire = await ground.leader("one")
    keeping = ground.begin(one.keep())
    other, _ = await ground.candidate("other")
    waiting = ground.begin(other.acquire(asyncio.Event()))
    await looks()
    wire.before = True
    await looks()
    ground.now += TIMING.renew_deadline
    with pytest.raises(NotLeadingError):
        one.check()
    await looks()
    assert not waiting.done(), "nobody leads for a while"
    ground.now += TIMING.lease - TIMING.renew_deadline
    assert await asyncio.wait_for(waiting, PATIENCE) is True
    wire.before = False
    with pytest.raises(LeadershipLostError, match="other leads"):
        await asyncio.wait_for(keeping, PATIENCE)
    assert not one.leading


async def test_a_leader_that_renews_late_but_before_anybody_took_the_lease_goes_on(ground: Field) -> None:
    one, wire = await ground.leader("one")
    wire.before = True
    keeping = ground.begin(one.keep())
    ground.now += 300
    await looks()
    assert not one.leading
    wire.before = False
    await until(lambda: one.leading)
    assert not keeping.done()


async def test_a_renewal_whose_answer_was_lost_is_ours(ground: Field) -> None:
    one, wire = await ground.leader("one")
    wire.after = True
    keeping = ground.begin(one.keep())
    ground.now += TIMING.renew_deadline
    await looks()
    assert not one.leading, "what was not confirmed does not count"
    wire.after = False
    await until(lambda: one.leading)
    assert not keeping.done()


async def test_a_lease_that_somebody_deleted_is_made_again(ground: Field) -> None:
    one, _ = await ground.leader("one")
    ground.begin(one.keep())
    await ground.kube.request("DELETE", ground.path, resource="test")
    ground.now += TIMING.renew_deadline
    await until(lambda: one.leading)
    assert (await ground.lease())["spec"]["holderIdentity"] == "one"


async def test_who_was_restarted_in_its_place_leads_at_once(ground: Field) -> None:
    await ground.leader("one")
    again, _ = await ground.leader("one")
    assert again.leading
    assert (await ground.lease())["spec"]["leaseTransitions"] == 1


async def test_what_a_candidate_does_without_the_right_to_is_said_once(
    ground: Field, caplog: pytest.LogCaptureFixture
) -> None:
    made, wire = await ground.candidate("one")
    wire.before = True
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(made.acquire(asyncio.Event()), TIMING.retry * 10)
    assert [record.message for record in caplog.records].count("the Lease cannot be reached") == 1
