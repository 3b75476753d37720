"""Signing, attesting and verifying: ports of their own, so that who verifies holds no private key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from bascule_workers.ports.registry import Repository


@dataclass(frozen=True)
class SigningKey:
    """A private key as cosign writes it, and its password."""

    pem: str = field(repr=False)
    password: str = field(repr=False)


class Signer(Protocol):
    async def sign(self, repository: Repository, digest: str, key: SigningKey, annotations: Mapping[str, str]) -> None:
        """Make sure that the image has one signature by this key; one that it has already is not repeated.

        Raises SigningFailedError, RegistryRefusedError, RegistryUnavailableError.
        """


@dataclass(frozen=True)
class Attestation:
    """A signed statement about an image."""

    digest: str
    """Of the manifest that holds it."""
    predicate: Mapping[str, Any]


class PredicateType(StrEnum):
    """What is stated, by its URI."""

    SPDX = "https://spdx.dev/Document"
    SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"


class Attester(Protocol):
    async def attest(
        self, repository: Repository, digest: str, key: SigningKey, kind: PredicateType, predicate: Mapping[str, Any]
    ) -> None:
        """Attach a statement about the digest, signed by the key. Calling again attaches it again.

        Raises SigningFailedError, RegistryRefusedError, RegistryUnavailableError.
        """


class PlatformKey(Protocol):
    """The platform's key pair; each half is None where the platform has none."""

    def private(self) -> SigningKey | None: ...

    def public(self) -> str | None: ...


class Verifier(Protocol):
    async def verify(self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]) -> str:
        """Check, with everything fetched anew, that the public key's owner signed this digest with these annotations.

        Returns the digest of the signature's manifest. Raises VerificationFailedError, RegistryUnavailableError.
        """

    async def attestations(
        self, repository: Repository, digest: str, public_key: str, kind: PredicateType
    ) -> list[Attestation]:
        """Every statement of this kind about this digest by the public key's owner, fetched anew; what others say is
        left out. Raises VerificationFailedError, RegistryUnavailableError.
        """
