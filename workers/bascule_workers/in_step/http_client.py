"""One HTTP request from within a step: no proxies, no other hosts, bounded in size.

It is bounded in time by whoever calls it, in a process that can be killed: a server may send a byte whenever a timeout
of the socket is about to pass.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

BODY_LIMIT = 1 << 20
"""Bytes of an answer that are looked at, at most; a longer one is none."""
REDIRECTS = 5
_REDIRECTS_OF = {"GET": (301, 302, 303, 307, 308), "POST": (307, 308)}


class NoAnswerError(Exception):
    """There was no answer that one could go by. The message is for people."""


@dataclass(frozen=True)
class Request:
    """What is asked."""

    url: str
    timeout: float
    """Seconds that connecting, and each read, may take."""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str = field(default="", repr=False)
    """Sent to this very scheme, host and port, and nowhere else."""
    body: bytes | None = None
    wants_body: bool = True
    verified: bool = True
    """Whether a server has to prove its name by a certificate that is trusted."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = b""
    elsewhere: str = ""
    """Host of a redirect that was not followed."""


def ask(request: Request) -> Answer:
    """The answer, after redirects within the same host. Raises NoAnswerError."""
    url = request.url
    for _ in range(REDIRECTS + 1):
        try:
            answer, location = _once(url, request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswerError(f"no answer from {urlsplit(url).netloc}: {_reason(error)}") from None
        if not location:
            return answer
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.hostname != urlsplit(request.url).hostname or parts.scheme not in ("http", "https"):
            return Answer(answer.status, answer.body, elsewhere=parts.hostname or parts.scheme)
        url = target
    raise NoAnswerError(f"{urlsplit(request.url).netloc} redirects more than {REDIRECTS} times")


def _once(url: str, request: Request) -> tuple[Answer, str]:
    """One request, and where its answer redirects to."""
    parts = urlsplit(url)
    connection = _connection(parts, request)
    try:
        path = parts.path or "/"
        connection.request(
            request.method,
            f"{path}?{parts.query}" if parts.query else path,
            body=request.body,
            headers=_headers(parts, request),
        )
        response = connection.getresponse()
        redirected = response.status in _REDIRECTS_OF[request.method]
        location = (response.getheader("Location") or "") if redirected else ""
        body = b"" if location or not request.wants_body else response.read(BODY_LIMIT + 1)
    finally:
        connection.close()
    if len(body) > BODY_LIMIT:
        raise NoAnswerError(f"the answer of {parts.netloc} is larger than {BODY_LIMIT >> 20} MiB")
    return Answer(response.status, body), location


def _connection(parts: SplitResult, request: Request) -> http.client.HTTPConnection:
    if parts.hostname is None:
        raise ValueError("the URL names no host")
    if parts.scheme == "https":
        # SSL_CERT_FILE, where it is set, says whom to trust.
        context = ssl.create_default_context()
        if not request.verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=request.timeout, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=request.timeout)


def _headers(parts: SplitResult, request: Request) -> dict[str, str]:
    asked = urlsplit(request.url)
    headers = {"User-Agent": "bascule-gate", "Accept-Encoding": "identity", **request.headers}
    if request.authorization and (parts.scheme, parts.netloc) == (asked.scheme, asked.netloc):
        headers["Authorization"] = request.authorization
    return headers


def _reason(error: Exception) -> str:
    """Why, without what was sent: http.client names headers that it does not like."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case TimeoutError():
            return "timed out"
        case OSError() if error.strerror:
            return error.strerror.lower()
        case http.client.RemoteDisconnected():
            return "it closed the connection"
        case _:
            return type(error).__name__
