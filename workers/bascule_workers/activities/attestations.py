"""What the platform attests of an image: its bill of materials and its provenance, signed with the platform's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from temporalio import activity

from bascule_workers.activities.image_builds import ImageBuildPorts
from bascule_workers.activities.logins import logged_in
from bascule_workers.errors import VerificationFailedError
from bascule_workers.messages import (
    Attached,
    AttestRequest,
    Done,
    ImageRequest,
    NotYet,
    SbomRequest,
    VerifiedAttestations,
    VerifyAttestationsRequest,
)
from bascule_workers.plans import provenance, sboms
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import PredicateType

NO_KEY = "the platform has no signing key: the chart's provenance.keySecretName is empty"


class AttestationActivities:
    """The steps `sbom` and `attest`, and the attestations' part of `verify`."""

    def __init__(self, ports: ImageBuildPorts) -> None:
        self._ports = ports

    @activity.defn(name="image_build.sbom")
    async def sbom(self, request: SbomRequest) -> Done[Attached] | NotYet:
        """Make the candidate's bill of materials and attach it, once."""
        key = self._ports.platform_key.private()
        if key is None:
            return Done(value=Attached(attached=False, reason=NO_KEY))
        repository, digest = await self._repository(request), request.image.digest
        manifest = await self._ports.registry.manifest(repository, digest)
        if manifest is None:
            raise VerificationFailedError(f"{request.image.reference} is not in the registry")
        if manifest.config_type == sboms.EMPTY_CONFIG:
            return Done(value=Attached(attached=False, reason="the candidate is an artifact, not an image"))
        if not await self._is_attached(repository, digest, PredicateType.SPDX):
            document = sboms.attached(await self._ports.sboms.describe(repository, digest), digest, request.created)
            if wrong := sboms.wrong(document, digest):
                raise VerificationFailedError(wrong)
            await self._ports.attester.attest(repository, digest, key, PredicateType.SPDX, document)
        return Done(value=Attached(attached=True))

    @activity.defn(name="image_build.attest")
    async def attest(self, request: AttestRequest) -> Done[Attached] | NotYet:
        """Attach the provenance, once."""
        key = self._ports.platform_key.private()
        if key is None:
            return Done(value=Attached(attached=False, reason=NO_KEY))
        repository, digest = await self._repository(request), request.image.digest
        if not await self._is_attached(repository, digest, PredicateType.SLSA_PROVENANCE):
            predicate = provenance.predicate(request, self._ports.builder.id, self._ports.builder.version)
            await self._ports.attester.attest(repository, digest, key, PredicateType.SLSA_PROVENANCE, predicate)
        return Done(value=Attached(attached=True))

    @activity.defn(name="image_build.verify_attestations")
    async def verify(self, request: VerifyAttestationsRequest) -> Done[VerifiedAttestations] | NotYet:
        """Check what was attached: with the platform's public key and no private one, everything fetched anew."""
        digest, builder = request.image.digest, self._ports.builder.id

        def wrong_sbom(predicate: Mapping[str, Any]) -> str:
            return sboms.wrong(predicate, digest)

        def wrong_provenance(predicate: Mapping[str, Any]) -> str:
            return provenance.wrong(predicate, request, builder)

        sbom = await self._verified(request, PredicateType.SPDX, wrong_sbom) if request.sbom else None
        attested = (
            await self._verified(request, PredicateType.SLSA_PROVENANCE, wrong_provenance)
            if request.provenance
            else None
        )
        return Done(value=VerifiedAttestations(sbom=sbom, provenance=attested))

    async def _verified(
        self, request: ImageRequest, kind: PredicateType, wrong: Callable[[Mapping[str, Any]], str]
    ) -> str:
        """The manifest of the first attestation that is right."""
        public_key = self._ports.platform_key.public()
        if not public_key:
            raise VerificationFailedError("the platform has no public key: the chart's provenance.publicKey is empty")
        repository = await self._repository(request)
        found = await self._ports.verifier.attestations(repository, request.image.digest, public_key, kind)
        problems = []
        for attestation in found:
            if problem := wrong(attestation.predicate):
                problems.append(problem)
            else:
                return attestation.digest
        missing = f"{request.image.reference} has no attestation {kind} by the platform's key"
        raise VerificationFailedError("; ".join(problems) or missing)

    async def _is_attached(self, repository: Repository, digest: str, kind: PredicateType) -> bool:
        """A step that is repeated after its effect finds its own attestation."""
        public_key = self._ports.platform_key.public()
        return bool(public_key and await self._ports.verifier.attestations(repository, digest, public_key, kind))

    async def _repository(self, request: ImageRequest) -> Repository:
        return await logged_in(self._ports.objects, request, request.image.repository, login=request.registry_login)
