"""Pure planning of an ImageBuild: its steps, names and requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bascule_api import names
from bascule_api.image_builds import BuildArtifact, Elsewhere, ImageBuildInput, ImageBuildUndoInput, Publication, Test
from bascule_api.procedures import PinnedProcedure
from bascule_api.progress import RunIdentity
from bascule_api.runs import OnDelete
from bascule_workers.messages import (
    BuildRequest,
    Candidate,
    DeleteArtifactsRequest,
    Earlier,
    JobRequest,
    ReleaseRequest,
    RemoveCandidateRequest,
    SecretUse,
    SourcePin,
    UndoPublicationsRequest,
)
from bascule_workers.plans import artifacts, credentials
from bascule_workers.plans.jobs import JobTraits

RESOLVE, BUILD, SBOM, SIGN, ATTEST, VERIFY, PUBLISH = "resolve", "build", "sbom", "sign", "attest", "verify", "publish"
REGISTRY = "/run/bascule/registry"
UNDO_BUILD = "undo-build"
"""Not a step of a run, but its counterweight's Job is named after it."""
KEEP_SECONDS = 3600
"""How long a finished Job stays after the run may have ended."""
KEEP_UNDO_SECONDS = 60
"""How long a finished Job of a counterweight stays: when its resource goes, nothing is to stay; a failed one is tried
again."""


def test_step(test: Test) -> str:
    return f"test-{test.name}"


def steps(build: ImageBuildInput) -> list[str]:
    """The names of the run's steps, in the order in which they begin."""
    tests = (test_step(test) for test in build.spec.tests)
    return [RESOLVE, BUILD, *tests, SBOM, SIGN, ATTEST, VERIFY, PUBLISH]


def run_tag(run: RunIdentity) -> str:
    """The tag under which the run's candidate is pushed: found again although its build was lost."""
    return f"r-{run.uid}-{run.number}"


def run_of(run: RunIdentity) -> str:
    return names.run_of(run.uid, run.number)


def secret_uses(build: ImageBuildInput) -> list[SecretUse]:
    """The Secrets that the spec names, and where their content would be sent."""
    git, publish = build.spec.source.git, build.spec.publish
    uses = [SecretUse(field="spec.sign.keySecretRef", name=build.spec.sign.key_secret_ref.name, use="signing")]
    if git and git.secret_ref:
        uses.append(SecretUse(field="spec.source.git.secretRef", name=git.secret_ref.name, use="git", hosts=[git.host]))
    if publish.secret_ref:
        hosts = sorted({publish.host, publish.candidates.partition("/")[0]})
        uses.append(
            SecretUse(field="spec.publish.secretRef", name=publish.secret_ref.name, use="registry", hosts=hosts)
        )
    return uses


def build_request(build: ImageBuildInput, source: SourcePin) -> BuildRequest:
    spec = build.spec.build
    procedure = build.procedures[spec.procedure]
    return BuildRequest(
        **common(build, BUILD),
        procedure=procedure,
        parameters=spec.parameters,
        source=source,
        candidate=f"{build.spec.publish.candidates}:{run_tag(build.run)}",
        timeout_seconds=(spec.timeout or procedure.spec.timeout).seconds,
        keep_seconds=KEEP_SECONDS + build.timeout_seconds,
        registry_login=build.spec.publish.secret_ref is not None,
        repository=build.spec.publish.repository,
        candidates=build.spec.publish.candidates,
        tag=run_tag(build.run),
    )


def test_request(build: ImageBuildInput, test: Test, source: SourcePin, image: Candidate) -> JobRequest:
    procedure = build.procedures[test.procedure]
    return JobRequest(
        **common(build, test_step(test)),
        procedure=procedure,
        parameters=test.parameters,
        source=source,
        candidate=f"{image.repository}:{run_tag(build.run)}",
        image=image.reference,
        timeout_seconds=(test.timeout or procedure.spec.timeout).seconds,
        keep_seconds=KEEP_SECONDS + build.timeout_seconds,
        registry_login=build.spec.publish.secret_ref is not None,
    )


def delete_artifacts_request(
    build: ImageBuildInput, found: Sequence[BuildArtifact] | None
) -> DeleteArtifactsRequest | None:
    """What takes back what the build made outside of the registry; None where there is nothing.

    `found` is what it reported. None: its end is not known, so that there may be anything; then the Procedure that
    deletes looks by the run's name.
    """
    name = build.procedures[build.spec.build.procedure].spec.undo
    if found == [] or (found is None and name is None):
        return None
    known = list(found or [])
    return DeleteArtifactsRequest(
        **common(build, UNDO_BUILD),
        artifacts=known,
        job=_deletion(common(build, UNDO_BUILD), build.spec.publish.candidates, build.procedures[name], known)
        if name
        else None,
    )


def _deletion(
    common: dict[str, Any], candidates: str, procedure: PinnedProcedure, found: Sequence[BuildArtifact]
) -> JobRequest:
    return JobRequest(
        **common,
        procedure=procedure,
        parameters={artifacts.PARAMETER: artifacts.words(found)},
        candidate=f"{candidates}:{run_tag(common['run'])}",
        timeout_seconds=procedure.spec.timeout.seconds,
        keep_seconds=KEEP_UNDO_SECONDS,
    )


