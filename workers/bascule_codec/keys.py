"""The keys that payloads are encrypted with: one is active, retired ones still decrypt."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from pathlib import Path

KEY_BYTES = 32
ACTIVE = "active"


class KeyringError(Exception):
    """The keyring cannot be used. The message names the file, never what is in it."""


@dataclass(frozen=True)
class Keyring:
    """Keys by id. `active` is the id of the key that encrypts; every key decrypts."""

    active: str
    keys: dict[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.active not in self.keys:
            raise KeyringError(f"the active key {self.active!r} is not in the keyring")
        for key_id, key in self.keys.items():
            if len(key) != KEY_BYTES:
                raise KeyringError(f"key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}")

    @classmethod
    def from_directory(cls, path: Path) -> Keyring:
        """The keyring in a directory such as a mounted Secret.

        Each file `<key-id>` holds 32 bytes in base64; the file `active` holds the id of the active key. Names that
        begin with a dot are Kubernetes' own and skipped. Raises KeyringError naming the file that is wrong.
        """
        try:
            files = sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_file())
            active = (path / ACTIVE).read_text().strip()
            return cls(active, {file.name: _key_in(file) for file in files if file.name != ACTIVE})
        except OSError as error:
            raise KeyringError(f"cannot read the payload keys in {path}: {error.strerror}") from error

    @classmethod
    def generate(cls, key_id: str = "1") -> Keyring:
        """A keyring with one new key."""
        return cls(key_id, {key_id: secrets.token_bytes(KEY_BYTES)})

    def files(self) -> dict[str, str]:
        """The directory that `from_directory` reads, as file names and their text."""
        return {ACTIVE: self.active} | {key_id: base64.b64encode(key).decode() for key_id, key in self.keys.items()}


def _key_in(file: Path) -> bytes:
    try:
        return base64.b64decode(file.read_text().strip(), validate=True)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise KeyringError(f"the payload key in {file} is not base64") from error
