"""Signing and verifying images: two ports, so that who verifies holds no private key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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


class Verifier(Protocol):
    async def verify(self, repository: Repository, digest: str, public_key: str, annotations: Mapping[str, str]) -> str:
        """Check, with everything fetched anew, that the public key's owner signed this digest with these annotations.

        Returns the digest of the signature's manifest. Raises VerificationFailedError, RegistryUnavailableError.
        """
