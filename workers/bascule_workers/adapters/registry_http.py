"""HTTP to registries: logins, tokens, and what their answers mean."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp

from bascule_workers.errors import RegistryRefusedError, RegistryUnavailableError
from bascule_workers.plans.credentials import Login
from bascule_workers.plans.failures import shortened
from bascule_workers.ports.registry import Repository

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_REMEMBERED = 10_000
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')

Body = Callable[[], Any]
"""Makes the body anew for each attempt."""


@dataclass(frozen=True)
class Answer:
    """A registry's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def words(self) -> str:
        """What the registry says, in short."""
        try:
            errors = json.loads(self.body)["errors"]
            said = "; ".join(f"{e.get('code', '')} {e.get('message', '')}".strip() for e in errors)
        except (ValueError, KeyError, TypeError, AttributeError):
            said = self.body[:256].decode(errors="replace")
        return shortened(said)


class RegistryHttp:
    """Requests to any registry, over TLS, with the login of the repository that is asked."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None
        self._authorizations: dict[tuple[str, Login | None, str], str] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        repository: Repository,
        path: str,
        *,
        accept: Sequence[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """An answer with one of the accepted statuses. Raises RegistryRefusedError, RegistryUnavailableError."""
        async with self.stream(method, repository, path, accept=accept, headers=headers, body=body) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def tags(self, repository: Repository) -> list[str]:
        """All tags of a repository; none where there is no such repository."""
        found: list[str] = []
        path: str | None = "tags/list?n=1000"
        while path:
            answer = await self.request("GET", repository, path, accept=(200, 404))
            if answer.status == 200:
                found += json.loads(answer.body).get("tags") or []
            following = re.match(r'<([^>]+)>;\s*rel="?next"?', answer.headers.get("Link", ""))
            path = urljoin(f"https://{repository.host}/", following[1]) if following else None
        return found

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        repository: Repository,
        path: str,
        *,
        accept: Sequence[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The same, with the answer still to be read. `path` is below the repository, or a whole URL."""
        url = path if path.startswith("https://") else f"https://{repository.host}/v2/{repository.path}/{path}"
        try:
            response = await self._authorized(method, url, repository, dict(headers or {}), body)
            async with response:
                await _judge(response, accept, method, repository)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise RegistryUnavailableError(f"the registry {repository.host} does not answer: {said}") from None

    async def _authorized(
        self, method: str, url: str, repository: Repository, headers: dict[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        # The whole login is the key: who has the wrong password must not profit from who has the right one.
        key = (repository.name, repository.login, _right(method))
        # A login goes to the registry that it is for, and not to where an answer of it may point.
        ours = urlsplit(url).netloc == repository.host
        known = self._authorizations.get(key) if ours else None
        response = await self._send(method, url, headers, known, body)
        if response.status != 401 or not ours:
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        authorization = await self._answer_to(challenge, repository)
        if authorization is None:
            return response
        response.release()
        if len(self._authorizations) >= _REMEMBERED:
            self._authorizations.clear()
        self._authorizations[key] = authorization
        return await self._send(method, url, headers, authorization, body)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], authorization: str | None, body: Body | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            trust = self._trust or ssl.create_default_context()
            connector = aiohttp.TCPConnector(ssl=trust, limit=64)
            self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, trust_env=True)
        sent = dict(headers) | ({"Authorization": authorization} if authorization else {})
        return await self._session.request(method, url, headers=sent, data=body() if body else None)

    async def _answer_to(self, challenge: str, repository: Repository) -> str | None:
        """The Authorization that a challenge asks for; None when we have none to give."""
        scheme, _, rest = challenge.partition(" ")
        basic = _basic(repository)
        if scheme.lower() == "basic":
            return basic
        if scheme.lower() != "bearer":
            return None
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.get("realm", "")
        if not realm.startswith("https://"):
            return None
        parameters = {name: asked[name] for name in ("service", "scope") if name in asked}
        query = urlencode(parameters)
        response = await self._send("GET", f"{realm}?{query}", {}, basic, None)
        async with response:
            if response.status != 200:
                return None
            token = await response.json(content_type=None)
        found = token.get("token") or token.get("access_token")
        return f"Bearer {found}" if found else None


async def _judge(response: aiohttp.ClientResponse, accept: Sequence[int], method: str, repository: Repository) -> None:
    if response.status in accept:
        return
    answer = Answer(response.status, {}, await response.read())
    what = "reading from" if method in ("GET", "HEAD") else "deleting in" if method == "DELETE" else "writing to"
    if response.status >= 500 or response.status in (408, 429):
        raise RegistryUnavailableError(f"the registry {repository.host} answers {response.status}: {answer.words}")
    whose = (
        "with the login of spec.publish.secretRef"
        if repository.login
        else "without a login: name a Secret with one in spec.publish.secretRef"
    )
    raise RegistryRefusedError(
        f"the registry {repository.host} refuses {what} {repository.name} ({response.status} {answer.words}); "
        f"it was asked {whose}"
    )


def _basic(repository: Repository) -> str | None:
    if repository.login is None:
        return None
    return aiohttp.encode_basic_auth(repository.login.username, repository.login.password)


def _right(method: str) -> str:
    return "pull" if method in ("GET", "HEAD") else "delete" if method == "DELETE" else "push"
