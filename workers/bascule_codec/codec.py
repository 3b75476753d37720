"""AES-256-GCM for Temporal payloads, bound to the Temporal namespace and the key id."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from bascule_codec.keys import Keyring

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
_NONCE_BYTES = 12


class DecryptionError(ValueError):
    """A payload cannot be read with this keyring in this namespace."""


class EncryptionCodec(PayloadCodec):
    """Encrypts with the active key and decrypts with any key of the ring.

    The Temporal namespace and the key id are authenticated with the payload: what one tenant's namespace wrote cannot
    be moved into another's.
    """

    def __init__(self, keyring: Keyring, temporal_namespace: str) -> None:
        self._keyring = keyring
        self._namespace = temporal_namespace
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keyring.keys.items()}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads encrypted with the active key."""
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads in plain; one that is not encrypted stays as it is. Raises DecryptionError."""
        return [self._decrypted(payload) for payload in payloads]

    def _authenticated(self, key_id: str) -> bytes:
        return f"{self._namespace}\0{key_id}".encode()

    def _encrypted(self, payload: Payload) -> Payload:
        key_id = self._keyring.active
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[key_id].encrypt(nonce, payload.SerializeToString(), self._authenticated(key_id))
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id.encode()}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptionError(f"no key {key_id!r} in the keyring; keep retired keys as long as Temporal keeps runs")
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, self._authenticated(key_id)))
        except InvalidTag as error:
            raise DecryptionError(
                f"a payload was not written with key {key_id!r} in the namespace {self._namespace!r}"
            ) from error


def data_converter(keyring: Keyring, temporal_namespace: str) -> DataConverter:
    """Pydantic models as JSON, encrypted for one Temporal namespace; failures' messages and stacks too."""
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(keyring, temporal_namespace),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
