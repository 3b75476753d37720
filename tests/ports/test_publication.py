"""Publishing and taking back, on the fake registry and on docker-registry: what tags point at afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from bascule_api.image_builds import Publication as StandingPublication
from bascule_api.image_builds import PublishedTag
from bascule_workers.activities.image_builds import ImageBuildActivities
from bascule_workers.activities.publications import PublicationActivities
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import (
    Candidate,
    Done,
    PublishRequest,
    RemoveCandidateRequest,
    RestoreTagsRequest,
    UndoPublicationsRequest,
)
from bascule_workers.plans import image_builds as plans
from bascule_workers.ports.registry import Repository
from tests.ports.conftest import Subject
from tests.support.fake_world import World
from tests.support.runs import image_build


@dataclass
class Publication:
    """A candidate of one run, and the repository that it goes to."""

    subject: Subject
    builds: ImageBuildActivities
    activities: PublicationActivities
    request: PublishRequest
    candidates: Repository
    target: Repository

    async def tags(self) -> dict[str, str]:
        registry = self.subject.registry
        found = {tag: await registry.manifest(self.target, tag) for tag in await registry.tags(self.target)}
        return {tag: manifest.digest for tag, manifest in found.items() if manifest}

    async def publish(self) -> dict[str, str | None]:
        report = await self.activities.publish(self.request)
        assert isinstance(report, Done)
        return {tag.name: tag.previous_digest for tag in report.value.tags}

    async def undo(self, **changes: Any) -> tuple[list[str], int]:
        """What is left, and how much was taken back."""
        given = self.request.model_dump() | {"tag": plans.run_tag(self.request.run)} | changes
        request = UndoPublicationsRequest(**given, candidates=self.candidates.name)
        report = await self.activities.undo_publications(request)
        assert isinstance(report, Done)
        return report.value.items, report.value.found

    async def restore(self) -> list[str]:
        report = await self.activities.restore_tags(RestoreTagsRequest(**self.request.model_dump()))
        assert isinstance(report, Done)
        return report.value.items


@pytest.fixture
async def publication(subject: Subject) -> Publication:
    world = World()
    ports = replace(world.ports(), registry=subject.registry)
    build = image_build()
    candidates, target = subject.repository(), subject.repository()
    annotations = {"dev.bascule.run": plans.run_of(build.run)}
    digest = await subject.images.push(candidates, plans.run_tag(build.run), "ours", annotations)
    await subject.signer.sign(candidates, digest, subject.key, annotations)
    image = Candidate(repository=candidates.name, digest=digest, media_type="", size=1)
    request = PublishRequest(
        **plans.common(build, "publish"), image=image, repository=target.name, tags=["v1", "latest"]
    )
    return Publication(subject, ImageBuildActivities(ports), PublicationActivities(ports), request, candidates, target)


async def test_published_twice_is_published_once_and_remembers_what_was_before(publication: Publication) -> None:
    before = await publication.subject.images.push(publication.target, "v1", "before")
    ours = publication.request.image.digest

    for _ in range(2):
        assert await publication.publish() == {"v1": before, "latest": None}

    assert await publication.tags() == {"v1": ours, "latest": ours}
    claims = {"dev.bascule.run": plans.run_of(publication.request.run)}
    subject = publication.subject
    assert await subject.verifier.verify(publication.target, ours, subject.public_key, claims)


async def test_taken_back_tags_point_where_they_did_and_new_ones_are_gone(publication: Publication) -> None:
    before = await publication.subject.images.push(publication.target, "v1", "before")
    await publication.publish()

    for _ in range(2):
        assert await publication.restore() == []

    assert await publication.tags() == {"v1": before}
    assert await publication.subject.registry.manifest(publication.target, publication.request.image.digest) is None


async def test_a_first_publication_is_gone_when_taken_back(publication: Publication) -> None:
    await publication.publish()
    assert await publication.restore() == []
    assert await publication.tags() == {}


async def test_a_tag_that_somebody_moved_since_stays_where_it_is(publication: Publication) -> None:
    await publication.publish()
    later = await publication.subject.images.push(publication.target, "v1", "later")
    assert await publication.restore() == []
    assert await publication.tags() == {"v1": later}


async def test_a_tag_that_cannot_go_alone_is_left_and_said_so(publication: Publication) -> None:
    await publication.publish()
    ours = publication.request.image.digest
    await publication.subject.registry.tag(publication.target, ours, "somebody-elses")

    assert sorted(await publication.restore()) == [f"{publication.target.name}:{tag}" for tag in ("latest", "v1")]

    assert set((await publication.tags()).values()) == {ours}


async def test_what_was_never_published_needs_no_taking_back(publication: Publication) -> None:
    assert await publication.restore() == []


async def test_after_the_runs_end_the_registry_says_what_to_take_back(publication: Publication) -> None:
    before = await publication.subject.images.push(publication.target, "v1", "before")
    await publication.publish()

    assert await publication.undo() == ([], 2)
    assert await publication.undo() == ([], 0)

    assert await publication.tags() == {"v1": before}
    assert await publication.subject.registry.manifest(publication.target, publication.request.image.digest) is None


async def test_a_copy_without_a_tag_is_found_by_the_candidate(publication: Publication) -> None:
    digest = publication.request.image.digest
    await publication.subject.registry.copy(publication.candidates, publication.target, digest)

    assert await publication.undo() == ([], 1)

    assert await publication.subject.registry.manifest(publication.target, digest) is None


async def test_what_stands_of_earlier_runs_goes_with_it_and_what_others_moved_stays(publication: Publication) -> None:
    subject, uid = publication.subject, publication.request.run.uid
    before = await subject.images.push(publication.target, "v1", "before")
    earlier = await subject.images.push(publication.target, "v1", "earlier", {"dev.bascule.run": f"{uid}/7"})
    await publication.publish()
    others = await subject.images.push(publication.target, "latest", "somebody else's")
    tags = [PublishedTag(name="v1", digest=earlier, previous_digest=before)]
    standing = [StandingPublication(run=7, repository=publication.target.name, digest=earlier, tags=tags)]

    left, _ = await publication.undo(standing=standing)

    assert left == []
    assert await publication.tags() == {"v1": before, "latest": others}
    assert await subject.registry.manifest(publication.target, earlier) is None


async def test_a_publisher_that_is_late_publishes_nothing_and_leaves_no_copy(publication: Publication) -> None:
    await publication.undo()

    with pytest.raises(StepFailedError, match="taken back"):
        await publication.publish()

    assert await publication.tags() == {}
    assert await publication.subject.registry.manifest(publication.target, publication.request.image.digest) is None


async def test_a_candidate_is_deleted_by_its_tag_alone_and_nothing_else_is(publication: Publication) -> None:
    await publication.publish()
    other = await publication.subject.images.push(publication.candidates, "r-other", "of another run")
    request = RemoveCandidateRequest(
        **plans.common(image_build(publication.request.run.uid), "build"),
        candidates=publication.candidates.name,
        tag=plans.run_tag(publication.request.run),
    )

    for _ in range(2):
        report = await publication.builds.remove_candidate(request)
        assert isinstance(report, Done)
        assert report.value.items == []

    assert await publication.subject.registry.tags(publication.candidates) == ["r-other"]
    assert await publication.subject.registry.manifest(publication.candidates, other) is not None
    assert set(await publication.tags()) == {"v1", "latest"}
