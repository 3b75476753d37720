"""What `Leases` promises, on the real API server."""

from __future__ import annotations

import asyncio

import pytest

from bascule_workers.adapters import leases
from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.leases import KubernetesLeases
from bascule_workers.errors import LeaseLostError, LeaseTakenError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holders that die are waited out in seconds."""
    monkeypatch.setattr(leases, "DURATION_SECONDS", 3)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.5)
    monkeypatch.setattr(leases, "LOOK_AGAIN_SECONDS", 0.1)


@pytest.mark.usefixtures("quick")
async def test_one_holds_it_at_a_time_and_the_next_finds_the_record(api: ApiServer, namespace: str) -> None:
    held = 0
    most = 0

    async def publish(number: int) -> None:
        nonlocal held, most
        async with KubernetesLeases(api, namespace).hold("publish-x") as lease:
            held += 1
            most = max(most, held)
            lease.check()
            await lease.keep(f"run/{number}", {"v1": f"sha256:{number}"})
            await asyncio.sleep(0.7)
            held -= 1

    await asyncio.gather(*(publish(number) for number in range(3)))

    assert most == 1
    async with KubernetesLeases(api, namespace).hold("publish-x") as lease:
        assert [lease.record(f"run/{number}") for number in range(3)] == [{"v1": f"sha256:{n}"} for n in range(3)]
        await lease.keep("run/0", {})
        assert lease.record("run/0") == {}


@pytest.mark.usefixtures("quick")
async def test_a_holder_that_died_is_waited_out(api: ApiServer, namespace: str) -> None:
    dead = KubernetesLeases(api, namespace).hold("publish-x")
    lease = await dead.__aenter__()
    await lease.keep("run/1", {"v1": "sha256:1"})
    # It never lets go, as after SIGKILL: only its renewing has to stop.
    for task in asyncio.all_tasks():
        if "renew_for_ever" in repr(task.get_coro()):
            task.cancel()

    async with KubernetesLeases(api, namespace).hold("publish-x") as successor:
        assert successor.record("run/1") == {"v1": "sha256:1"}
        with pytest.raises(LeaseLostError):
            await lease.keep("run/1", {"v1": "sha256:2"})
        with pytest.raises(LeaseLostError):
            lease.check()
        successor.check()


@pytest.mark.usefixtures("quick")
async def test_who_holds_it_for_long_is_named(api: ApiServer, namespace: str) -> None:
    async with KubernetesLeases(api, namespace).hold("publish-x"):
        with pytest.raises(LeaseTakenError, match="the lease is held by"):
            async with KubernetesLeases(api, namespace).hold("publish-x"):
                pytest.fail("two hold it")


@pytest.mark.usefixtures("quick")
async def test_only_the_last_runs_are_remembered(
    api: ApiServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RECORDS", 2)
    async with KubernetesLeases(api, namespace).hold("publish-x") as lease:
        for number in range(3):
            await lease.keep(f"run/{number}", {"v1": "x"})
        assert [bool(lease.record(f"run/{number}")) for number in range(3)] == [False, True, True]
