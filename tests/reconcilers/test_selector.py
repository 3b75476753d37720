"""An operator with a label selector serves what matches, and nothing else."""

from __future__ import annotations

from bascule_api import names
from bascule_operator.store import Key
from tests.reconcilers.conftest import Json, Lab, build_spec


async def foreign(lab: Lab, name: str) -> Key:
    """An ImageBuild of the lab's tenant whose labels are another operator's."""
    labels = {"test": "another-shard"}
    await lab.apply("ImageBuild", name, build_spec(repository=f"r.example.com/{name}"), lab.namespace, labels=labels)
    return Key("ImageBuild", lab.namespace, name)


def untouched(body: Json | None) -> bool:
    return body is not None and not body["metadata"].get("finalizers") and "run" not in body["status"]


async def test_what_does_not_match_is_left_alone_until_it_does(served: Lab) -> None:
    theirs = await foreign(served, "theirs")
    await served.until_phase(await served.build("ours"), "Succeeded")
    await served.until_phase(await served.build("later"), "Succeeded")
    assert untouched(await served.get(theirs))
    await served.patch(theirs, {"metadata": {"labels": served.selector}})
    await served.until_phase(theirs, "Succeeded")


async def test_what_was_there_before_the_operator_is_left_alone_too(served: Lab) -> None:
    await served.stop_operator()
    theirs = await foreign(served, "theirs")
    await served.start_operator()
    await served.until_phase(await served.build("ours"), "Succeeded")
    assert untouched(await served.get(theirs))


async def test_what_stops_matching_is_left_alone_from_then_on(served: Lab) -> None:
    key = await served.build("leaver")
    done = await served.until_phase(key, "Succeeded")
    await served.patch(key, {"metadata": {"labels": {"test": "another-shard"}}})
    await served.annotate(key, requested_at="now")
    await served.until_phase(await served.build("later"), "Succeeded")
    body = await served.get(key)
    assert body is not None
    assert body["status"] == done["status"]
    assert names.FINALIZER in body["metadata"]["finalizers"]
    await served.patch(key, {"metadata": {"labels": served.selector}})
    await served.until(key, lambda found: found["status"]["run"]["number"] == 2, "ran again")
