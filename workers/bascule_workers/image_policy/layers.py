"""Reads a layer's archive as a stream: decompressed in pieces, bounded at every turn, never written anywhere."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

from bascule_workers.image_policy.table import Entry, FileTable, MalformedImageError, Type

_PIECE = 1 << 18
_HEADERS = 4 << 20
"""Bytes that may be read between one entry's content and the next entry: real headers take a few kilobytes."""
_CAPABILITIES = "SCHILY.xattr.security.capability"
_OVERLAP = 8192
"""Bytes of the last piece that are looked at again with the next, since a key may begin in one and end in the other."""

# A header alone proves nothing: every TLS library holds the words. A key has its lines of base64 below it, after the
# headers that old encrypted ones have.
_KEY = re.compile(
    rb"-----BEGIN (?P<kind>(?:[A-Z0-9]+ ){0,3})PRIVATE KEY(?: BLOCK)?-----[ \t]*\r?\n"
    rb"(?:[A-Za-z-]+: [^\r\n]{0,200}\r?\n){0,5}(?:\r?\n)?[A-Za-z0-9+/=]{40,}"
)
# Programs and libraries are not searched: TLS libraries that are in every Debian image carry whole keys for self-tests.
_PROGRAMS = (b"\x7fELF", b"!<arch>\n")
_CONTENT = re.compile(r"/(passwd|shadow|shadow-|passwd-|authorized_keys2?)$|^/etc/ssh/authorized_keys/[^/]+$")


@dataclass(frozen=True)
class Bounds:
    """What an image may cost us. A normal one stays far below all of it."""

    layers: int = 512
    entries: int = 1_000_000
    unpacked: int = 32 << 30
    """Bytes of all layers together."""
    scanned: int = 8 << 20
    """Bytes of one file that are looked at for private keys."""
    content: int = 1 << 20
    """Bytes of one file that is looked at as a whole."""


class Budget:
    """Counts what all layers of an image unpack to."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.left = bounds.unpacked

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise MalformedImageError(f"the image unpacks to more than {self.bounds.unpacked} bytes")


class _Stream:
    """The unpacked archive as tarfile reads it. `allowed` bounds what may be read before it is raised again: tarfile
    reads whole headers into memory, and a header may claim any size."""

    def __init__(self, pieces: Iterator[bytes], budget: Budget) -> None:
        self._pieces, self._budget = pieces, budget
        self._buffer, self._at = b"", 0
        self.allowed = _HEADERS

    def read(self, size: int) -> bytes:
        if len(self._buffer) - self._at < size:
            self._buffer, self._at = self._buffer[self._at :], 0
            while len(self._buffer) < size and (piece := next(self._pieces, b"")):
                self._buffer += piece
        found = self._buffer[self._at : self._at + size]
        self._at += len(found)
        self._budget.spend(len(found))
        self.allowed -= len(found)
        if self.allowed < 0:
            raise MalformedImageError("a header of a layer's archive is larger than any real one")
        return found


def unpacked(path: Path, media_type: str) -> Iterator[bytes]:
    """The layer's archive in pieces of bounded size, whatever the compression promises. Raises MalformedImageError."""
    if media_type.endswith((".tar", "+tar", "diff.tar")):
        yield from _raw(path)
    elif media_type.endswith(("+gzip", ".gzip")):
        yield from _gunzipped(path)
    else:
        raise MalformedImageError(
            f"a layer has the type {media_type}, which is not looked into; build with gzip layers"
        )


def _raw(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _gunzipped(path: Path) -> Iterator[bytes]:
    """All members of the gzip file, as runtimes read it: a second one is content too."""
    inflater = zlib.decompressobj(wbits=31)
    pending, began = b"", False
    source = _raw(path)
    try:
        while True:
            if not pending and not (pending := next(source, b"")):
                break
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
            began = True
            if piece := inflater.decompress(pending, _PIECE):
                yield piece
            pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(b"", _PIECE)):
            yield piece
    except zlib.error as error:
        raise MalformedImageError(f"a layer is not gzip as it claims to be: {error}") from None
    if not began or not inflater.eof:
        raise MalformedImageError("a layer breaks off")


def apply(table: FileTable, layer: int, pieces: Iterator[bytes], budget: Budget) -> None:
    """Apply one layer to the table. Raises MalformedImageError."""
    stream = _Stream(pieces, budget)
    try:
        # Zero blocks in the middle end the archive for some readers and not for others; what any of them sees counts.
        with tarfile.open(
            fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Header, ignore_zeros=True, encoding="utf-8"
        ) as archive:
            unread = 0
            while (member := _next(archive, stream, unread)) is not None:
                if member.issparse() or member.size < 0:
                    raise MalformedImageError(
                        f"{member.name[:200]!r} is stored as no image has it (sparse, or no size)"
                    )
                _apply_member(table, layer, archive, member, stream, budget.bounds)
                unread = member.size if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES else 0
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise MalformedImageError(f"layer {layer + 1} is no archive that can be read: {error}") from None


class _Header(tarfile.TarInfo):
    """A header that is none ends the reading: tarfile would look for the next one, and take garbage for no files."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.count(0) == len(buf):
                raise
            raise MalformedImageError(f"a layer is no tar archive: {error}") from None


def _next(archive: tarfile.TarFile, stream: _Stream, unread: int) -> tarfile.TarInfo | None:
    """The next entry; content of the last one that was not looked at is read over on the way."""
    stream.allowed = unread + _HEADERS
    member = archive.next()
    # The archive remembers every member; with a million of them that would be most of our memory.
    archive.members = []  # type: ignore[attr-defined]
    return member


def _apply_member(
    table: FileTable, layer: int, archive: tarfile.TarFile, member: tarfile.TarInfo, stream: _Stream, bounds: Bounds
) -> None:
    name = _text(member.name)
    if member.islnk():
        table.link(name, _text(member.linkname), layer)
        return
    content, key = None, ""
    if member.isreg() and member.size:
        stream.allowed = member.size + _HEADERS
        content, key = _looked_at(archive, member, f"/{name.lstrip('./')}", bounds)
    kind = Type.FILE if member.isreg() else Type.FOLDER if member.isdir() else Type.OTHER
    entry = Entry(
        type=Type.LINK if member.issym() else kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        layer=layer,
        target=_text(member.linkname)[:4096] if member.issym() else "",
        content=content if content is not None else (b"" if member.isreg() and not member.size else None),
        private_key=key,
        capabilities=_CAPABILITIES in member.pax_headers,
    )
    table.add(name, entry)


def _text(name: str) -> str:
    """Names are bytes; what is no UTF-8 is shown as such and does not break a report."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _looked_at(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, bounds: Bounds
) -> tuple[bytes | None, str]:
    """The content where the name says that it matters, and the kind of private key that is in it."""
    source = archive.extractfile(member)
    if source is None:
        return None, ""
    whole = bool(_CONTENT.search(path)) and member.size <= bounds.content
    kept, tail, key, seen = [], b"", "", 0
    while seen < min(member.size, bounds.scanned) and (piece := source.read(_PIECE)):
        if seen == 0 and piece.startswith(_PROGRAMS):
            break
        seen += len(piece)
        if whole:
            kept.append(piece)
        if not key and (found := _KEY.search(tail + piece)):
            key = _kind(found["kind"])
        tail = (tail + piece)[-_OVERLAP:]
    # A name that says "content" before bytes that say "program" is not believed to be an empty file.
    return b"".join(kept) if whole and seen else None, key


def _kind(words: bytes) -> str:
    return f"{words.decode().strip()} private key".strip()
