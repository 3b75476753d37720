"""A stand-in of a cloud provider: DigitalOcean's API as far as Packer's builder asks for it, and beside it the service
that deletes images there for the platform. A program of the standard library alone, so that a pod can run it:
`python3 cloud.py PORT`. `GET /` tells how it stands. A droplet whose name begins with `stuck` never comes up.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

REGION = "nyc3"
BUILDER = "pearkes.digitalocean"
Answer = tuple[int, Any]


class Cloud:
    """Droplets and snapshots by number, with their names, and who is asked what."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.droplets: dict[str, str] = {}
        self.off: set[str] = set()
        self.snapshots: dict[str, str] = {}
        self.asked: list[str] = []
        """Requests to the deleting service."""
        self._last = 100

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        parts = path.strip("/").split("/")
        with self.lock:
            match parts:
                case ["v2", *rest]:
                    return self._provider(method, rest, body)
                case ["v1", kind, name]:
                    self.asked.append(f"{method} {unquote(kind)} {unquote(name)}")
                    return self._service(method, unquote(kind), unquote(name))
            return 200, {"droplets": self.droplets, "snapshots": self.snapshots, "asked": self.asked}

    def _provider(self, method: str, parts: list[str], body: dict[str, Any]) -> Answer:
        match method, parts:
            case "POST", ["account", "keys"]:
                return 201, {"ssh_key": {"id": self._new(), "fingerprint": "00", "name": "packer"}}
            case "POST", ["droplets"]:
                number = self._new()
                self.droplets[str(number)] = body["name"]
                return 202, {"droplet": self._droplet(str(number))}
            case "GET", ["droplets", number]:
                return 200, {"droplet": self._droplet(number)}
            case "POST", ["droplets", number, "actions"]:
                return self._act(number, body)
            case "GET", [*_, "actions", number]:
                return 200, {"action": {"id": int(number), "status": "completed"}}
            case "GET", ["droplets", _, "snapshots"]:
                found = [{"id": int(n), "name": name, "regions": [REGION]} for n, name in self.snapshots.items()]
                return 200, {"snapshots": found}
            case "DELETE", ["droplets", number]:
                self.droplets.pop(number, None)
                return 204, None
            case "DELETE", ["account", "keys", _]:
                return 204, None
        return 404, {"id": "not_found", "message": f"{method} {'/'.join(parts)}"}

    def _act(self, number: str, body: dict[str, Any]) -> Answer:
        if body["type"] == "snapshot":
            self.snapshots[str(self._new())] = body["name"]
        else:
            self.off.add(number)
        return 201, {"action": {"id": self._new(), "status": "completed"}}

    def _droplet(self, number: str) -> dict[str, Any]:
        networks = {"v4": [{"ip_address": "127.0.0.1", "type": "public"}], "v6": []}
        up = "off" if number in self.off else "active"
        status = "new" if self.droplets[number].startswith("stuck") else up
        return {"id": int(number), "name": self.droplets[number], "status": status, "networks": networks}

    def _service(self, method: str, kind: str, name: str) -> Answer:
        """An artifact, or all that bears a run's name."""
        if kind == "runs":
            every = self.droplets | self.snapshots
            found = [number for number, label in every.items() if label.endswith(name.replace("/", "-"))]
        else:
            found = [number for number in self.snapshots if (kind, name) == (BUILDER, f"{REGION}:{number}")]
        if method == "DELETE":
            for number in found:
                self.droplets.pop(number, None)
                self.snapshots.pop(number, None)
        return (202 if found else 404), None

    def _new(self) -> int:
        self._last += 1
        return self._last


def handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
            status, content = cloud.answer(self.command, self.path.partition("?")[0], body)
            raw = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names that http.server wants

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), handler(Cloud())).serve_forever()
