"""The steps of an ImageBuild."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

from bascule_api import names
from bascule_api.failures import FailureType
from bascule_workers.activities.common import JobRunner, run_credentials
from bascule_workers.activities.logins import logged_in
from bascule_workers.errors import (
    RegistryRefusedError,
    RegistryUnavailableError,
    SourceNotFoundError,
    StepFailedError,
    VerificationFailedError,
)
from bascule_workers.messages import (
    BuildRequest,
    Candidate,
    DeleteArtifactsRequest,
    Done,
    GitPin,
    ImageRequest,
    JobRequest,
    Left,
    NotYet,
    RemoveCandidateRequest,
    ResolveRequest,
    SourcePin,
    StepRequest,
    TestReport,
    Verified,
)
from bascule_workers.plans import artifacts, bases, credentials, failures
from bascule_workers.plans import image_builds as plans
from bascule_workers.plans.jobs import JobSettings
from bascule_workers.plans.outcomes import Running
from bascule_workers.ports.git import Git
from bascule_workers.ports.leases import Leases
from bascule_workers.ports.logs import Logs
from bascule_workers.ports.registry import Manifest, Registry, Repository
from bascule_workers.ports.sboms import Sboms
from bascule_workers.ports.secrets import Objects
from bascule_workers.ports.signer import Attester, PlatformKey, Signer, SigningKey, Verifier
from bascule_workers.ports.steps import Steps
from bascule_workers.ports.tenants import Tenants


@dataclass(frozen=True)
class Builder:
    """Who builds, as provenance names it."""

    id: str
    """A URI."""
    version: str


@dataclass(frozen=True)
class ImageBuildPorts:
    """What the steps of an ImageBuild need of the world."""

    objects: Objects
    steps: Steps
    git: Git
    registry: Registry
    signer: Signer
    verifier: Verifier
    sboms: Sboms
    attester: Attester
    platform_key: PlatformKey
    builder: Builder
    tenants: Tenants
    logs: Logs
    leases: Leases
    job_settings: JobSettings


class ImageBuildActivities:
    """One method per step and counterweight; each may die before or after its effect and be repeated."""

    def __init__(self, ports: ImageBuildPorts) -> None:
        self._ports = ports
        self._jobs = JobRunner.of(ports)

    @activity.defn(name="image_build.resolve")
    async def resolve(self, request: ResolveRequest) -> Done[SourcePin] | NotYet:
        """Pin the source: the commit, or a copy of the ConfigMap."""
        if request.git is None:
            return Done(value=await self._copied_config_map(request))
        wanted = request.git.secret_ref is not None
        own = await run_credentials(self._ports.objects, request, wanted=wanted)
        commit = await self._ports.git.resolve(request.git.url, request.git.revision, own.git())
        pin = GitPin(url=request.git.url, commit=commit, path=request.git.path, login=wanted)
        return Done(value=SourcePin(revision=commit, git=pin))

    async def _copied_config_map(self, request: ResolveRequest) -> SourcePin:
        objects, steps_namespace = self._ports.objects, request.tenant.steps_namespace
        copy = await objects.config_map(steps_namespace, credentials.source_name(request.run))
        if copy is None:
            original = await objects.config_map(request.run.namespace, request.config_map or "")
            if original is None:
                raise SourceNotFoundError(
                    f"spec.source.configMap names the ConfigMap {request.run.namespace}/{request.config_map}, "
                    "which does not exist"
                )
            copy = credentials.run_config_map(request.run, request.tenant, original)
            await objects.create([copy])
        return SourcePin(revision=credentials.config_map_digest(copy))

    @activity.defn(name="image_build.check_access")
    async def check_access(self, request: BuildRequest) -> Done[Left] | NotYet:
        """Ask both repositories whether this run may push, before anything exists that would have to be deleted.

        Raises RegistryRefusedError, RegistryUnavailableError.
        """
        candidates = await self._repository(request, request.candidates, login=request.registry_login)
        await self._ports.registry.check_push(candidates)
        await self._ports.registry.check_push(Repository(request.repository, candidates.login))
        return Done(value=Left())

    @activity.defn(name="image_build.build")
    async def build(self, request: BuildRequest) -> Done[Candidate] | NotYet:
        """Build and push the candidate, and read from the registry what it is."""
        candidates = await self._repository(request, request.candidates, login=request.registry_login)
        # The attempt before was lost, and may have pushed first: then this is the candidate.
        found = await self._pushed(request, candidates) if request.job_attempt > 1 else None
        if found is not None:
            return Done(value=_candidate(candidates, found))
        cache, without = await self._cache(request)
        job = request.model_copy(update={"cache": cache})
        outcome = await self._jobs.run(job, FailureType.BUILD_FAILED, plans.job_traits(job))
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note)
        ended, log = outcome
        manifest = await self._pushed(request, candidates)
        if manifest is None:
            raise StepFailedError(f"the build ended, but {request.candidate} is not there", FailureType.BUILD_FAILED)
        if (reported := ended.results.get("digest")) and reported != manifest.digest:
            message = f"the build reported {reported}, but {request.candidate} is {manifest.digest}"
            raise StepFailedError(message, FailureType.BUILD_FAILED)
        made = {"artifacts": artifacts.reported(ended.results), "bases": bases.reported(ended.results)}
        value = _candidate(candidates, manifest).model_copy(update=made)
        return Done(value=value, log=log.digest, message=log.note or without)

    async def _cache(self, request: BuildRequest) -> tuple[str, str]:
        """The repository of the tenant's layers, or why there is none just now: a build without only takes longer."""
        name = await self._ports.tenants.build_cache(request.tenant.name)
        if name is None:
            return "", ""
        try:
            await self._ports.registry.check_push(await self._repository(request, name, login=request.registry_login))
        except (RegistryRefusedError, RegistryUnavailableError) as error:
            return "", failures.shortened(f"built without the cache {name}: {error}")
        return name, ""

    async def _pushed(self, request: BuildRequest, candidates: Repository) -> Manifest | None:
        manifest = await self._ports.registry.manifest(candidates, request.tag)
        if manifest and (wrong := plans.not_ours(manifest.annotations, request.run, request.candidate)):
            raise StepFailedError(wrong, FailureType.BUILD_FAILED)
        return manifest

    @activity.defn(name="image_build.test")
    async def test(self, request: JobRequest) -> Done[TestReport] | NotYet:
        """Run one test of the candidate."""
        outcome = await self._jobs.run(request, FailureType.TEST_FAILED, plans.job_traits(request))
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note)
        ended, log = outcome
        return Done(value=TestReport(message=ended.message), log=log.digest, message=log.note)

    @activity.defn(name="image_build.sign")
    async def sign(self, request: ImageRequest) -> Done[Left] | NotYet:
        """Sign the candidate by digest, once."""
        own = await run_credentials(self._ports.objects, request, wanted=True)
        key = SigningKey(own.values["cosign.key"], own.values["cosign.password"])
        host = request.image.repository.partition("/")[0]
        repository = Repository(request.image.repository, own.login(host) if request.registry_login else None)
        await self._ports.signer.sign(repository, request.image.digest, key, _claims(request))
        return Done(value=Left())

    @activity.defn(name="image_build.verify")
    async def verify(self, request: ImageRequest) -> Done[Verified] | NotYet:
        """Check what was signed: with the Tenant's public key and no private one, everything fetched anew."""
        public_key = await self._ports.tenants.public_key(request.tenant.name)
        if not public_key:
            raise VerificationFailedError(f"the Tenant {request.tenant.name} has no spec.signing.publicKey")
        repository = await self._repository(request, request.image.repository, login=request.registry_login)
        manifest = await self._ports.registry.manifest(repository, request.image.digest)
        if manifest is None:
            raise VerificationFailedError(f"{request.image.reference} is not in the registry")
        if wrong := plans.not_ours(manifest.annotations, request.run, request.image.reference):
            raise VerificationFailedError(wrong)
        signature = await self._ports.verifier.verify(repository, request.image.digest, public_key, _claims(request))
        return Done(value=Verified(signature=signature))

    @activity.defn(name="image_build.remove_candidate")
    async def remove_candidate(self, request: RemoveCandidateRequest) -> Done[Left] | NotYet:
        """Delete the run's candidate and its signature, also where only the run's tag is known."""
        registry = self._ports.registry
        candidates = await logged_in(
            self._ports.objects, request, request.candidates, login=request.registry_login, secret=request.secret
        )
        left, found = set(), 0
        for reference in filter(None, (request.digest, request.tag)):
            manifest = await registry.manifest(candidates, reference)
            if manifest is None:
                continue
            name = f"{candidates.name}@{manifest.digest}"
            if plans.not_ours(manifest.annotations, request.run, name) or not await registry.delete(
                candidates, manifest.digest
            ):
                left.add(name)
            else:
                found += 1
        return Done(value=Left(items=sorted(left), found=found))

    @activity.defn(name="image_build.delete_artifacts")
    async def delete_artifacts(self, request: DeleteArtifactsRequest) -> Done[Left] | NotYet:
        """Have what the build made outside of the registry deleted, by the Procedure that the build's one names."""
        if request.job is None:
            told = [f"{name}: {request.problem}" for name in ("what the build made elsewhere",) if request.problem]
            return Done(value=Left(items=[*artifacts.words(request.artifacts), *told]))
        attempt = {"job_attempt": request.job_attempt, "note": request.note, "compensating": True}
        job = request.job.model_copy(update=attempt)
        outcome = await self._jobs.run(job, FailureType.STEP_FAILED, plans.job_traits(job))
        if isinstance(outcome, Running):
            return NotYet(reason=outcome.note)
        return Done(value=Left(found=len(request.artifacts)))

    async def _repository(self, request: StepRequest, name: str, *, login: bool) -> Repository:
        return await logged_in(self._ports.objects, request, name, login=login)


def _candidate(repository: Repository, manifest: Manifest) -> Candidate:
    return Candidate(
        repository=repository.name, digest=manifest.digest, media_type=manifest.media_type, size=manifest.size
    )


def _claims(request: ImageRequest) -> dict[str, str]:
    """What the signature says besides the digest."""
    return {names.IMAGE_RUN_ANNOTATION: plans.run_of(request.run)}
