"""The executor that does nothing: images that are known by their run."""

from __future__ import annotations

from bascule_api import names
from bascule_api.progress import RunIdentity
from bascule_workers.plans.image_builds import run_of, run_tag
from bascule_workers.ports.registry import Repository
from hack.bench import executor

RUN = RunIdentity(
    kind="ImageBuild", namespace="bench-dev", name="web", uid="0c7f5a52-8c6e-4d5e-9b39-27d1f3f4a001", number=12,
    revision="r1", tenant="bench",
)  # fmt: skip


async def test_the_candidate_carries_its_run_by_tag_and_by_digest() -> None:
    registry, repository = executor.NoRegistry(), Repository("bench.example.com/web")

    by_tag = await registry.manifest(repository, run_tag(RUN))
    assert by_tag is not None
    by_digest = await registry.manifest(repository, by_tag.digest)

    assert by_digest == by_tag
    assert by_tag.annotations == {names.IMAGE_RUN_ANNOTATION: run_of(RUN)}


async def test_nothing_was_published_before() -> None:
    assert await executor.NoRegistry().manifest(Repository("bench.example.com/web"), "v1") is None
