"""An HTTPS proxy in front of one server: every request passes the gate, watches can be cut, frozen or told 410."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.harness.calls import Call
from tests.support.harness.gate import Gate, Refused

_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}
_SET_ANEW = {*_HOP, "content-length"}
Namer = Callable[[str, str, Mapping[str, str]], Call]
"""(method, path, query) -> the call"""


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class HttpsProxy:
    """Serves on loopback and forwards to `upstream`. `query` may add to what a client asks."""

    upstream: str
    name_of: Namer
    gate: Gate
    server_tls: ssl.SSLContext
    query: Callable[[Call, Mapping[str, str]], dict[str, str]] = lambda call, query: dict(query)
    old: dict[str, Answer] = field(default_factory=dict)
    """What a list by this path is answered with, once: an older state of the world."""
    told_old: asyncio.Event = field(default_factory=asyncio.Event)
    expired: bool = False
    """Watches are answered with 410."""
    dropped: Callable[[Mapping[str, object]], bool] | None = None
    """Watch events for which this holds never arrive."""
    down: bool = False
    """Nobody answers."""
    refusal: Callable[[Call], int] | None = None
    """A status for a call instead of an answer; 0: none."""
    port: int = 0
    _watches: dict[int, web.BaseRequest] = field(default_factory=dict)
    _frozen: set[int] = field(default_factory=set)
    _first: dict[str, Answer] = field(default_factory=dict)

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=False, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept-Encoding"),
        )
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.server_tls)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        self.cut()
        await self._runner.cleanup()
        await self._session.close()

    def forget(self) -> None:
        """A new life begins."""
        self._first.clear()

    def cut(self) -> int:
        """Break every watch. Returns how many there were."""
        watches = list(self._watches.values())
        for request in watches:
            _break(request)
        return len(watches)

    def freeze(self) -> int:
        """Watches that are there stay open and say nothing any more. Returns how many there are."""
        self._frozen |= set(self._watches)
        return len(self._watches)

    async def remember(self, path: str, kubeconfig_token: str, **query: str) -> None:
        """Answer the next list by this path with what it would be now."""
        headers = {"Authorization": f"Bearer {kubeconfig_token}", "Accept": "application/json"}
        async with self._session.get(URL(self.upstream + path).with_query(query), headers=headers) as answer:
            assert answer.status == 200
            self.told_old.clear()
            self.old[path] = Answer(200, [("Content-Type", "application/json")], await answer.read())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return _break(request)
        call = self.name_of(request.method, request.path, request.query)
        if self.refusal and (code := self.refusal(call)):
            self.gate.number(call)
            return web.Response(status=code, headers={"Retry-After": "1"}, body=_status(code))
        if call.name.startswith("list ") and request.path in self.old:
            self.gate.number(call)
            self.told_old.set()
            return web.Response(body=self.old.pop(request.path).body, content_type="application/json")
        body = await request.read()
        query = self.query(call, request.query)
        if call.name.startswith("watch "):
            return await self._watch(request, call, query)
        asked = f"{request.method} {request.path}"

        async def forward() -> Answer:
            answer = await self._ask(request, query, body)
            if answer.status == 200:
                self._first.setdefault(asked, answer)
            return answer

        answer = await self.gate.through(call, forward)
        if isinstance(answer, Refused):
            if answer.stale and asked in self._first:
                answer = self._first[asked]
            elif answer.code:
                return web.Response(status=answer.code, headers={"Retry-After": "1"}, body=_status(answer.code))
            else:
                return _break(request)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            # The length of what a HEAD speaks of; of everything else the server knows it itself.
            if name.lower() != "content-length" or request.method == "HEAD":
                response.headers.add(name, value)
        return response

    def _url(self, request: web.Request, query: Mapping[str, str]) -> URL:
        return URL(self.upstream + request.raw_path.partition("?")[0], encoded=True).with_query(query)

    async def _ask(self, request: web.Request, query: Mapping[str, str], body: bytes) -> Answer:
        # The Host stays: a registry makes its Location headers of it.
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _SET_ANEW}
        async with self._session.request(
            request.method, self._url(request, query), headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            return Answer(answer.status, kept, await answer.read())

    async def _watch(self, request: web.Request, call: Call, query: Mapping[str, str]) -> web.StreamResponse:
        if self.expired:
            event = {"type": "ERROR", "object": json.loads(_status(410))}
            return web.json_response(event)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}

        async def forward() -> aiohttp.ClientResponse:
            return await self._session.get(self._url(request, query), headers=headers)

        answer = await self.gate.through(call, forward)
        if isinstance(answer, Refused):
            return web.Response(status=answer.code, body=_status(answer.code)) if answer.code else _break(request)
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        self._watches[id(request)] = request
        try:
            await response.prepare(request)
            async for line in answer.content:
                if id(request) in self._frozen:
                    await asyncio.Event().wait()
                if self.dropped is None or not self.dropped(json.loads(line)):
                    await response.write(line)
            with suppress(ConnectionError):
                await response.write_eof()
        except (aiohttp.ClientError, ConnectionError):
            return _break(request)
        finally:
            self._watches.pop(id(request), None)
            self._frozen.discard(id(request))
            answer.close()
        return response


def _break(request: web.BaseRequest) -> web.Response:
    """Reset the connection under the request."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _status(code: int) -> bytes:
    reasons = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "as the fault wants it",
        "reason": reasons.get(code, ""),
        "code": code,
    }
    return json.dumps(document).encode()
