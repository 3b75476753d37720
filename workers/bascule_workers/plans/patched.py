"""The record of what a run patched: small enough for a memo, whatever the targets are called."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

BYTES = 8
"""Of each name's hash. Among 5,000 targets, two names with the same 64 bits meet once in 10^12 campaigns."""


@dataclass(frozen=True)
class PatchedNames:
    """A set of names, known by their hashes."""

    hashes: frozenset[bytes] = frozenset()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _hash(name) in self.hashes

    def __or__(self, other: PatchedNames) -> PatchedNames:
        return PatchedNames(self.hashes | other.hashes)

    def __sub__(self, other: PatchedNames) -> PatchedNames:
        return PatchedNames(self.hashes - other.hashes)

    def __len__(self) -> int:
        return len(self.hashes)


def packed(names: Iterable[str]) -> str:
    """The record: the same for the same names, in whatever order. About 11 characters for each name."""
    return record_of(PatchedNames(frozenset(_hash(name) for name in names)))


def record_of(found: PatchedNames) -> str:
    """The record of such a set."""
    return base64.b64encode(b"".join(sorted(found.hashes))).decode()


def unpacked(record: str) -> PatchedNames:
    """What is in a record. Raises ValueError for what is none."""
    try:
        content = base64.b64decode(record, validate=True)
    except binascii.Error as error:
        raise ValueError("the record of patched targets is no base64") from error
    if len(content) % BYTES:
        raise ValueError("the record of patched targets is cut off")
    return PatchedNames(frozenset(content[begin : begin + BYTES] for begin in range(0, len(content), BYTES)))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:BYTES]
