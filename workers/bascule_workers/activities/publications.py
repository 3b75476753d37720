"""Publishing an image, and taking publications back; one publisher of a repository at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from temporalio import activity

from bascule_api import names
from bascule_api.conditions import WaitKind
from bascule_workers.activities.image_builds import ImageBuildPorts
from bascule_workers.activities.logins import logged_in
from bascule_workers.errors import LeaseTakenError, StepFailedError
from bascule_workers.messages import (
    Done,
    Left,
    NotYet,
    Published,
    PublishRequest,
    RestoreTagsRequest,
    UndoPublicationsRequest,
)
from bascule_workers.plans import image_builds as plans
from bascule_workers.plans import publications
from bascule_workers.plans.publications import TAKEN_BACK
from bascule_workers.ports.leases import Held
from bascule_workers.ports.registry import Manifest, Registry, Repository


class PublicationActivities:
    """The step `publish` and its counterweights, within the run and after it."""

    def __init__(self, ports: ImageBuildPorts) -> None:
        self._ports = ports

    @activity.defn(name="image_build.publish")
    async def publish(self, request: PublishRequest) -> Done[Published] | NotYet:
        """Copy image and signature by digest, then move the tags, one publisher of a repository at a time."""
        registry, digest = self._ports.registry, request.image.digest
        source = await self._repository(request, request.image.repository)
        target = await self._repository(request, request.repository)
        await registry.copy(source, target, digest)
        try:
            async with self._ports.leases.hold(names.lease_name(request.repository)) as lease:
                run = plans.run_of(request.run)
                if TAKEN_BACK in lease.record(run):
                    await _Undoing(registry, target, lease, run).delete([digest])
                    raise StepFailedError("the run was taken back while it published: it publishes nothing any more")
                current = await digests(registry, target, request.tags)
                previous = publications.previous_digests(current, lease.record(run), digest)
                await lease.keep(run, previous)
                for tag in request.tags:
                    if current[tag] != digest:
                        lease.check()
                        await registry.tag(target, digest, tag)
        except LeaseTakenError as taken:
            return _waits_for(taken, request.repository)
        return Done(value=Published(tags=publications.published_tags(request.tags, digest, previous)))

    @activity.defn(name="image_build.restore_tags")
    async def restore_tags(self, request: RestoreTagsRequest) -> Done[Left] | NotYet:
        """Take the run's own publication back: tags that still point at its digest go where they were before."""
        target = await self._repository(request, request.repository)
        if await self._ports.registry.manifest(target, request.image.digest) is None:
            return Done(value=Left())
        return await self._taken_back(
            UndoPublicationsRequest(**request.model_dump(), candidates="", tag=""), target, {request.image.digest}
        )

    @activity.defn(name="image_build.undo_publications")
    async def undo_publications(self, request: UndoPublicationsRequest) -> Done[Left] | NotYet:
        """After the run's end: take back what the registry says is the run's, and the publications that stand.

        A tag that somebody else has moved since stays where it is, and that is no failure.
        """
        objects, secret = self._ports.objects, request.secret
        target = await logged_in(objects, request, request.repository, login=False, secret=secret)
        known = {publication.digest for publication in request.standing}
        if request.candidates:
            candidates = await logged_in(objects, request, request.candidates, login=False, secret=secret)
            candidate = await self._ports.registry.manifest(candidates, request.tag)
            known |= {candidate.digest} if candidate else set()
        if not known and not await self._points_at_ours(target, request):
            return Done(value=Left())
        return await self._taken_back(request, target, known)

    async def _points_at_ours(self, target: Repository, request: UndoPublicationsRequest) -> bool:
        found = [await self._ports.registry.manifest(target, tag) for tag in request.tags]
        run = plans.run_of(request.run)
        return any(manifest and publications.owner(manifest.annotations) == run for manifest in found)

    async def _taken_back(
        self, request: UndoPublicationsRequest, target: Repository, known: set[str]
    ) -> Done[Left] | NotYet:
        """Under the lease: move tags back, then delete what nothing points at any more."""
        run = plans.run_of(request.run)
        try:
            async with self._ports.leases.hold(names.lease_name(request.repository)) as lease:
                recorded = lease.record(run)
                # Whatever of the run is still at work somewhere: once this is written, it moves no tag any more.
                if TAKEN_BACK not in recorded:
                    await lease.keep(run, {**recorded, TAKEN_BACK: "true"})
                before = publications.before(run, recorded, request.run.uid, request.standing)
                undoing = _Undoing(self._ports.registry, target, lease, run, before)
                tags = {*request.tags, *before[run], *(t.name for p in request.standing for t in p.tags)}
                await undoing.move_back(sorted(tags))
                left = await undoing.delete(sorted(known | undoing.passed))
                if not left:
                    await lease.keep(run, {TAKEN_BACK: "true"})
        except LeaseTakenError as taken:
            return _waits_for(taken, request.repository)
        return Done(value=Left(items=left, found=undoing.found))

    async def _repository(self, request: PublishRequest, name: str) -> Repository:
        return await logged_in(self._ports.objects, request, name, login=request.registry_login)


