"""A real docker-registry on loopback, with TLS by an authority of its own and deletion switched on."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class LoopbackRegistry:
    host: str
    ca_file: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SSL_CERT_FILE": str(self.ca_file)}

    def skopeo(self, *words: str) -> str:
        """What skopeo prints. Raises subprocess.CalledProcessError."""
        command = ["skopeo", "--insecure-policy", *words]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none where there is no such repository."""
        try:
            found: list[str] = json.loads(self.skopeo("list-tags", f"docker://{self.host}/{repository}"))["Tags"]
        except subprocess.CalledProcessError as error:
            if "404 (Not Found)" not in error.stderr:
                raise
            return []
        return found

    def manifest(self, reference: str) -> dict[str, Any]:
        """The manifest of `repository:tag` or `repository@digest`."""
        content: dict[str, Any] = json.loads(self.skopeo("inspect", "--raw", f"docker://{self.host}/{reference}"))
        return content

    def pull(self, reference: str, folder: Path) -> dict[str, Path]:
        """Everything that the manifest names, by title."""
        self.skopeo("copy", "--preserve-digests", f"docker://{self.host}/{reference}", f"dir:{folder}")
        layers = json.loads((folder / "manifest.json").read_text())["layers"]
        return {
            layer["annotations"]["org.opencontainers.image.title"]: folder / layer["digest"].removeprefix("sha256:")
            for layer in layers
        }


@contextmanager
def serving(folder: Path) -> Iterator[LoopbackRegistry]:
    """Serve a registry whose files lie in the folder. Needs docker-registry and skopeo on PATH."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    certificate, key = make_certificate(folder)
    settings = folder / "registry.yml"
    settings.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
                "http": {"addr": host, "tls": {"certificate": str(certificate), "key": str(key)}},
            }
        )
    )
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=log, stderr=log)
        try:
            wait_for_port(host)
            yield LoopbackRegistry(host, certificate)
        finally:
            process.terminate()
            process.wait()


def wait_for_port(host: str) -> None:
    address, _, port = host.partition(":")
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((address, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {host}")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "ca.crt", folder / "tls.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
