"""What workers ask the Tenant resource."""

from __future__ import annotations

from typing import Protocol


class Tenants(Protocol):
    """The platform team's word on a tenant, fetched anew with every call."""

    async def public_key(self, tenant: str) -> str | None:
        """PEM of the key that verifies the tenant's signatures, or None. Raises ApiUnavailableError."""
