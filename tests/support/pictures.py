"""What a test asks of a PNG that a browser made. Meant for small ones: every byte passes through Python."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}
Pixel = tuple[int, int, int]


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    if not png.startswith(_SIGNATURE):
        raise ValueError("this is no PNG")
    return struct.unpack(">II", png[16:24])


def brightness(png: bytes) -> float:
    """The mean brightness of all pixels, from 0 (black) to 1 (white)."""
    seen = list(pixels(png))
    return sum(sum(pixel) for pixel in seen) / (len(seen) * 3 * 255)


def pixels(png: bytes) -> Iterator[Pixel]:
    """The pixels of a PNG with 8 bits of red, green and blue, row by row. Raises ValueError for any other."""
    width, height = size(png)
    depth, kind, _, _, interlaced = png[24:29]
    if depth != 8 or kind not in _CHANNELS or interlaced:
        raise ValueError(f"depth {depth}, colour type {kind}, interlaced {interlaced}: not read here")
    step = _CHANNELS[kind]
    raw = zlib.decompress(b"".join(_data(png)))
    above = bytes(width * step)
    for row in range(height):
        start = row * (width * step + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + width * step], above, step)
        for at in range(0, len(above), step):
            yield above[at], above[at + 1], above[at + 2]


def _data(png: bytes) -> Iterator[bytes]:
    at = len(_SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            yield png[at + 8 : at + 8 + length]
        at += length + 12


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """A row as it was before its filter. Source: PNG specification, section 9."""
    row = bytearray(line)
    for at in range(len(row)):
        left = row[at - step] if at >= step else 0
        corner = above[at - step] if at >= step else 0
        match kind:
            case 0:
                continue
            case 1:
                guess = left
            case 2:
                guess = above[at]
            case 3:
                guess = (left + above[at]) // 2
            case _:
                guess = _paeth(left, above[at], corner)
        row[at] = (row[at] + guess) & 0xFF
    return bytes(row)


def _paeth(left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    return min((left, above, corner), key=lambda each: abs(estimate - each))
