"""An S3-compatible object store for backups: Versity's gateway over a folder of the cluster's state.

Started by who asks for it, not by `up`. It knows buckets by path only, not by host names.
"""

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from hack.cluster import lifecycle
from hack.cluster.addresses import (
    OBJECT_STORE_ACCESS_KEY,
    OBJECT_STORE_HOST,
    OBJECT_STORE_PORT,
    OBJECT_STORE_REGION,
    OBJECT_STORE_SECRET_KEY,
)
from hack.cluster.binaries import object_store_folder
from hack.cluster.components import object_store_program
from hack.cluster.packages import ensure_programs
from hack.cluster.paths import locked
from hack.cluster.shell import ClusterError
from hack.cluster.sites import Site

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_SECONDS = "120"


@dataclass(frozen=True)
class ObjectStore:
    """One bucket of a cluster's object store, and what a client needs to use it."""

    bucket: str
    host_endpoint: str
    """Where the host finds it."""
    ca_file: Path
    """The authority that signed its certificate."""
    endpoint: str = f"https://{OBJECT_STORE_HOST}:{OBJECT_STORE_PORT}"
    """Where pods, nodes and commands of `exec` find it."""
    region: str = OBJECT_STORE_REGION
    access_key: str = OBJECT_STORE_ACCESS_KEY
    secret_key: str = field(default=OBJECT_STORE_SECRET_KEY, repr=False)

    def put(self, key: str, content: bytes) -> None:
        """Write an object, in place of what was there. Raises ClusterError."""
        # An upload of unknown length is refused; this one is read to its end before it is sent.
        upload = ("--request", "PUT", "--data-binary", "@-", "--header", "content-type: application/octet-stream")
        self._expect("200", *upload, path=f"/{quote(key)}", content=content)

    def get(self, key: str) -> bytes | None:
        """Return an object's content; None when there is none. Raises ClusterError."""
        status, answer = self._request(path=f"/{quote(key)}")
        if status == "404":
            return None
        return self._checked(status, answer, "200")

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is gone already. Raises ClusterError."""
        self._expect("204", "--request", "DELETE", path=f"/{quote(key)}")

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of at most a thousand objects that begin so, in order. Raises ClusterError."""
        query = f"?list-type=2&prefix={quote(prefix, safe='')}"
        listed = ElementTree.fromstring(self._expect("200", path=query))  # noqa: S314 - our own server's answer
        return [str(item.findtext(f"{_NAMESPACE}Key")) for item in listed.iter(f"{_NAMESPACE}Contents")]

    def make(self) -> None:
        """Make the bucket unless it is there. Raises ClusterError."""
        status, answer = self._request("--request", "PUT")
        # 409: it is ours already, and there is only one account whose it could be.
        if status != "409":
            self._checked(status, answer, "200")

    def _expect(self, wanted: str, *options: str, path: str = "", content: bytes = b"") -> bytes:
        return self._checked(*self._request(*options, path=path, content=content), wanted)

    def _checked(self, status: str, answer: bytes, wanted: str) -> bytes:
        if status != wanted:
            raise ClusterError(f"the object store answered {status}: {answer.decode(errors='replace')[:500]}")
        return answer

    def _request(self, *options: str, path: str = "", content: bytes = b"") -> tuple[str, bytes]:
        """Let curl sign and send a request. Returns the answer's status and its body."""
        signing = ["--aws-sigv4", f"aws:amz:{self.region}:s3", "--user", f"{self.access_key}:{self.secret_key}"]
        # S3 demands the header, and Debian's curl does not send it of itself; TLS keeps the content whole.
        signing += ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        quiet = ["--silent", "--show-error", "--noproxy", "*", "--max-time", _SECONDS]
        argv = ["curl", *quiet, "--cacert", str(self.ca_file), "--write-out", "\n%{http_code}", *signing, *options]
        done = subprocess.run(
            [*argv, f"{self.host_endpoint}/{self.bucket}{path}"], input=content, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"the object store cannot be reached: {done.stderr.decode(errors='replace').strip()}")
        answer, _, status = done.stdout.rpartition(b"\n")
        return status.decode(), answer


def add(made: Site, bucket: str) -> ObjectStore:
    """Start the object store unless it runs, and make the bucket unless it is there. Raises ClusterError."""
    ensure_programs({"curl": ("curl", "talks to the object store")})
    with locked(made.paths.state / "object-store.lock", "the object store"):
        for folder in ("metadata", "buckets"):
            (made.paths.state / "object-store" / folder).mkdir(parents=True, exist_ok=True)
        program = object_store_program(made.paths)
        if not program.exists():
            # The control plane's machine sees the cluster's state, and not the cache.
            program.parent.mkdir(parents=True, exist_ok=True)
            partial = program.with_suffix(".partial")
            shutil.copy(object_store_folder() / "versitygw", partial)
            partial.rename(program)
        lifecycle.start_component(made, "object-store")
    store = ObjectStore(bucket, f"https://{made.host}:{OBJECT_STORE_PORT}", made.paths.pki / "ca.crt")
    store.make()
    return store
