"""The real counterparts of the ports: a registry on loopback, cosign, and the cluster's API server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from bascule_workers.adapters.api_server import ApiServer
from bascule_workers.adapters.cosign import CosignSigner, CosignVerifier
from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.ports.registry import Registry, Repository
from bascule_workers.ports.signer import Signer, SigningKey, Verifier
from hack import installation
from hack.cluster.handle import Cluster
from tests.support import registry as loopback
from tests.support.fake_registry import FakeRegistry, FakeSigner, FakeVerifier
from tests.support.images import Images
from tests.support.registry import LoopbackRegistry


@dataclass(frozen=True)
class Subject:
    """One implementation of registry, signer and verifier, with a way to push a test image."""

    registry: Registry
    signer: Signer
    verifier: Verifier
    key: SigningKey
    public_key: str
    foreign_public_key: str
    images: Images
    host: str

    def repository(self, name: str = "") -> Repository:
        return Repository(f"{self.host}/{name or uuid4().hex}")


@pytest.fixture(scope="session")
def loopback_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    with loopback.serving(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def keys(cluster: Cluster) -> list[tuple[str, str, str]]:
    """Two key pairs: private PEM, password, public PEM."""
    return [installation.make_key_pair(cluster) for _ in range(2)]


@pytest.fixture(params=["fake", "real"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """The fake, and then what it stands for."""
    if request.param == "fake":
        fake = FakeRegistry()
        key = SigningKey("private", "password")
        yield Subject(
            fake, FakeSigner(fake), FakeVerifier(fake), key, key.pem[::-1], "other", Images(fake), "fake.example.com"
        )
        return
    registry: LoopbackRegistry = request.getfixturevalue("loopback_registry")
    keys: list[tuple[str, str, str]] = request.getfixturevalue("keys")
    cluster: Cluster = request.getfixturevalue("cluster")
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("PATH", cluster.environment["PATH"])
    patch.setenv("SSL_CERT_FILE", str(registry.ca_file))
    http = RegistryHttp(ssl.create_default_context(cafile=registry.ca_file))
    real = OciRegistry(http)
    verifier = CosignVerifier(real)
    (pem, password, public), (_, _, foreign) = keys
    yield Subject(
        real, CosignSigner(verifier), verifier, SigningKey(pem, password), public, foreign, Images(http), registry.host
    )
    await http.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a scripted server on loopback, and for its client."""
    certificate, key = loopback.make_certificate(tmp_path_factory.mktemp("tls"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[ApiServer]:
    """The real API server, as administrator."""
    server = await ApiServer.connect(str(cluster.kubeconfig))
    yield server
    await server.close()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"ports-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "Containerfile").write_text("FROM scratch\n")
    return folder
