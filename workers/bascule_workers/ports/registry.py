"""An OCI registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bascule_workers.plans.credentials import Login


@dataclass(frozen=True)
class Repository:
    """A repository such as `registry.example.com/team/web`, and who we are there."""

    name: str
    login: Login | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return self.name.partition("/")[0]

    @property
    def path(self) -> str:
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class Manifest:
    """What a tag or digest points at."""

    digest: str
    media_type: str
    size: int
    """Bytes of manifest, configuration and layers; of an index, of everything in it that could be read."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    config_type: str = ""
    """Media type of the configuration: tells images from other artifacts."""


class Registry(Protocol):
    """Images and tags. Every call may be repeated with the same effect.

    All raise RegistryRefusedError (final; the message says whose credentials) and RegistryUnavailableError.
    """

    async def check_push(self, repository: Repository) -> None:
        """Make sure that we may push there; nothing is pushed."""

    async def manifest(self, repository: Repository, reference: str) -> Manifest | None:
        """What a tag or digest points at, fetched anew; None when there is no such thing."""

    async def tags(self, repository: Repository) -> list[str]:
        """Every tag of the repository, but none that only carries signatures and the like."""

    async def copy(self, source: Repository, target: Repository, digest: str) -> None:
        """Copy an image by digest with everything that refers to it, such as its signature."""

    async def tag(self, repository: Repository, digest: str, tag: str) -> None:
        """Let a tag point at a digest of the same repository."""

    async def delete_tag(self, repository: Repository, tag: str) -> bool:
        """Delete a tag and nothing else. False when the registry cannot do that."""

    async def delete(self, repository: Repository, digest: str) -> bool:
        """Delete a digest under every tag, with everything that refers to it. False when the registry cannot."""
