"""Signing and verifying with cosign, without any service but the registry."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.processes import Finished, execute
from bascule_workers.errors import (
    RegistryUnavailableError,
    SigningFailedError,
    VerificationFailedError,
    WorkerError,
)
from bascule_workers.plans.failures import redacted, shortened
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import SigningKey

_LIMIT_SECONDS = 120.0
_PREDICATE = "dev.sigstore.bundle.predicateType"
_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
_AWAY = re.compile(
    r"connection (refused|reset)|no such host|no route to host|i/o timeout|handshake timeout|network is unreachable"
    r"|unexpected EOF|\b50[0-9]\b|TOOMANYREQUESTS|server misbehaving|deadline exceeded",
    re.IGNORECASE,
)


class CosignSigner:
    """The port `Signer`. The key reaches cosign by its environment, never by a file or an argument."""

    def __init__(self, verifier: CosignVerifier) -> None:
        self._verifier = verifier

    async def sign(self, repository: Repository, digest: str, key: SigningKey, annotations: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as home:
            environment = {"BASCULE_SIGNING_KEY": key.pem, "COSIGN_PASSWORD": key.password} | _login(home, repository)
            shown = await _cosign(["public-key", "--key", "env://BASCULE_SIGNING_KEY"], environment, home)
            if shown.code != 0:
                raise SigningFailedError(_explained("the signing key cannot be read", shown, repository, key))
            # A step that is repeated after its effect finds its own signature.
            if await self._verifier.problem(repository, digest, shown.output, annotations) is not None:
                argv = ["sign", "--key", "env://BASCULE_SIGNING_KEY", "--yes"]
                # No transparency log and no signing service: builds may be confidential, and no network is needed.
                argv += ["--use-signing-config=false", "--tlog-upload=false", *_claims(annotations)]
                signed = await _cosign([*argv, "--", f"{repository.name}@{digest}"], environment, home)
                if signed.code != 0:
                    raise _error(signed, SigningFailedError, "cosign cannot sign", repository, key)


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
            argv = ["verify", "--key", _key_file(home, public_key), "--insecure-ignore-tlog=true", "--output", "json"]
            argv += [*_claims(annotations), "--", f"{repository.name}@{digest}"]
            found = await _cosign(argv, _login(home, repository), home)
        if found.code != 0:
            if _AWAY.search(found.errors):
                raise _error(found, VerificationFailedError, "cosign cannot verify", repository, None)
            return _explained(f"{repository.name}@{digest} is not signed by this key", found, repository, None)
        signed = {entry["critical"]["image"]["docker-manifest-digest"] for entry in json.loads(found.output)}
        return None if signed == {digest} else f"the signature is for {', '.join(sorted(signed))}, not for {digest}"

    async def _signature(self, repository: Repository, digest: str) -> str:
        """The digest of the signature's manifest."""
        for entry in await self._registry.referrers(repository, digest):
            fetched = await self._registry.fetch(repository, entry["digest"])
            annotations = (fetched.content.get("annotations") or {}) if fetched else {}
            if annotations.get(_PREDICATE, _SIGNATURE) == _SIGNATURE:
                return str(entry["digest"])
        older = await self._registry.fetch(repository, f"{digest.replace(':', '-', 1)}.sig")
        if older is None:
            raise VerificationFailedError(f"the signature of {repository.name}@{digest} went away")
        return older.digest


async def _cosign(argv: list[str], environment: Mapping[str, str], home: str) -> Finished:
    try:
        return await execute(["cosign", *argv], environment, home, _LIMIT_SECONDS)
    except TimeoutError:
        raise RegistryUnavailableError(f"cosign {argv[0]} did not end within {_LIMIT_SECONDS:.0f} s") from None


def _key_file(home: str, public_key: str) -> str:
    key = Path(home, "cosign.pub")
    key.write_text(public_key)
    return str(key)


def _login(home: str, repository: Repository) -> dict[str, str]:
    """The environment by which cosign finds the registry's login."""
    config = Path(home, "docker")
    config.mkdir(mode=0o700)
    auths = {}
    if repository.login:
        auths[repository.host] = {"username": repository.login.username, "password": repository.login.password}
    (config / "config.json").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(config)}


def _claims(annotations: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(annotations.items()) for word in ("--annotations", f"{name}={value}")]


def _error(
    finished: Finished, final: type[WorkerError], what: str, repository: Repository, key: SigningKey | None
) -> WorkerError:
    kind = RegistryUnavailableError if _AWAY.search(finished.errors) else final
    return kind(_explained(what, finished, repository, key))


def _explained(what: str, finished: Finished, repository: Repository, key: SigningKey | None) -> str:
    secrets = [repository.login.password] if repository.login else []
    secrets += [key.pem, key.password] if key else []
    said = finished.last_error.removeprefix("error during command execution: ")
    return f"{what}: {shortened(redacted(said, secrets), 512)}"
