"""What workers ask the Tenant resource."""

from __future__ import annotations

from typing import Protocol

from bascule_workers.ports.registry import Repository


class Tenants(Protocol):
    """The platform team's word on a tenant, fetched anew with every call."""

    async def artifacts(self, tenant: str) -> Repository | None:
        """The repository that keeps the tenant's logs, with the login for it, or None.

        Raises SecretMissingError, SecretNotUsableError, ApiUnavailableError.
        """

    async def keeps_artifacts_for(self, tenant: str) -> int:
        """How many seconds the tenant's logs are kept. Raises ApiUnavailableError."""

    async def build_cache(self, tenant: str) -> str | None:
        """The repository for layers of this tenant's builds alone, or None. Raises ApiUnavailableError."""

    async def public_key(self, tenant: str) -> str | None:
        """PEM of the key that verifies the tenant's signatures, or None. Raises ApiUnavailableError."""
