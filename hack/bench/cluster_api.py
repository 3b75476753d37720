"""The bench's own connection to the API server: create, delete, watch, and raw writes, nothing between."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

Json = dict[str, Any]

BUILDS = "/apis/bascule.dev/v1alpha1/namespaces/{namespace}/imagebuilds"
_READ_BUFFER = 1 << 20


class ClusterApi:
    """Requests as one identity. `in_flight` bounds how many there are at a time."""

    def __init__(self, kubeconfig: Path, in_flight: int = 32) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._server = str(cluster["server"])
        self._ssl = ssl.create_default_context(cafile=cluster["certificate-authority"])
        if "client-certificate" in user:
            self._ssl.load_cert_chain(user["client-certificate"], user["client-key"])
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._slots = asyncio.Semaphore(in_flight)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._server,
            headers=self._headers,
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=0),
            read_bufsize=_READ_BUFFER,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the connection is not open")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """The answer. Raises RuntimeError with the server's words when it refuses."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with (
            self._slots,
            self._open.request(method, path, data=data, headers=headers, params=query) as response,
        ):
            answer: Json = json.loads(await response.read())
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {answer.get('message', '')}")
            return answer

    async def create_all(self, path: str, objects: Sequence[Json]) -> list[Json]:
        """Create all objects at once, as quickly as the server takes them."""
        return list(await asyncio.gather(*(self.request("POST", path, one) for one in objects)))

    async def watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        """Every change after a version: its type and the object."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self._open.get(path, params=query, timeout=timeout) as response:
            response.raise_for_status()
            async for line in response.content:
                event = json.loads(line)
                yield event["type"], event["object"]
