"""The Tenants that a worker process serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

import pydantic

from bascule_api import names
from bascule_api.tenants import Tenant
from bascule_workers.adapters.api_server import ApiServer, JsonObject
from bascule_workers.adapters.reflector import Reflector, whole

logger = logging.getLogger(__name__)


class TenantWatch:
    """All Tenants, or those of the given names; `changed` is set whenever one is new, changed or gone."""

    def __init__(self, api: ApiServer, only: Collection[str] = ()) -> None:
        self._only = frozenset(only)
        self.changed = asyncio.Event()
        self._reflector = Reflector(api, f"/apis/{names.API_VERSION}/tenants", self._note, read=whole)

    async def run(self) -> None:
        await self._reflector.run()

    @property
    def synced(self) -> bool:
        return self._reflector.synced.is_set()

    def tenants(self) -> dict[str, Tenant]:
        """The Tenants to serve, by name. One that this version cannot read is left out, and logged."""
        found = {}
        for name, body in self._reflector.items.items():
            if self._only and name not in self._only:
                continue
            try:
                found[name] = Tenant.parse(body)
            except pydantic.ValidationError:
                logger.exception("the Tenant %s cannot be read", name)
        return found

    def _note(self, _: JsonObject) -> None:
        self.changed.set()
