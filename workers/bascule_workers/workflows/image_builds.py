"""The workflow ImageBuild: resolve, build, test, sign, attest, verify, publish; and back again. And ImageBuildUndo."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bascule_api import names
    from bascule_api.conditions import Phase
    from bascule_api.image_builds import (
        BuildArtifact,
        ImageBuildInput,
        ImageBuildResult,
        ImageBuildUndoInput,
        ImageStatus,
        PublishedStatus,
        SourceStatus,
    )
    from bascule_api.progress import UndoResult
    from bascule_workers.activities.attestations import AttestationActivities
    from bascule_workers.activities.image_builds import ImageBuildActivities
    from bascule_workers.activities.publications import PublicationActivities
    from bascule_workers.activities.runs import RunActivities
    from bascule_workers.messages import (
        Attached,
        AttestRequest,
        BuildFacts,
        Candidate,
        Earlier,
        ImageRequest,
        PrepareRequest,
        PublishRequest,
        ReleaseRequest,
        RemoveCandidateRequest,
        ResolveRequest,
        RestoreTagsRequest,
        SbomRequest,
        SourcePin,
        StopJobsRequest,
        VerifiedAttestations,
        VerifyAttestationsRequest,
    )
    from bascule_workers.plans import artifacts
    from bascule_workers.plans import image_builds as plans
    from bascule_workers.plans import provenance as provenance_plans
    from bascule_workers.plans.image_builds import ATTEST, BUILD, PUBLISH, RESOLVE, SBOM, SIGN, VERIFY
    from bascule_workers.workflows.run import Run
    from bascule_workers.workflows.trouble import Ended
    from bascule_workers.workflows.undo import Undo

CREDENTIALS = "delete the run's credentials"
ARTIFACTS = "delete what the build made elsewhere"
CANDIDATE = "delete the candidate"
JOBS = "stop the run's Jobs"
TAGS = "restore the tags"


@workflow.defn(name="ImageBuild")
class ImageBuildWorkflow(Run):
    """One run of an ImageBuild."""

    kind = "ImageBuild"

    @workflow.init
    def __init__(self, build: ImageBuildInput) -> None:
        super().__init__(build, plans.steps(build))
        self.build = build
        self.source: SourceStatus | None = None
        self.image: ImageStatus | None = None
        self.published: PublishedStatus | None = None
        self.reported: list[BuildArtifact] = []
        self.kept = False

    @workflow.run
    async def run(self, build: ImageBuildInput) -> ImageBuildResult:
        """Returns what was made. Fails with the type of the failure; ends cancelled when cancelled."""
        return ImageBuildResult.model_validate(await self.live())

    async def body(self) -> None:
        source = await self._resolve()
        image = await self._build(source)
        await self._test(source, image)
        sbom = await self._describe(image)
        await self._sign(image)
        provenance = await self._attest(source, image)
        await self._verify(source, image, sbom=sbom, provenance=provenance)
        await self._publish(image)

    async def _resolve(self) -> SourcePin:
        spec = self.build.spec
        secret = spec.publish.secret_ref
        copies = ReleaseRequest(**self._common(RESOLVE), secret=secret.name if secret else "")
        self.saga.release(CREDENTIALS, RunActivities.release, copies, if_left={"keep": True, "earlier": Earlier.NONE})
        pin_secrets = PrepareRequest(**self._common(RESOLVE), secrets=plans.secret_uses(self.build))
        await self.step(RESOLVE, RunActivities.prepare, pin_secrets, ends=False)
        config_map = spec.source.config_map.name if spec.source.config_map else None
        request = ResolveRequest(**self._common(RESOLVE), git=spec.source.git, config_map=config_map)
        source = await self.step(RESOLVE, ImageBuildActivities.resolve, request)
        self.source = SourceStatus(revision=source.revision)
        self._facts()
        return source

    async def _build(self, source: SourcePin) -> Candidate:
        request = plans.build_request(self.build, source)
        # A registry that refuses this run would refuse the counterweight as well: asked before there is one.
        await self.step(BUILD, ImageBuildActivities.check_access, request, ends=False)
        # Whatever comes, the candidate goes: after a success it lives on in the published repository.
        self._register_candidate(None)
        self._register_artifacts(None)
        self.saga.release_unfinished(JOBS, RunActivities.stop_jobs, StopJobsRequest(**self._common(BUILD)))
        try:
            image = await self.step(BUILD, ImageBuildActivities.build, request, limit=None)
        except Ended as ended:
            found = artifacts.reported(ended.results)
            self._register_artifacts(found)
            self.reported = found or []
            self._facts()
            raise
        self._register_candidate(image.digest)
        self._register_artifacts(image.artifacts)
        self.image = ImageStatus(
            digest=image.digest,
            media_type=image.media_type,
            size=image.size,
            candidate=image.reference,
            artifacts=image.artifacts or [],
        )
        self._facts()
        return image

    def _register_candidate(self, digest: str | None) -> None:
        publish = self.build.spec.publish
        request = RemoveCandidateRequest(
            **self._common(BUILD),
            candidates=publish.candidates,
            tag=plans.run_tag(self.build.run),
            digest=digest,
            registry_login=publish.secret_ref is not None,
        )
        # The candidate's tag is how a later attempt knows which published digest is the run's.
        self.saga.release(CANDIDATE, ImageBuildActivities.remove_candidate, request, step=BUILD, after=(TAGS,))

    def _register_artifacts(self, found: list[BuildArtifact] | None) -> None:
        """What lies outside of the registry goes with the run; None: what there is, is not known."""
        request = plans.delete_artifacts_request(self.build, found)
        if request is None:
            self.saga.drop(ARTIFACTS)
        else:
            self.saga.undo(ARTIFACTS, ImageBuildActivities.delete_artifacts, request)

    async def _test(self, source: SourcePin, image: Candidate) -> None:
        """All tests, each to its end, so that one run names all that fail."""
        tests = [
            self.step(
                plans.test_step(test),
                ImageBuildActivities.test,
                plans.test_request(self.build, test, source, image),
                limit=None,
            )
            for test in self.build.spec.tests
        ]
        outcomes = await asyncio.gather(*tests, return_exceptions=True)
        troubles = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for trouble in sorted(troubles, key=lambda trouble: isinstance(trouble, Ended)):
            raise trouble

    async def _describe(self, image: Candidate) -> bool:
        """Attach the bill of materials. Returns whether there is one."""
        request = SbomRequest(**self._image_request(SBOM, image).model_dump(), created=self.now())
        return self._attached(SBOM, await self.step(SBOM, AttestationActivities.sbom, request))

    async def _sign(self, image: Candidate) -> None:
        await self.step(SIGN, ImageBuildActivities.sign, self._image_request(SIGN, image))

    async def _attest(self, source: SourcePin, image: Candidate) -> bool:
        """Attach the provenance. Returns whether there is one."""
        facts = self._build_facts(source, image)
        request = AttestRequest(**self._image_request(ATTEST, image).model_dump(), facts=facts)
        return self._attached(ATTEST, await self.step(ATTEST, AttestationActivities.attest, request))

    def _attached(self, step: str, report: Attached) -> bool:
        if not report.attached:
            self.not_needed(step, report.reason)
        return report.attached

    def _build_facts(self, source: SourcePin, image: Candidate) -> BuildFacts:
        info = workflow.info()
        invocation = f"{info.namespace}/{info.workflow_id}/{info.run_id}"
        started, built = int(info.start_time.timestamp()), self.steps[BUILD].finished
        return provenance_plans.facts(self.build, source, image.bases, invocation, started, built or self.now())

    async def _verify(self, source: SourcePin, image: Candidate, *, sbom: bool, provenance: bool) -> None:
        """Only what was verified is told."""
        request = self._image_request(VERIFY, image)
        attestations = sbom or provenance
        signed = await self.step(VERIFY, ImageBuildActivities.verify, request, ends=not attestations)
        attested = VerifiedAttestations()
        if attestations:
            facts = self._build_facts(source, image)
            wanted = VerifyAttestationsRequest(**request.model_dump(), facts=facts, sbom=sbom, provenance=provenance)
            attested = await self.step(VERIFY, AttestationActivities.verify, wanted)
        if self.image is not None:
            found = {"signature": signed.signature, "sbom": attested.sbom, "provenance": attested.provenance}
            self.image = self.image.model_copy(update=found)
        self._facts()

    async def _publish(self, image: Candidate) -> None:
        spec = self.build.spec.publish
        await self.approved(PUBLISH, image.digest, spec.approval)
        common = self._image_request(PUBLISH, image).model_dump()
        restore = RestoreTagsRequest(**common, repository=spec.repository, tags=spec.tags)
        self.saga.undo(TAGS, PublicationActivities.restore_tags, restore, step=PUBLISH)
        request = PublishRequest(**common, repository=spec.repository, tags=spec.tags)
        published = await self.step(PUBLISH, PublicationActivities.publish, request)
        self.published = PublishedStatus(repository=spec.repository, tags=published.tags)
        if self.image is not None:
            reference = f"{spec.repository}@{image.digest}"
            self.image = self.image.model_copy(update={"reference": reference})
        self._facts()

    def before_settling(self, outcome: Phase) -> None:
        # Who cancels or deletes wants nothing to stay; a failure's Jobs stay readable for an hour.
        self.saga.amend(JOBS, finished_too=outcome == Phase.CANCELLED)
        releases = plans.releases(self.build, succeeded=outcome == Phase.SUCCEEDED)
        self.saga.amend(CREDENTIALS, **releases)
        self.kept = bool(releases.get("keep"))

    def undone(self, name: str) -> None:
        if name == CANDIDATE and self.image is not None:
            self.image = self.image.model_copy(update={"candidate": ""})
        if name == ARTIFACTS:
            self.reported = []
            self.image = self.image.model_copy(update={"artifacts": []}) if self.image else None
        if name == TAGS and self.image is not None:
            self.published = None
            self.image = self.image.model_copy(update={"reference": ""})
        self._facts()

    def result(self, common: dict[str, Any]) -> ImageBuildResult:
        known = {"source": self.source, "image": self.image, "published": self.published}
        return ImageBuildResult(**common, **known, reported=self.reported, kept=self.kept)

    def _facts(self) -> None:
        known = {"source": self.source, "image": self.image, "published": self.published}
        self.facts = {name: value.to_wire() for name, value in known.items() if value is not None}
        if self.reported:
            self.facts["reported"] = [item.to_wire() for item in self.reported]
        self.stir()

    def _image_request(self, step: str, image: Candidate) -> ImageRequest:
        login = self.build.spec.publish.secret_ref is not None
        return ImageRequest(**self._common(step), image=image, registry_login=login)

    def _common(self, step: str) -> dict[str, Any]:
        return plans.common(self.build, step)


@workflow.defn(name=names.undo_workflow("ImageBuild"))
class ImageBuildUndoWorkflow(Undo):
    """Takes back what a run of an ImageBuild left."""

    kind = "ImageBuild"

    @workflow.init
    def __init__(self, undo: ImageBuildUndoInput) -> None:
        super().__init__(undo)
        self.undo = undo

    @workflow.run
    async def run(self, undo: ImageBuildUndoInput) -> UndoResult:
        """Returns how it went; it completes also where something is left."""
        return await self.live()

    def register(self) -> None:
        undo = self.undo
        keep = {"keep": undo.undo, "earlier": Earlier.NONE} if undo.undo else {}
        self.saga.release(CREDENTIALS, RunActivities.release_all, plans.undo_releases(undo), if_left=keep)
        publications = plans.undo_publications(undo)
        labels = [TAGS, *(f"{TAGS} of {request.repository}" for request in publications[1:])]
        self.saga.release(
            CANDIDATE, ImageBuildActivities.remove_candidate, plans.undo_candidate(undo), after=(labels[0],)
        )
        for number, deletion in plans.undo_artifacts(undo).items():
            own = number == undo.run.number
            name = ARTIFACTS if own else f"{ARTIFACTS} in run {number}"
            self.saga.undo(name, ImageBuildActivities.delete_artifacts, deletion)
        for name, request in zip(labels, publications, strict=True):
            self.saga.undo(name, PublicationActivities.undo_publications, request)
        # First of all: what still runs could push again.
        stop = StopJobsRequest(**plans.undo_common(undo, BUILD), finished_too=True)
        self.saga.release(JOBS, RunActivities.stop_jobs, stop)
