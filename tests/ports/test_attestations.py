"""Signatures, bills of materials and provenance on a real registry, with real cosign and real syft."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bascule_workers.adapters.cosign import CosignSigner, CosignVerifier
from bascule_workers.adapters.cosign_attestations import CosignAttester
from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.platform_key import MountedPlatformKey
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.adapters.syft import Syft
from bascule_workers.errors import RegistryUnavailableError, SbomFailedError, SigningFailedError
from bascule_workers.plans import sboms
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import PredicateType, SigningKey
from hack.cluster.binaries import binaries
from tests.support import registry
from tests.support.registry import LoopbackRegistry

STATUS = """\
Package: hello
Status: install ok installed
Maintainer: Nobody <nobody@example.com>
Architecture: amd64
Version: 2.10-3
Description: a greeting

"""
SYFT = str(Path(sys.executable).with_name("syft"))
CLAIMS = {"dev.bascule.run": "u/1"}


@dataclass(frozen=True)
class KeyPair:
    private: SigningKey
    public: str


Served = tuple[LoopbackRegistry, KeyPair, KeyPair]


@dataclass(frozen=True)
class World:
    """A registry, the adapters that talk to it, two key pairs."""

    server: LoopbackRegistry
    registry: OciRegistry
    tenant: KeyPair
    platform: KeyPair

    @property
    def verifier(self) -> CosignVerifier:
        return CosignVerifier(self.registry)

    def repository(self, name: str) -> Repository:
        return Repository(f"{self.server.host}/{name}")

    def push(self, folder: Path, name: str) -> str:
        """Push an image in which Debian's package `hello` is installed. Returns its digest."""
        tree = folder / "tree"
        (tree / "var/lib/dpkg").mkdir(parents=True)
        (tree / "var/lib/dpkg/status").write_text(STATUS)
        (tree / "etc").mkdir()
        (tree / "etc/os-release").write_text(f'ID=debian\nVERSION_ID="12"\nNAME="{name}"\n')
        image = folder / "image"
        image.mkdir()
        subprocess.run(["tar", "-C", str(tree), "-cf", str(folder / "layer.tar"), "."], check=True)
        layer = _blob(image, (folder / "layer.tar").read_bytes(), "application/vnd.oci.image.layer.v1.tar")
        content = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
        configuration = _blob(image, json.dumps(content).encode(), "application/vnd.oci.image.config.v1+json")
        media_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": configuration, "layers": [layer]}
        raw = json.dumps(manifest).encode()
        (image / "manifest.json").write_bytes(raw)
        (image / "version").write_text("Directory Transport Version: 1.1\n")
        self.server.skopeo("copy", "--preserve-digests", f"dir:{image}", f"docker://{self.server.host}/{name}:t")
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _blob(folder: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (folder / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _key_pair(folder: Path) -> KeyPair:
    folder.mkdir()
    environment = os.environ | {"COSIGN_PASSWORD": "canary-password"}
    subprocess.run(["cosign", "generate-key-pair"], cwd=folder, env=environment, check=True, capture_output=True)
    return KeyPair(
        SigningKey((folder / "cosign.key").read_text(), "canary-password"), (folder / "cosign.pub").read_text()
    )


async def printed_by(world: World, *command: str) -> str:
    run = subprocess.run
    done = await asyncio.to_thread(run, command, env=world.server.environment, check=True, capture_output=True)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def tools() -> Iterator[None]:
    """cosign on PATH, as it is in the worker's image."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{binaries()}:{before}"
    yield
    os.environ["PATH"] = before


@pytest.fixture(scope="module")
def served(
    tools: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LoopbackRegistry, KeyPair, KeyPair]]:
    keys = tmp_path_factory.mktemp("keys")
    with registry.serving(tmp_path_factory.mktemp("registry")) as server:
        yield server, _key_pair(keys / "tenant"), _key_pair(keys / "platform")


@pytest.fixture
async def world(served: Served, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    server, tenant, platform = served
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
    http = RegistryHttp()
    yield World(server, OciRegistry(http), tenant, platform)
    await http.close()


async def test_statements_are_read_back_verified_and_by_digest(world: World, tmp_path: Path) -> None:
    candidates = world.repository("acme/web-candidates")
    digest = world.push(tmp_path, "acme/web-candidates")
    document = sboms.attached(await Syft().describe(candidates, digest), digest, 1_790_000_000)
    await CosignAttester().attest(candidates, digest, world.platform.private, PredicateType.SPDX, document)
    await CosignSigner(world.verifier).sign(candidates, digest, world.tenant.private, CLAIMS)
    statement = {"buildDefinition": {"buildType": "https://x"}, "runDetails": {"builder": {"id": "https://b"}}}
    await CosignAttester().attest(candidates, digest, world.platform.private, PredicateType.SLSA_PROVENANCE, statement)
    target = world.repository("acme/web")

    await world.registry.copy(candidates, target, digest)

    for repository in (candidates, target):
        [sbom] = await world.verifier.attestations(repository, digest, world.platform.public, PredicateType.SPDX)
        assert sboms.wrong(sbom.predicate, digest) == ""
        assert "hello" in [package["name"] for package in sbom.predicate["packages"]]
        [provenance] = await world.verifier.attestations(
            repository, digest, world.platform.public, PredicateType.SLSA_PROVENANCE
        )
        assert provenance.predicate == statement
        signature = await world.verifier.verify(repository, digest, world.tenant.public, CLAIMS)
        assert len({sbom.digest, provenance.digest, signature}) == 3
        assert await world.verifier.attestations(repository, digest, world.tenant.public, PredicateType.SPDX) == []


async def test_a_deleted_image_takes_its_statements_with_it(world: World, tmp_path: Path) -> None:
    repository = world.repository("acme/gone")
    digest = world.push(tmp_path, "acme/gone")
    await CosignSigner(world.verifier).sign(repository, digest, world.tenant.private, CLAIMS)
    for kind in PredicateType:
        await CosignAttester().attest(repository, digest, world.platform.private, kind, {"spdxVersion": "SPDX-2.3"})
    attached = [entry["digest"] for entry in await world.registry.referrers(repository, digest)]
    assert len(attached) == 3

    assert await world.registry.delete(repository, digest)

    assert world.server.tags("acme/gone") == []
    for gone in [digest, *attached]:
        assert await world.registry.fetch(repository, gone) is None


async def test_syfts_own_reader_reads_what_was_attached(world: World, tmp_path: Path) -> None:
    repository = world.repository("acme/read")
    digest = world.push(tmp_path, "acme/read")
    document = sboms.attached(await Syft().describe(repository, digest), digest, 0)
    await CosignAttester().attest(repository, digest, world.platform.private, PredicateType.SPDX, document)
    (tmp_path / "platform.pub").write_text(world.platform.public)
    key = ["--key", str(tmp_path / "platform.pub"), "--insecure-ignore-tlog=true"]
    printed = await printed_by(
        world, "cosign", "verify-attestation", *key, "--type", "spdxjson", f"{repository.name}@{digest}"
    )
    statement = json.loads(base64.b64decode(json.loads(printed)["payload"]))
    (tmp_path / "sbom.spdx.json").write_text(json.dumps(statement["predicate"]))

    read = await printed_by(world, SYFT, "convert", str(tmp_path / "sbom.spdx.json"), "-o", "syft-json")

    assert [package["name"] for package in json.loads(read)["artifacts"]] == ["hello"]


async def test_one_image_gives_one_document_whenever_it_is_made(world: World, tmp_path: Path) -> None:
    repository = world.repository("acme/same")
    digest = world.push(tmp_path, "acme/same")
    maker = Syft()

    first, second = [sboms.attached(await maker.describe(repository, digest), digest, 0) for _ in range(2)]

    assert first == second


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"password": "wrong"}, "decryption failed", id="a wrong password"),
        pytest.param({"pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "", id="another type"),
        pytest.param({"pem": "no key at all"}, "", id="no key"),
    ],
)
async def test_a_key_that_cannot_sign_attaches_nothing_and_is_not_quoted(
    world: World, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    repository = world.repository("acme/unsigned")
    digest = world.push(tmp_path, "acme/unsigned")
    key = SigningKey(**({"pem": world.platform.private.pem, "password": world.platform.private.password} | change))

    with pytest.raises(SigningFailedError, match="cosign cannot attest") as failed:
        await CosignAttester().attest(repository, digest, key, PredicateType.SPDX, {"spdxVersion": "SPDX-2.3"})

    assert said in str(failed.value)
    assert not failed.value.retryable
    assert "canary-password" not in str(failed.value)
    assert await world.registry.referrers(repository, digest) == []


async def test_a_registry_that_is_away_is_worth_another_attempt(tools: None) -> None:
    away = Repository("127.0.0.1:1/acme/web")

    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        await Syft().describe(away, f"sha256:{'a' * 64}")


@pytest.mark.parametrize(
    ("script", "said", "retryable"),
    [
        pytest.param("echo 'panic: out of range' >&2; exit 2", "exit code 2: panic: out of range", False, id="crashes"),
        pytest.param("kill -9 $$", "ended by signal 9", True, id="is killed"),
        pytest.param("exit 0", "wrote nothing", False, id="writes nothing"),
        pytest.param('echo "{" > "${3#spdx-json=}"', "no JSON", False, id="writes half a document"),
        pytest.param('truncate -s 33M "${3#spdx-json=}"', "has 33 MiB; the limit is 32 MiB", False, id="writes much"),
    ],
)
async def test_a_syft_that(tmp_path: Path, script: str, said: str, retryable: bool) -> None:
    command = tmp_path / "syft"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)

    with pytest.raises(SbomFailedError, match=said) as failed:
        await Syft(str(command)).describe(Repository("r.example.com/a"), f"sha256:{'a' * 64}")

    assert failed.value.retryable is retryable


def test_the_platforms_key_is_read_from_where_it_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "cosign.key").write_text("pem")
    (tmp_path / "cosign.password").write_text("password")
    (tmp_path / "cosign.pub").write_text("public")

    assert MountedPlatformKey(None, None).private() is None
    assert MountedPlatformKey(tmp_path, tmp_path / "none").public() is None
    mounted = MountedPlatformKey(tmp_path, tmp_path / "cosign.pub")
    assert (mounted.private(), mounted.public()) == (SigningKey("pem", "password"), "public")
    with pytest.raises(SigningFailedError, match="cannot be read"):
        MountedPlatformKey(tmp_path / "none", None).private()
