"""Statements about images with cosign: attached with one key, read back with the other half of it."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bascule_workers.adapters.cosign_command import PREDICATE, error, key_file, run
from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.registry_login import docker_config
from bascule_workers.errors import SigningFailedError, VerificationFailedError
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import Attestation, PredicateType, SigningKey

BUNDLE_LIMIT = 64 << 20
"""Bytes of a bundle: a bill of materials at its limit, in base64, and more."""
_WORDS = {PredicateType.SPDX: "spdxjson", PredicateType.SLSA_PROVENANCE: "slsaprovenance1"}
_NONE = ("none of the attestations matched", "no matching attestations", "no attestations", "no signatures found")


class CosignAttester:
    """The port `Attester`. The key reaches cosign by its environment, never by a file or an argument."""

    async def attest(
        self, repository: Repository, digest: str, key: SigningKey, kind: PredicateType, predicate: Mapping[str, Any]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            (home / "predicate.json").write_text(json.dumps(predicate))
            environment = {"BASCULE_SIGNING_KEY": key.pem, "COSIGN_PASSWORD": key.password}
            argv = ["attest", "--key", "env://BASCULE_SIGNING_KEY", "--yes", "--type", _WORDS[kind]]
            argv += ["--use-signing-config=false", "--tlog-upload=false", "--predicate", str(home / "predicate.json")]
            argv += ["--", f"{repository.name}@{digest}"]
            done = await run(argv, environment | docker_config(home, repository), folder)
            if done.code != 0:
                raise error(done, SigningFailedError, "cosign cannot attest", repository, key)


async def attestations(
    registry: OciRegistry, repository: Repository, digest: str, public_key: str, kind: PredicateType
) -> list[Attestation]:
    """What `Verifier.attestations` promises."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        argv = [
            "verify-attestation",
            "--key",
            key_file(folder, public_key),
            "--insecure-ignore-tlog=true",
        ]
        argv += ["--type", _WORDS[kind], "--", f"{repository.name}@{digest}"]
        # A file: the statement may be far larger than what a command usually prints.
        printed = home / "statements"
        done = await run(argv, docker_config(home, repository), folder, printed)
        if done.code != 0:
            if any(words in done.errors for words in _NONE):
                return []
            raise error(done, VerificationFailedError, "cosign cannot verify", repository, None)
        payloads = await asyncio.to_thread(_payloads, printed)
    found = []
    for manifest, payload in (await _attached(registry, repository, digest, kind)).items():
        if payload in payloads:
            found.append(Attestation(manifest, _predicate(payload, digest, kind)))
    return found


def _payloads(printed: Path) -> set[str]:
    """One envelope a line."""
    with printed.open() as lines:
        return {json.loads(line)["payload"] for line in lines if line.strip()}


async def _attached(registry: OciRegistry, repository: Repository, digest: str, kind: PredicateType) -> dict[str, str]:
    """Payloads by the manifest that holds them, whoever signed them: cosign names no manifest."""
    found = {}
    for entry in await registry.referrers(repository, digest):
        fetched = await registry.fetch(repository, entry["digest"])
        annotations = (fetched.content.get("annotations") or {}) if fetched else {}
        if fetched is None or annotations.get(PREDICATE) != kind or len(fetched.blobs) != 2:
            continue
        blob = await registry.blob(repository, fetched.blobs[1]["digest"], BUNDLE_LIMIT)
        try:
            found[fetched.digest] = str(json.loads(blob)["dsseEnvelope"]["payload"])
        except (ValueError, KeyError, TypeError):
            # Somebody else's: cosign did not take it either.
            continue
    return found


def _predicate(payload: str, digest: str, kind: PredicateType) -> Mapping[str, Any]:
    """The predicate of a verified statement. Raises VerificationFailedError when it speaks of something else."""
    statement = json.loads(base64.b64decode(payload))
    subjects = {subject.get("digest", {}).get("sha256") for subject in statement.get("subject") or []}
    if subjects != {digest.removeprefix("sha256:")}:
        raise VerificationFailedError(f"an attestation of {digest} is about {', '.join(sorted(map(str, subjects)))}")
    if statement.get("predicateType") != kind:
        raise VerificationFailedError(f"an attestation of {digest} states {statement.get('predicateType')}, not {kind}")
    predicate: Mapping[str, Any] = statement.get("predicate") or {}
    return predicate