@dataclass
class _Undoing:
    """Taking back what runs of one resource published in one repository, under its lease."""

    registry: Registry
    target: Repository
    lease: Held
    run: str
    before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Where tags were before, by run and tag."""
    passed: set[str] = field(default_factory=set)
    """Digests of ours that tags pointed at."""
    stuck: set[str] = field(default_factory=set)
    """New tags that the registry cannot delete by themselves."""
    unknown: set[str] = field(default_factory=set)
    """Tags of which nobody knows where they were before."""
    found: int = 0

    async def move_back(self, tags: Sequence[str]) -> None:
        """Move the tags that point at an image of ours to where they were before."""
        for tag in tags:
            current = await self.registry.manifest(self.target, tag)
            if current is None or not self._ours(current):
                continue
            self.lease.check()
            known, earlier = await self._earlier(tag, current)
            if earlier is not None:
                await self.registry.tag(self.target, earlier.digest, tag)
            elif not known:
                self.unknown.add(tag)
                continue
            elif not await self.registry.delete_tag(self.target, tag):
                self.stuck.add(tag)
                continue
            self.found += 1

    async def _earlier(self, tag: str, manifest: Manifest) -> tuple[bool, Manifest | None]:
        """Whether it is known where a tag was before all images of ours, and what that was; None: nothing."""
        current: Manifest | None = manifest
        seen: set[str] = set()
        while current is not None and self._ours(current):
            previous = self.before.get(publications.owner(current.annotations), {}).get(tag)
            seen.add(current.digest)
            self.passed.add(current.digest)
            if previous is None or previous in seen:
                return False, None
            current = await self.registry.manifest(self.target, previous) if previous else None
        return True, current

    async def delete(self, ours: Iterable[str]) -> list[str]:
        """Delete our digests, each unless a tag other than the stuck ones points at it. Returns what is left."""
        mine = self.stuck | self.unknown
        doomed = [digest for digest in ours if await self._is_there(digest)]
        if not doomed:
            return []
        tags = await self.registry.tags(self.target)
        pointers = await digests(self.registry, self.target, tags)
        left = []
        for digest in doomed:
            pointing = [tag for tag in tags if pointers[tag] == digest]
            if any(tag not in self.stuck for tag in pointing):
                left += [f"{self.target.name}:{tag}" for tag in pointing if tag in mine]
                continue
            self.lease.check()
            # Looked at again right before: what is deleted by digest is gone under every tag.
            if not await self._is_there(digest):
                continue
            if await self.registry.delete(self.target, digest):
                self.found += 1
            else:
                left += [f"{self.target.name}:{tag}" for tag in pointing] or [f"{self.target.name}@{digest}"]
        return sorted(left)

    async def _is_there(self, digest: str) -> bool:
        manifest = await self.registry.manifest(self.target, digest)
        return manifest is not None and self._ours(manifest)

    def _ours(self, manifest: Manifest) -> bool:
        owner = publications.owner(manifest.annotations)
        return owner == self.run or owner in self.before


async def digests(registry: Registry, repository: Repository, tags: Sequence[str]) -> dict[str, str]:
    """Where each tag points; empty where there is none."""
    found = {tag: await registry.manifest(repository, tag) for tag in tags}
    return {tag: manifest.digest if manifest else "" for tag, manifest in found.items()}


def _waits_for(taken: LeaseTakenError, repository: str) -> NotYet:
    return NotYet(
        reason=f"another build publishes to {repository}",
        waits_for=WaitKind.LEASE,
        subject=taken.holder,
        again_after=2,
    )
