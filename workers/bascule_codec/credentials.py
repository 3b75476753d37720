"""What a Temporal server demands of its clients, as mounted folders and Secrets carry it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from temporalio.service import TLSConfig

from bascule_api.tenants import TemporalAccess

AUTHORITY, CERTIFICATE, KEY, API_KEY = "ca.crt", "tls.crt", "tls.key", "api-key"
"""Keys of such a Secret, files of such a folder. All are optional; a certificate and its key come together."""


class CredentialsError(ValueError):
    """The credentials contradict themselves."""


@dataclass(frozen=True)
class Credentials:
    """Empty: a plain connection that shows nothing."""

    authority: bytes = b""
    """PEM of who signed the server's certificate; empty: who the system trusts."""
    certificate: bytes = b""
    """PEM that the client shows."""
    key: bytes = field(default=b"", repr=False)
    api_key: str = field(default="", repr=False)
    """Sent as a bearer token: an API key, or a JWT."""
    server_name: str = ""
    """Name that the server's certificate must have; empty: the address's host."""
    encrypted: bool = False
    """Whether the connection is TLS although nothing above asks for it."""

    @property
    def tls(self) -> TLSConfig | bool:
        """For `Client.connect`. A token is never sent over a plain connection."""
        if not (self.encrypted or self.authority or self.certificate or self.api_key or self.server_name):
            return False
        return TLSConfig(
            server_root_ca_cert=self.authority or None,
            domain=self.server_name or None,
            client_cert=self.certificate or None,
            client_private_key=self.key or None,
        )

    def same_connection(self, other: Credentials) -> bool:
        """Whether a connection made with `other` serves these as well, once it has the new token."""
        return bool(self.api_key) == bool(other.api_key) and replace(self, api_key=other.api_key) == other


def read(files: Mapping[str, bytes], *, server_name: str = "", encrypted: bool = False) -> Credentials:
    """The credentials among a Secret's values. Raises CredentialsError."""
    certificate, key = files.get(CERTIFICATE, b""), files.get(KEY, b"")
    if bool(certificate) != bool(key):
        raise CredentialsError(f"{CERTIFICATE} and {KEY} come together: one of them is missing")
    try:
        api_key = files.get(API_KEY, b"").decode("ascii").strip()
    except UnicodeDecodeError:
        raise CredentialsError(f"{API_KEY} is no text") from None
    return Credentials(files.get(AUTHORITY, b""), certificate, key, api_key, server_name, encrypted)


def read_folder(folder: Path | None, *, server_name: str = "", encrypted: bool = False) -> Credentials:
    """The credentials in a folder; None: there are none. Raises CredentialsError."""
    files = {}
    for name in (AUTHORITY, CERTIFICATE, KEY, API_KEY) if folder else ():
        if folder and (folder / name).is_file():
            files[name] = (folder / name).read_bytes()
    return read(files, server_name=server_name, encrypted=encrypted)


ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes]]]
"""(name, the field that names it) -> the Secret's values. Raises whatever its owner raises."""


async def read_access(access: TemporalAccess, secret: ReadSecret) -> Credentials:
    """The credentials that a Tenant names. Raises CredentialsError, and what `secret` raises."""
    files: dict[str, bytes] = {}
    if access.credentials_secret:
        files |= await secret(access.credentials_secret, "spec.temporal.credentialsSecretRef")
    if access.ca_secret:
        authority = await secret(access.ca_secret, "spec.temporal.tls.caSecretRef")
        files[AUTHORITY] = authority.get(AUTHORITY, b"")
    return read(files, server_name=access.server_name, encrypted=access.tls)
