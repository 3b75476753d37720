"""What a registry and a signer promise, on the fakes and on docker-registry and cosign."""

from __future__ import annotations

import ssl

import pytest
from aiohttp import web

from bascule_workers.adapters.oci_registry import OciRegistry
from bascule_workers.adapters.registry_http import RegistryHttp
from bascule_workers.errors import (
    RegistryRefusedError,
    RegistryUnavailableError,
    SigningFailedError,
    VerificationFailedError,
)
from bascule_workers.plans.credentials import Login
from bascule_workers.ports.registry import Repository
from bascule_workers.ports.signer import SigningKey
from hack.cluster.handle import Cluster
from tests.ports.conftest import Subject

CLAIMS = {"dev.bascule.run": "uid/1"}


async def test_a_manifest_is_found_by_tag_and_by_digest(subject: Subject) -> None:
    repository = subject.repository()
    digest = await subject.images.push(repository, "v1", annotations={"a": "b"})

    by_tag = await subject.registry.manifest(repository, "v1")
    by_digest = await subject.registry.manifest(repository, digest)

    assert by_tag == by_digest
    assert by_tag is not None
    assert (by_tag.digest, dict(by_tag.annotations)) == (digest, {"a": "b"})
    assert by_tag.size > 0


async def test_what_is_not_there_is_none(subject: Subject) -> None:
    repository = subject.repository()
    assert await subject.registry.manifest(repository, "v1") is None
    assert await subject.registry.tags(repository) == []
    await subject.images.push(repository, "v1")
    assert await subject.registry.manifest(repository, "v2") is None
    assert await subject.registry.manifest(repository, f"sha256:{'0' * 64}") is None


async def test_asking_whether_one_may_push_leaves_nothing(subject: Subject) -> None:
    repository = subject.repository()
    await subject.registry.check_push(repository)
    assert await subject.registry.tags(repository) == []


async def test_a_tag_moves_to_a_digest_and_back_and_again(subject: Subject) -> None:
    repository = subject.repository()
    one = await subject.images.push(repository, "v1", "one")
    two = await subject.images.push(repository, "v2", "two")
    for digest in (two, two, one):
        await subject.registry.tag(repository, digest, "v1")
        found = await subject.registry.manifest(repository, "v1")
        assert found is not None
        assert found.digest == digest
    assert sorted(await subject.registry.tags(repository)) == ["v1", "v2"]


async def test_a_copy_has_the_same_digest_and_brings_the_signature_along(subject: Subject) -> None:
    source, target = subject.repository(), subject.repository()
    digest = await subject.images.push(source, "r-1", annotations=CLAIMS)
    await subject.signer.sign(source, digest, subject.key, CLAIMS)

    for _ in range(2):
        await subject.registry.copy(source, target, digest)

    assert await subject.registry.manifest(target, digest) == await subject.registry.manifest(source, digest)
    assert await subject.verifier.verify(target, digest, subject.public_key, CLAIMS)
    assert await subject.registry.tags(target) == [], "what carries signatures is no tag of the repository"


async def test_a_deleted_digest_is_gone_with_its_tags_and_signatures_and_copies_survive(subject: Subject) -> None:
    source, target = subject.repository(), subject.repository()
    digest = await subject.images.push(source, "r-1", annotations=CLAIMS)
    other = await subject.images.push(source, "r-2", "other")
    await subject.signer.sign(source, digest, subject.key, CLAIMS)
    await subject.registry.copy(source, target, digest)

    for _ in range(2):
        assert await subject.registry.delete(source, digest)

    assert await subject.registry.manifest(source, digest) is None
    assert await subject.registry.tags(source) == ["r-2"]
    assert await subject.registry.manifest(source, other) is not None
    assert await subject.verifier.verify(target, digest, subject.public_key, CLAIMS)


async def test_a_tag_that_cannot_be_deleted_alone_is_said_so_and_stays(subject: Subject) -> None:
    repository = subject.repository()
    digest = await subject.images.push(repository, "v1")
    assert await subject.registry.delete_tag(repository, "v1") is False
    found = await subject.registry.manifest(repository, "v1")
    assert found is not None
    assert found.digest == digest


async def test_signing_twice_makes_one_signature(subject: Subject) -> None:
    repository = subject.repository()
    digest = await subject.images.push(repository, "r-1")
    await subject.signer.sign(repository, digest, subject.key, CLAIMS)
    first = await subject.verifier.verify(repository, digest, subject.public_key, CLAIMS)
    await subject.signer.sign(repository, digest, subject.key, CLAIMS)
    assert await subject.verifier.verify(repository, digest, subject.public_key, CLAIMS) == first
    if isinstance(subject.registry, OciRegistry):
        assert len(await subject.registry.referrers(repository, digest)) == 1


