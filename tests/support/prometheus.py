"""A real Prometheus, from Debian, on the network of a cluster."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from hack.cluster import addresses, packages
from hack.cluster.handle import Cluster

PORT, TLS_PORT = 9190, 9191
HOST = addresses.REGISTRY_HOST
"""A name that resolves in pods, and that the services' certificate is for."""


@dataclass(frozen=True)
class Prometheus:
    address: str
    """For pods."""
    tls_address: str
    """The same server's sibling, which asks for TENANT_USER and TENANT_PASSWORD."""


@contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[Prometheus]:
    """Two servers that scrape the first of them each second: one for everybody, one by TLS and password."""
    packages.ensure_programs({"prometheus": ("prometheus", "is asked by the gates of campaigns")})
    pki = cluster.state / "pki"
    scrape = {"job_name": "self", "static_configs": [{"targets": [f"{addresses.CONTROL}:{PORT}"]}]}
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    (folder / "web.yaml").write_text(
        yaml.safe_dump(
            {
                "tls_server_config": {"cert_file": str(pki / "services.crt"), "key_file": str(pki / "services.key")},
                "basic_auth_users": {addresses.TENANT_USER: addresses.TENANT_PASSWORD_BCRYPT},
            }
        )
    )
    with (
        _server(cluster, folder, PORT),
        _server(cluster, folder, TLS_PORT, f"--web.config.file={folder / 'web.yaml'}"),
    ):
        _until_it_knows_itself(cluster)
        yield Prometheus(f"http://{HOST}:{PORT}", f"https://{HOST}:{TLS_PORT}")


@contextmanager
def _server(cluster: Cluster, folder: Path, port: int, *more: str) -> Iterator[None]:
    command, environment = cluster.inside(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / str(port)}",
            f"--web.listen-address=0.0.0.0:{port}",
            "--log.level=warn",
            *more,
        ]
    )
    with (folder / f"{port}.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _until_it_knows_itself(cluster: Cluster) -> None:
    """Wait until the first sample is there."""
    url = f"http://{cluster.host_address}:{PORT}/api/v1/query?query=up"
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if json.load(answer)["data"]["result"]:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError("Prometheus did not scrape itself")
