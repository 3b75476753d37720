"""Real git servers on loopback: `git http-backend` behind HTTPS, and OpenSSH's sshd; and repositories for them."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.registry import make_certificate, wait_for_port

USER, PASSWORD = "builder", "correct horse battery"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@bascule.test",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@bascule.test",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(*words: str, cwd: Path, **environment: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", *words]
    env = {**os.environ, **_IDENTITY, **environment}
    return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Origin:
    """A bare repository below a server's root, and a work tree to commit from."""

    bare: Path
    tree: Path

    @classmethod
    def make(cls, root: Path, name: str, **files: str) -> Origin:
        bare, tree = root / f"{name}.git", root / f"{name}.tree"
        bare.mkdir(parents=True)
        git("init", "--quiet", "--bare", "--initial-branch=main", cwd=bare)
        git("clone", "--quiet", str(bare), str(tree), cwd=root)
        made = cls(bare, tree)
        made.commit(**(files or {"file": "content\n"}))
        return made

    def commit(self, **files: str) -> str:
        """Commit these files besides what else lies in the tree, and return the commit."""
        for path, content in files.items():
            target = self.tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        git("add", "--all", cwd=self.tree)
        git("commit", "--quiet", "--allow-empty", "-m", "change", cwd=self.tree)
        git("push", "--quiet", "origin", "HEAD:main", cwd=self.tree)
        return git("rev-parse", "HEAD", cwd=self.tree)


class _Handler(BaseHTTPRequestHandler):
    """Smart HTTP by git's own CGI; a login below /private/, a redirect below /elsewhere/."""

    root: Path
    seen: list[tuple[str, str]]
    elsewhere = ""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        authorization = self.headers.get("Authorization", "")
        self.seen.append((path, authorization))
        if path.startswith("/elsewhere/"):
            return self._end(302, Location=f"{self.elsewhere}{self.path.removeprefix('/elsewhere')}")
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if path.startswith("/private/") and authorization != f"Basic {expected}":
            return self._end(401, **{"WWW-Authenticate": 'Basic realm="git"'})
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self._end(int(headers.pop("Status", "200").split()[0]), content, **headers)
        return None

    def _end(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        """Nothing: tests look at `seen`."""


@dataclass(frozen=True)
class HttpsServer:
    url: str
    root: Path
    ca_file: Path
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization header of every request."""

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self.ca_file)}


@contextmanager
def serving_https(folder: Path, elsewhere: str = "") -> Iterator[HttpsServer]:
    """Serve the repositories below `folder/repositories`; what is asked below /elsewhere/ is at that address."""
    root = folder / "repositories"
    root.mkdir(parents=True)
    certificate, key = make_certificate(folder)
    seen: list[tuple[str, str]] = []
    handler = type("Handler", (_Handler,), {"root": root, "seen": seen, "elsewhere": elsewhere})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield HttpsServer(f"https://127.0.0.1:{server.server_port}", root, certificate, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class SshServer:
    url: str
    root: Path
    credentials: dict[str, str] = field(repr=False)
    """A private key that it lets in, and what it is known by."""


@contextmanager
def serving_ssh(folder: Path, address: str = "127.0.0.1", wrapped: list[str] | None = None) -> Iterator[SshServer]:
    """Serve the repositories below `folder/repositories` by an sshd with keys and settings of its own.

    It asks for the key, and hands a protocol version on to nobody: git speaks its oldest with it. Needs root, as sshd
    does. `wrapped` are words to start it with.
    """
    root = folder / "repositories"
    root.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "sshd_config"
    settings.write_text(
        f"""ListenAddress {address}:{port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding no
"""
    )
    # Where sshd puts itself before anybody is let in; Debian makes it when the service starts.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("w") as log:
        command = [*(wrapped or []), "/usr/sbin/sshd", "-D", "-e", "-f", str(settings)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if not wrapped:
                wait_for_port(f"{address}:{port}")
            host_key = " ".join((folder / "host.pub").read_text().split()[:2])
            key = (folder / "user").read_text()
            known = f"[{address}]:{port} {host_key}\n"
            yield SshServer(f"ssh://root@{address}:{port}", root, {"ssh-privatekey": key, "known_hosts": known})
        finally:
            process.terminate()
            process.wait()