async def test_what_is_not_signed_so_is_not_verified(subject: Subject) -> None:
    repository = subject.repository()
    digest = await subject.images.push(repository, "r-1", "one")
    other = await subject.images.push(repository, "r-2", "two")
    await subject.signer.sign(repository, digest, subject.key, CLAIMS)

    for what, key, claims in (
        (other, subject.public_key, CLAIMS),
        (digest, subject.foreign_public_key, CLAIMS),
        (digest, subject.public_key, {"dev.bascule.run": "uid/2"}),
    ):
        with pytest.raises(VerificationFailedError):
            await subject.verifier.verify(repository, what, key, claims)


async def test_an_image_with_a_wrong_password_is_not_signed_and_the_password_is_not_quoted(subject: Subject) -> None:
    if not isinstance(subject.registry, OciRegistry):
        pytest.skip("the fake knows no passwords")
    repository = subject.repository()
    digest = await subject.images.push(repository, "r-1")
    with pytest.raises(SigningFailedError, match="cannot be read") as failed:
        await subject.signer.sign(repository, digest, SigningKey(subject.key.pem, "wrong-password"), CLAIMS)
    assert "wrong-password" not in str(failed.value)


async def test_an_index_is_copied_with_all_that_it_lists(subject: Subject) -> None:
    if not isinstance(subject.registry, OciRegistry):
        pytest.skip("the fake knows no indexes")
    source, target = subject.repository(), subject.repository()
    parts = [await subject.images.push(source, f"part{n}", f"content {n}") for n in range(2)]
    digest = await subject.images.push_index(source, "multi", *parts)

    await subject.registry.copy(source, target, digest)

    copied = await subject.registry.manifest(target, digest)
    assert copied is not None
    for part in parts:
        found = await subject.registry.manifest(target, part)
        assert found is not None
        assert copied.size > found.size


async def test_a_registry_that_does_not_answer_is_unavailable(subject: Subject) -> None:
    if not isinstance(subject.registry, OciRegistry):
        pytest.skip("the fake is always there")
    gone = Repository("127.0.0.1:1/a/b")
    with pytest.raises(RegistryUnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        await subject.registry.manifest(gone, "v1")
    with pytest.raises(RegistryUnavailableError):
        await subject.verifier.verify(gone, f"sha256:{'0' * 64}", subject.public_key, {})


async def test_a_registry_that_refuses_says_whose_login_it_was(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(cluster.ca_file))
    http = RegistryHttp()
    try:
        registry = OciRegistry(http)
        name = f"{cluster.host_address}:5001/ports/private"
        with pytest.raises(RegistryRefusedError, match=r"without a login: name a Secret with one in spec\.publish"):
            await registry.check_push(Repository(name))
        with pytest.raises(RegistryRefusedError, match=r"with the login of spec\.publish\.secretRef") as refused:
            await registry.check_push(Repository(name, Login("tenant", "wrong-password")))
        assert "wrong-password" not in str(refused.value)
        await registry.check_push(Repository(name, Login("tenant", "tenant-secret")))
    finally:
        await http.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, RegistryUnavailableError), (503, RegistryUnavailableError), (429, RegistryUnavailableError)]
    + [(403, RegistryRefusedError), (405, RegistryRefusedError)],
)
async def test_statuses_mean(
    unused_tcp_port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext], status: int, error: type[Exception]
) -> None:
    """A scripted registry: what no real one does on demand."""
    server, client = tls

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errors": [{"code": "SOME", "message": "words"}]}, status=status)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port, ssl_context=server).start()
    http = RegistryHttp(client)
    try:
        with pytest.raises(error, match="SOME words"):
            await OciRegistry(http).manifest(Repository(f"127.0.0.1:{unused_tcp_port}/a"), "v1")
    finally:
        await http.close()
        await runner.cleanup()


async def test_a_token_is_fetched_with_the_login_and_used(
    unused_tcp_port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Registries that ask for a bearer token name where to get one."""
    server, client = tls
    host = f"127.0.0.1:{unused_tcp_port}"
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization", "").partition(" ")[0]))
        if request.path == "/token":
            assert request.query["scope"] == "repository:a:pull"
            return web.json_response({"token": "t0ken"})
        if request.headers.get("Authorization") != "Bearer t0ken":
            challenge = f'Bearer realm="https://{host}/token",service="s",scope="repository:a:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.json_response({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port, ssl_context=server).start()
    http = RegistryHttp(client)
    try:
        repository = Repository(f"{host}/a", Login("me", "pw"))
        await OciRegistry(http).manifest(repository, "v1")
        await OciRegistry(http).manifest(repository, "v1")
    finally:
        await http.close()
        await runner.cleanup()
    assert seen == [
        ("/v2/a/manifests/v1", ""),
        ("/token", "Basic"),
        ("/v2/a/manifests/v1", "Bearer"),
        ("/v2/a/manifests/v1", "Bearer"),
    ]
