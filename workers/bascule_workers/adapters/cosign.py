"""Signing and verifying with cosign, without any service but the registry."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bascule_workers.adapters import cosign_attestations
from bascule_workers.adapters.cosign_command import AWAY, PREDICATE, error, explained, key_file, run
from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.registry_login import docker_config
from bascule_workers.errors import (
    SigningFailedError,
    VerificationFailedError,
)
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import Attestation, PredicateType, SigningKey

_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"


class CosignSigner:
    """The port `Signer`. The key reaches cosign by its environment, never by a file or an argument."""

    def __init__(self, verifier: CosignVerifier) -> None:
        self._verifier = verifier

    async def sign(self, repository: Repository, digest: str, key: SigningKey, annotations: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as home:
            environment = {"BASCULE_SIGNING_KEY": key.pem, "COSIGN_PASSWORD": key.password} | docker_config(
                Path(home), repository
            )
            shown = await run(["public-key", "--key", "env://BASCULE_SIGNING_KEY"], environment, home)
            if shown.code != 0:
                raise SigningFailedError(explained("the signing key cannot be read", shown, repository, key))
            # A step that is repeated after its effect finds its own signature.
            if await self._verifier.problem(repository, digest, shown.output, annotations) is not None:
                argv = ["sign", "--key", "env://BASCULE_SIGNING_KEY", "--yes"]
                # No transparency log and no signing service: builds may be confidential, and no network is needed.
                argv += ["--use-signing-config=false", "--tlog-upload=false", *_claims(annotations)]
                signed = await run([*argv, "--", f"{repository.name}@{digest}"], environment, home)
                if signed.code != 0:
                    raise error(signed, SigningFailedError, "cosign cannot sign", repository, key)


class CosignVerifier:
    """The port `Verifier`: a process of its own, which sees a public key only."""

    def __init__(self, registry: OciRegistry) -> None:
        self._registry = registry

    async def verify(self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]) -> str:
        problem = await self.problem(repository, digest, public_key, annotations)
        if problem is not None:
            raise VerificationFailedError(problem)
        return await self._signature(repository, digest)

    async def problem(
        self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]
    ) -> str | None:
        """What is wrong with the image's signature, or None. Raises RegistryUnavailableError."""
        with tempfile.TemporaryDirectory() as home:
            argv = [
                "verify",
                "--key",
                key_file(home, public_key),
                "--insecure-ignore-tlog=true",
                "--output",
                "json",
            ]
            argv += [*_claims(annotations), "--", f"{repository.name}@{digest}"]
            found = await run(argv, docker_config(Path(home), repository), home)
        if found.code != 0:
            if AWAY.search(found.errors):
                raise error(found, VerificationFailedError, "cosign cannot verify", repository, None)
            return explained(f"{repository.name}@{digest} is not signed by this key", found, repository, None)
        signed = {entry["critical"]["image"]["docker-manifest-digest"] for entry in json.loads(found.output)}
        return None if signed == {digest} else f"the signature is for {', '.join(sorted(signed))}, not for {digest}"

    async def attestations(
        self, repository: Repository, digest: str, public_key: str, kind: PredicateType
    ) -> list[Attestation]:
        return await cosign_attestations.attestations(self._registry, repository, digest, public_key, kind)

    async def _signature(self, repository: Repository, digest: str) -> str:
        """The digest of the signature's manifest."""
        for entry in await self._registry.referrers(repository, digest):
            fetched = await self._registry.fetch(repository, entry["digest"])
            annotations = (fetched.content.get("annotations") or {}) if fetched else {}
            if annotations.get(PREDICATE, _SIGNATURE) == _SIGNATURE:
                return str(entry["digest"])
        older = await self._registry.fetch(repository, f"{digest.replace(':', '-', 1)}.sig")
        if older is None:
            raise VerificationFailedError(f"the signature of {repository.name}@{digest} went away")
        return older.digest


def _claims(annotations: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(annotations.items()) for word in ("--annotations", f"{name}={value}")]
