"""What a Temporal server demands of its clients, as folders and Secrets carry it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from temporalio.service import TLSConfig

from bascule_api.tenants import PLATFORM_ACCESS, TemporalAccess, TemporalSpec
from bascule_codec.credentials import Credentials, CredentialsError, read, read_access, read_folder


@pytest.mark.parametrize(
    ("credentials", "tls"),
    [
        pytest.param(Credentials(), False, id="nothing is demanded: a plain connection"),
        pytest.param(Credentials(encrypted=True), TLSConfig(), id="TLS with the authorities of the system"),
        pytest.param(Credentials(api_key="k"), TLSConfig(), id="a token is never sent over a plain connection"),
        pytest.param(Credentials(authority=b"ca"), TLSConfig(server_root_ca_cert=b"ca"), id="an authority of its own"),
        pytest.param(Credentials(server_name="t"), TLSConfig(domain="t"), id="a name of its own"),
        pytest.param(
            Credentials(certificate=b"crt", key=b"key"),
            TLSConfig(client_cert=b"crt", client_private_key=b"key"),
            id="a client certificate",
        ),
    ],
)
def test_when_a_connection_is_encrypted(credentials: Credentials, tls: TLSConfig | bool) -> None:
    assert credentials.tls == tls


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        pytest.param({"tls.crt": b"x"}, "tls.key come together", id="a certificate without its key"),
        pytest.param({"tls.key": b"x"}, "tls.key come together", id="a key without its certificate"),
        pytest.param({"api-key": b"\xff"}, "api-key is no text", id="a token that is no text"),
    ],
)
def test_credentials_that_contradict_themselves(files: Mapping[str, bytes], complaint: str) -> None:
    with pytest.raises(CredentialsError, match=complaint):
        read(files)


def test_a_folder_has_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"ca")
    (tmp_path / "api-key").write_text("token\n")
    assert read_folder(tmp_path, server_name="t") == Credentials(authority=b"ca", api_key="token", server_name="t")
    assert read_folder(None) == Credentials()


def test_no_secret_is_in_a_representation() -> None:
    told = repr(Credentials(certificate=b"c", key=b"private", api_key="token"))
    assert "private" not in told
    assert "token" not in told


@pytest.mark.parametrize(
    ("later", "same"),
    [
        pytest.param(Credentials(certificate=b"c", key=b"k", api_key="new"), True, id="another token: told to it"),
        pytest.param(Credentials(certificate=b"d", key=b"k", api_key="old"), False, id="another certificate"),
        pytest.param(Credentials(certificate=b"c", key=b"l", api_key="old"), False, id="another key"),
        pytest.param(Credentials(certificate=b"c", key=b"k"), False, id="no token any more"),
    ],
)
def test_when_a_connection_serves_on(later: Credentials, same: bool) -> None:
    assert later.same_connection(Credentials(certificate=b"c", key=b"k", api_key="old")) is same


@pytest.mark.parametrize(
    ("spec", "access"),
    [
        pytest.param({}, PLATFORM_ACCESS, id="the platform's"),
        pytest.param(
            {"credentialsSecretRef": {"name": "acme"}}, TemporalAccess(credentials_secret="acme"), id="its own Secret"
        ),
        pytest.param({"tls": {}}, TemporalAccess(tls=True), id="TLS, and nothing else"),
        pytest.param(
            {"tls": {"serverName": "t", "caSecretRef": {"name": "ca"}}},
            TemporalAccess(ca_secret="ca", server_name="t", tls=True),
            id="an authority of its own",
        ),
    ],
)
def test_how_a_tenant_names_its_credentials(spec: dict[str, object], access: TemporalAccess) -> None:
    assert TemporalSpec.model_validate(spec).access == access


async def test_a_tenants_authority_comes_before_the_one_beside_its_token() -> None:
    secrets = {"acme": {"api-key": b"token", "ca.crt": b"old"}, "ca": {"ca.crt": b"new"}}

    async def secret(name: str, named_by: str) -> Mapping[str, bytes]:
        return secrets[name]

    access = TemporalAccess(credentials_secret="acme", ca_secret="ca", server_name="t", tls=True)
    found = await read_access(access, secret)
    assert found == Credentials(authority=b"new", api_key="token", server_name="t", encrypted=True)
