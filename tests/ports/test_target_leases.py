"""What `TargetLeases` promises, on the fake and on a real API server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.target_leases import KubernetesTargetLeases
from bascule_workers.ports.nodes import TargetLeases
from tests.support.fake_nodes import FakeTargetLeases

RUN, OTHER = f"{uuid4()}.1", f"{uuid4()}.2"
LONG = "host-" + "x" * 200 + ".example.com"


@pytest.fixture(params=["fake", "real"])
def leases(request: pytest.FixtureRequest) -> TargetLeases:
    if request.param == "fake":
        return FakeTargetLeases()
    return KubernetesTargetLeases(request.getfixturevalue("api"))


@pytest.mark.parametrize("target", ["node-1", LONG, "Host_1"])
async def test_one_run_at_a_time_holds_a_target(leases: TargetLeases, namespace: str, target: str) -> None:
    assert await leases.acquire(namespace, target, RUN, "acme/web") == ""
    assert await leases.acquire(namespace, target, RUN, "acme/web") == ""
    assert await leases.acquire(namespace, target, OTHER, "acme/other") == "acme/web"
    assert not await leases.release(namespace, target, OTHER)
    assert await leases.held(namespace, RUN) == [target]
    assert await leases.release(namespace, target, RUN)
    assert not await leases.release(namespace, target, RUN)
    assert await leases.acquire(namespace, target, OTHER, "acme/other") == ""
    assert await leases.held(namespace, RUN) == []


async def test_targets_do_not_stand_in_each_others_way(leases: TargetLeases, namespace: str) -> None:
    assert await leases.acquire(namespace, "b", RUN, "acme/web") == ""
    assert await leases.acquire(namespace, "a", RUN, "acme/web") == ""
    assert await leases.acquire(namespace, "c", OTHER, "acme/other") == ""
    assert await leases.held(namespace, RUN) == ["a", "b"]


async def test_another_worker_gives_back_what_this_one_took(api: ApiServer, namespace: str) -> None:
    first, second = KubernetesTargetLeases(api), KubernetesTargetLeases(api)
    await first.acquire(namespace, "node-1", RUN, "acme/web")
    assert await second.release(namespace, "node-1", RUN)
    await second.acquire(namespace, "node-1", OTHER, "acme/other")
    assert not await first.release(namespace, "node-1", RUN), "what this one remembers is another's by now"
    assert await first.acquire(namespace, "node-1", RUN, "acme/web") == "acme/other"
