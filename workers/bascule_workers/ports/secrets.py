"""Tenants' Secrets and ConfigMaps, and a run's own copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Labelled:
    """What an object is called, without its content."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Objects(Protocol):
    """Secrets and ConfigMaps as the API server serves them. Every call may be repeated with the same effect."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A Secret, or None. Raises ApiUnavailableError."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A ConfigMap, or None. Raises ApiUnavailableError."""

    async def labelled(self, namespace: str, label: str, value: str) -> list[Labelled]:
        """The Secrets and ConfigMaps with that label, fetched anew. Raises ApiUnavailableError."""

    async def create(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Create what does not exist yet; what exists stays as it is."""

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete a `Secret` or `ConfigMap`; one that is gone already is fine."""
