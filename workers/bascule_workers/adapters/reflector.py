"""Keeps what a path of the API server lists, current by a watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from bascule_workers.adapters.api_server import ApiError, ApiServer, JsonObject
from bascule_workers.errors import ApiUnavailableError

PAGE = 500
"""Objects of one answer: a list of thousands is never in memory as a whole."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


def whole(item: JsonObject) -> JsonObject:
    """Keep all of an object."""
    return item


def name_of(item: JsonObject) -> str:
    return str(item["metadata"]["name"])


class Reflector(Generic[T]):
    """Keeps what is listed. `read` makes of each object what is kept of it; `changed` is called with each that is new,
    changed or gone.
    """

    def __init__(
        self,
        api: ApiServer,
        path: str,
        changed: Callable[[T], None],
        *,
        read: Callable[[JsonObject], T],
        key: Callable[[JsonObject], str] = name_of,
        labels: str = "",
        fields: str = "",
    ) -> None:
        self._api = api
        self._path = path
        self._selectors = {"labelSelector": labels} if labels else {}
        self._selectors |= {"fieldSelector": fields} if fields else {}
        self._changed = changed
        self._read = read
        self._key = key
        self.items: dict[str, T] = {}
        self.version = 0
        """Everything up to this version is in `items`."""
        self.synced = asyncio.Event()
        """Set once the first list is there."""

    async def run(self, version: str = "") -> None:
        """List and watch for ever; or watch from a list that there is already."""
        failures = 0
        while True:
            try:
                version = version or await self.list()
                failures = 0
                await self._follow(version)
            except (ApiUnavailableError, ApiError) as error:
                if not (isinstance(error, ApiError) and error.status == 410):
                    failures += 1
                    logger.warning(
                        "a watch was lost, and is begun anew", extra={"resource": self._path, "error": str(error)}
                    )
                    await asyncio.sleep(min(10.0, 0.5 * 2.0 ** min(failures, 6)))
            except Exception:
                # A watch that ended unseen would let everybody who waits wait for ever.
                failures += 1
                logger.exception("a watch failed by a bug of ours, and is begun anew: %s", self._path)
                await asyncio.sleep(10.0)
            version = ""

    async def list(self) -> str:
        """List everything, page by page. Returns the version from which to watch."""
        found: dict[str, T] = {}
        page: dict[str, str] = {}
        while True:
            answer = await self._api.get(self._path, limit=PAGE, **page, **self._selectors)
            found |= {self._key(item): self._read(item) for item in answer["items"] or []}
            if not (following := answer["metadata"].get("continue")):
                break
            page = {"continue": following}
        before, self.items = self.items, found
        self.version = int(answer["metadata"]["resourceVersion"])
        for key, item in (before | found).items():
            if found.get(key) != before.get(key):
                self._changed(item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Watch until the version is too old; a watch that merely ends is taken up where it was."""
        while True:
            events = self._api.watch(
                self._path,
                resourceVersion=version,
                allowWatchBookmarks="true",
                timeoutSeconds=60,
                **self._selectors,
            )
            async for kind, body in events:
                version = str(body["metadata"]["resourceVersion"])
                self.version = int(version)
                if kind == "BOOKMARK":
                    continue
                item = self._read(body)
                if kind == "DELETED":
                    self.items.pop(self._key(body), None)
                else:
                    self.items[self._key(body)] = item
                self._changed(item)
