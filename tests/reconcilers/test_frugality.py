"""How many requests a life costs, counted in the API server's audit log, and that rest is rest."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from prometheus_client import REGISTRY

from bascule_operator import observe
from bascule_operator.store import Key
from tests.reconcilers.conftest import Lab

WRITES = {"create", "update", "patch", "delete"}


def requests_of(lab: Lab, key: Key) -> Counter[str]:
    """The operator's requests for one object, by verb and subresource."""
    found: Counter[str] = Counter()
    for line in lab.plane.audit_log.read_text().splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef", {})
        ours = entry["user"]["username"] == "operator"
        if ours and (target.get("namespace"), target.get("name")) == (key.namespace, key.name):
            found[f"{entry['verb']} {target.get('subresource', '')}".strip()] += 1
    return found


async def test_a_quick_build_costs_one_write_for_the_finalizer_and_one_for_each_thing_it_says(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    counted = requests_of(served, key)
    assert counted["patch"] == 1
    # the intent, at most one progress, the end
    assert counted["patch status"] <= 3


def read(resource: str) -> float:
    """How often the operator has read one of these so far."""
    labels = {"verb": "get", "resource": resource, "code": "200"}
    return REGISTRY.get_sample_value("bascule_operator_api_requests_total", labels) or 0.0


async def test_builds_that_are_applied_at_once_share_what_is_read_for_their_start(served: Lab) -> None:
    before = read("procedures")
    keys = await asyncio.gather(*(served.build(f"b{number}") for number in range(20)))
    for key in keys:
        await served.until_phase(key, "Succeeded")
    # Each of the twenty would read two; how many share a reading depends on how long all of it takes.
    assert 2 <= read("procedures") - before < 40


async def test_everything_is_listed_page_by_page(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer with everything in it would cost 30 MiB for each thousand objects, whenever the sweep comes by."""
    monkeypatch.setattr(observe, "PAGE", 2)
    labels = {"verb": "get", "resource": "imagebuilds", "code": "200"}
    made = {(await lab.build(f"b{number}")).name for number in range(5)}
    before = REGISTRY.get_sample_value("bascule_operator_api_requests_total", labels) or 0.0
    listed = [item async for item in observe.listed(lab.kube, "ImageBuild", f"test={lab.selector['test']}")]
    assert {item["metadata"]["name"] for item in listed} == made
    assert {item["kind"] for item in listed} == {"ImageBuild"}
    assert REGISTRY.get_sample_value("bascule_operator_api_requests_total", labels) == before + 3


async def test_a_finished_build_costs_nothing_more(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await asyncio.sleep(1)
    before = requests_of(served, key)
    assert served.bridge is not None
    await served.bridge.sweep.resync()
    await asyncio.sleep(2)
    after = requests_of(served, key)
    assert {verb: count for verb, count in after.items() if verb.split()[0] in WRITES} == {
        verb: count for verb, count in before.items() if verb.split()[0] in WRITES
    }


async def test_the_deletion_of_a_finished_build_costs_one_write(served: Lab) -> None:
    key = await served.build()
    await served.until_phase(key, "Succeeded")
    await asyncio.sleep(1)
    before = requests_of(served, key)
    await served.delete(key)
    await served.until_gone(key)
    after = requests_of(served, key)
    assert after["patch"] - before["patch"] == 1
    assert after["patch status"] == before["patch status"]
