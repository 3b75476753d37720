"""Lists and watches of the API server: one of each kind, begun anew whenever the connection is lost."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

JsonObject = Mapping[str, Any]

_LIST_TIMEOUT = aiohttp.ClientTimeout(total=30)
# The server ends a watch after a minute: a connection that says nothing for longer is dead.
_WATCH_SECONDS = 60
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SECONDS * 1.5)
_PAUSE_SECONDS = 0.5


class Listener(Protocol):
    """What is told of a kind's objects."""

    def replaced(self, items: Sequence[JsonObject]) -> None:
        """Take what a list says: there are these objects and no others."""

    def changed(self, item: JsonObject) -> None:
        """Take an object that is new or another."""

    def deleted(self, item: JsonObject) -> None:
        """Take an object that is no more."""


@dataclass(frozen=True)
class Api:
    """The API server as one client reaches it."""

    server: str
    session: aiohttp.ClientSession

    async def follow(self, path: str, listener: Listener) -> None:
        """Tell a listener of a kind's objects for ever. `path`: of the whole cluster's, such as /api/v1/pods."""
        while True:
            try:
                await self._follow_once(path, listener)
            except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as error:
                print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow_once(self, path: str, listener: Listener) -> None:
        """List, and watch until the server forgot what came after the list."""
        async with self.session.get(self.server + path, timeout=_LIST_TIMEOUT) as answer:
            answer.raise_for_status()
            listing = await answer.json()
        listener.replaced(listing.get("items") or [])
        version = listing["metadata"]["resourceVersion"]
        while version:
            version = await self._watch(path, version, listener)

    async def _watch(self, path: str, version: str, listener: Listener) -> str:
        """Watch until the server ends it. Returns where to go on; empty where only a new list helps."""
        asked = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "1"}
        asked["timeoutSeconds"] = str(_WATCH_SECONDS)
        async with self.session.get(self.server + path, params=asked, timeout=_WATCH_TIMEOUT) as answer:
            if answer.status == 410:
                return ""
            answer.raise_for_status()
            async for event in _events(answer.content):
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    return ""
                version = item["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    listener.deleted(item)
                elif kind != "BOOKMARK":
                    listener.changed(item)
        return version


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[JsonObject]:
    """Yield the lines of a watch, which may be longer than what aiohttp takes for a line."""
    begun = bytearray()
    async for part in content.iter_any():
        begun += part
        *whole, rest = begun.split(b"\n")
        begun = bytearray(rest)
        for line in whole:
            if line:
                yield json.loads(line)


def login(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Read a kubeconfig as configuration.kubeconfig writes it. Returns the server and how to speak to it."""
    document = json.loads(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return cluster["server"], context
