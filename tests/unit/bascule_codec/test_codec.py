"""Payloads can be read by their own namespace and keys only, and survive a rotation."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from bascule_api.progress import Desired
from bascule_codec import Keyring, KeyringError, data_converter
from bascule_codec.codec import DecryptionError

OLD = Keyring.generate("old")
MESSAGE = Desired(sequence=3, suspended=True)


async def test_a_message_comes_back_as_it_was_and_is_unreadable_in_between() -> None:
    converter = data_converter(OLD, "acme")
    [payload] = await converter.encode([MESSAGE])
    assert b"sequence" not in payload.SerializeToString()
    assert await converter.decode([payload], [Desired]) == [MESSAGE]


async def test_what_one_namespace_wrote_cannot_be_read_in_another() -> None:
    payloads = await data_converter(OLD, "acme").encode([MESSAGE])
    with pytest.raises(DecryptionError, match="not written with key 'old' in the namespace 'globex'"):
        await data_converter(OLD, "globex").decode(payloads, [Desired])


async def test_after_a_rotation_the_new_key_writes_and_the_old_one_still_reads() -> None:
    rotated = Keyring("new", OLD.keys | Keyring.generate("new").keys)
    payloads = await data_converter(OLD, "acme").encode([MESSAGE])
    assert await data_converter(rotated, "acme").decode(payloads, [Desired]) == [MESSAGE]
    [written] = await data_converter(rotated, "acme").encode([MESSAGE])
    assert written.metadata["encryption-key-id"] == b"new"


async def test_a_key_that_is_gone_is_named() -> None:
    payloads = await data_converter(OLD, "acme").encode([MESSAGE])
    with pytest.raises(DecryptionError, match="no key 'old'"):
        await data_converter(Keyring.generate("new"), "acme").decode(payloads, [Desired])


async def test_messages_of_failures_are_encrypted_too() -> None:
    converter, failure = data_converter(OLD, "acme"), Failure()
    await converter.encode_failure(ApplicationError("the canary sings"), failure)
    assert b"canary" not in failure.SerializeToString()
    assert "the canary sings" in str(await converter.decode_failure(failure))


def test_a_keyring_is_read_from_a_mounted_secret(tmp_path: Path) -> None:
    for name, text in OLD.files().items():
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "..data").mkdir()
    assert Keyring.from_directory(tmp_path) == OLD


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        pytest.param({}, "cannot read the payload keys", id="nothing is mounted"),
        pytest.param({"active": "1"}, "active key '1' is not in the keyring", id="the active key is missing"),
        pytest.param({"active": "1", "1": "c2hvcnQ="}, "has 5 bytes, not 32", id="a key is too short"),
        pytest.param({"active": "1", "1": "no base64!"}, "is not base64", id="a key is no base64"),
    ],
)
def test_a_broken_keyring_says_what_is_wrong(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(KeyringError, match=complaint):
        Keyring.from_directory(tmp_path)


def test_a_keyring_does_not_show_its_keys() -> None:
    assert "keys" not in repr(OLD)