def job_traits(request: JobRequest) -> JobTraits:
    """What the Jobs of an ImageBuild have besides what all have: the candidate, and the registry's login."""
    environment = {"BASCULE_CANDIDATE": request.candidate}
    if request.image:
        environment["BASCULE_IMAGE"] = request.image
    if request.cache:
        environment["BASCULE_CACHE"] = request.cache
    login = JobTraits()
    # A build's own program talks to the registry; a test's where the platform says so.
    if request.registry_login and (not request.image or request.procedure.spec.registry_login):
        items = [{"key": credentials.REGISTRY_KEY, "path": "config.json"}]
        secret = {"secretName": credentials.credentials_name(request.run), "items": items}
        login = JobTraits(
            own_mounts=({"name": "bascule-registry", "mountPath": REGISTRY, "readOnly": True},),
            own_environment={"REGISTRY_AUTH_FILE": f"{REGISTRY}/config.json"},
            volumes=({"name": "bascule-registry", "secret": secret},),
        )
    pulls = request.registry_login and request.image
    return replace(
        login,
        depends_on={"candidate": request.candidate, "image": request.image},
        environment=environment,
        candidate=request.image,
        pod={"imagePullSecrets": [{"name": credentials.pull_secret_name(request.run)}]} if pulls else {},
    )


def common(build: ImageBuildInput, step: str) -> dict[str, Any]:
    """What every request of the run begins with."""
    return {"run": build.run, "tenant": build.tenant, "step": step}


def not_ours(annotations: Mapping[str, str], run: RunIdentity, reference: str) -> str:
    """Why an image is not this run's own, or nothing: undo may delete only what is."""
    found = annotations.get(names.IMAGE_RUN_ANNOTATION)
    if found == run_of(run):
        return ""
    return (
        f"{reference} carries the annotation {names.IMAGE_RUN_ANNOTATION}={found or ''}, not {run_of(run)}: "
        "the build's Procedure must write $BASCULE_RUN there"
    )


# Taking back


def releases(build: ImageBuildInput, *, succeeded: bool) -> dict[str, Any]:
    """What becomes of the run's copies at its end: a publication that may be undone later keeps its login."""
    secret = build.spec.publish.secret_ref
    if not succeeded:
        return {}
    if build.compensation.on_delete != OnDelete.ALWAYS:
        earlier = Earlier.ALL if build.run.number > 1 else Earlier.NONE
        return {"earlier": earlier}
    if secret is None:
        return {}
    return {"keep": True, "earlier": Earlier.REPLACED if build.run.number > 1 else Earlier.NONE}


def undo_candidate(undo: ImageBuildUndoInput) -> RemoveCandidateRequest:
    effects = undo.effects
    return RemoveCandidateRequest(
        **undo_common(undo, BUILD),
        candidates=effects.candidates,
        tag=run_tag(undo.run),
        secret=_login(effects.secret, effects.candidates),
    )


def undo_publications(undo: ImageBuildUndoInput) -> list[UndoPublicationsRequest]:
    """One request for each repository, and each login for it; that of the run itself comes first."""
    effects, common = undo.effects, undo_common(undo, PUBLISH)
    standing: dict[tuple[str, str], list[Publication]] = {(effects.repository, effects.secret): []}
    for publication in effects.standing:
        # Within one repository a tag may lead from one run's image to another's: they are taken back together.
        place = (publication.repository, publication.secret)
        place = place if publication.repository != effects.repository else (effects.repository, effects.secret)
        standing.setdefault(place, []).append(publication)
    requests = []
    for (repository, secret), publications in standing.items():
        own = repository == effects.repository
        requests.append(
            UndoPublicationsRequest(
                **common,
                repository=repository,
                tags=effects.tags if own else [],
                candidates=effects.candidates if own else "",
                tag=run_tag(undo.run) if own else "",
                standing=publications,
                secret=_login(secret or _first(publications), repository, *([effects.candidates] if own else [])),
            )
        )
    return requests


def _first(publications: list[Publication]) -> str:
    return next((publication.secret for publication in publications if publication.secret), "")


def undo_artifacts(undo: ImageBuildUndoInput) -> dict[int, DeleteArtifactsRequest]:
    """One request for each run that made, or may have made, something outside of the registry; by the run's number."""
    return {made.run: _undo_artifacts(undo, made) for made in undo.effects.elsewhere}


def _undo_artifacts(undo: ImageBuildUndoInput, made: Elsewhere) -> DeleteArtifactsRequest:
    # Jobs and the Procedure find what is a run's by its name: each is deleted under the name of its own run.
    common = undo_common(undo, UNDO_BUILD) | {"run": undo.run.model_copy(update={"number": made.run})}
    procedure = undo.procedures.get(made.procedure)
    problem = undo.unpinned.get(made.procedure, f"no Procedure {made.procedure}".strip() + " deletes it")
    return DeleteArtifactsRequest(
        **common,
        artifacts=made.artifacts,
        job=_deletion(common, undo.effects.candidates, procedure, made.artifacts) if procedure else None,
        problem="" if procedure else f"run {made.run}: {problem}",
    )


def undo_releases(undo: ImageBuildUndoInput) -> ReleaseRequest:
    return ReleaseRequest(
        **undo_common(undo, RESOLVE),
        secret=undo.effects.secret,
        earlier=Earlier.ALL if undo.final else Earlier.NONE,
    )


def undo_common(undo: ImageBuildUndoInput, step: str) -> dict[str, Any]:
    return {"run": undo.run, "tenant": undo.tenant, "step": step}


def _login(secret: str, *repositories: str) -> SecretUse | None:
    hosts = sorted({repository.partition("/")[0] for repository in repositories})
    return SecretUse(field="spec.publish.secretRef", name=secret, use="registry", hosts=hosts) if secret else None
