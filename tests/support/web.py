"""A web server that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Page:
    """What is answered at a path."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drips: bool = False
    """Whether its body comes byte by byte, and never ends."""
    hangs_up: bool = False


@dataclass(frozen=True)
class Visit:
    method: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, list[str]]


@dataclass
class Web:
    host: str
    scheme: str = "http"
    pages: dict[str, list[Page]] = field(default_factory=dict)
    """By path: one after the other, the last for ever."""
    visits: list[Visit] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}{path}"

    def page(self, path: str, *pages: Page) -> str:
        self.pages[path] = list(pages)
        return self.url(path)

    def prometheus(self, *answers: Any) -> str:
        """Answers of the query API, as JSON documents; a Page as it is. Returns the server's address."""
        pages = [answer if isinstance(answer, Page) else Page(body=json.dumps(answer).encode()) for answer in answers]
        self.page("/api/v1/query", *pages)
        return self.url("")


def vector(*values: str, **more: Any) -> dict[str, Any]:
    """An instant query's answer."""
    series = [{"metric": {"pod": str(index)}, "value": [1_700_000_000, value]} for index, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}} | more


@contextmanager
def web(host: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None) -> Iterator[Web]:
    """A server that runs until the block ends; with a certificate and its key it speaks TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = parse_qs(self.rfile.read(length).decode())
            site.visits.append(Visit(self.command, self.path, dict(self.headers), form))
            pages = site.pages.get(self.path) or [Page(404)]
            self._answer(pages.pop(0) if len(pages) > 1 else pages[0])

        do_POST = do_GET  # noqa: N815 - http.server's name

        def _answer(self, page: Page) -> None:
            if page.hangs_up:
                return
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            if not page.drips:
                self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)
            while page.drips and not closing.is_set():
                self.wfile.write(b".")
                time.sleep(0.05)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """Clients that go away are no news."""

    closing = threading.Event()
    server = Server((host, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site = Web(f"{host}:{server.server_address[1]}", "https" if certificate else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
