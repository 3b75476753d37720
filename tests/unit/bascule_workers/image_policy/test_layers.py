"""Reading layers' archives: real ones, broken ones and hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import pytest

from bascule_workers.image_policy import layers
from bascule_workers.image_policy.layers import Bounds, Budget
from bascule_workers.image_policy.table import FileTable, MalformedImageError, Type

GZIP, TAR = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"
KEY = (
    b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n" * 3
)
SMALL = Bounds(unpacked=64 << 20)


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as writer:
        for info, content in members:
            writer.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read(path: Path, content: bytes, media_type: str = TAR, bounds: Bounds = SMALL) -> FileTable:
    blob = path / "blob"
    blob.write_bytes(content)
    table = FileTable(bounds.entries)
    layers.apply(table, 0, layers.unpacked(blob, media_type), Budget(bounds))
    return table


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_a_layer_is_read(tmp_path: Path, kind: int, packed: bool) -> None:
    content = archive(
        member("etc/", type=tarfile.DIRTYPE, mode=0o755),
        member("etc/shadow", b"root:*:1::::::\n", mode=0o640, gid=42),
        member("usr/bin/su", b"x" * 600_000, mode=0o4755),
        member("bin", type=tarfile.SYMTYPE, linkname="usr/bin"),
        member("usr/bin/su2", type=tarfile.LNKTYPE, linkname="usr/bin/su"),
        member("dev/null", type=tarfile.CHRTYPE, mode=0o666),
        member("long/" + "n" * 150 + "/ä", b"1"),
        kind=kind,
    )
    table = read(tmp_path, gzip.compress(content) if packed else content, GZIP if packed else TAR)
    assert table.files["/etc/shadow"].content == b"root:*:1::::::\n"
    assert (table.files["/etc/shadow"].mode, table.files["/etc/shadow"].gid) == (0o640, 42)
    assert table.files["/usr/bin/su2"].mode == 0o4755
    assert table.files["/usr/bin/su"].content is None
    assert table.files["/bin"].target == "usr/bin"
    assert table.files["/dev/null"].type is Type.OTHER
    assert "/long/" + "n" * 150 + "/ä" in table.files


def test_capabilities_are_seen(tmp_path: Path) -> None:
    headers = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
    assert read(tmp_path, archive(member("usr/bin/x", b"x", pax_headers=headers))).files["/usr/bin/x"].capabilities


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(KEY, "OPENSSH private key", id="at the beginning"),
        pytest.param(b"x" * ((1 << 18) - 20) + KEY, "OPENSSH private key", id="between two pieces"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nMII\n" + KEY, "OPENSSH private key", id="after a certificate"),
        pytest.param(KEY.replace(b"OPENSSH ", b""), "private key", id="PKCS 8"),
        pytest.param(KEY.replace(b"OPENSSH", b"ENCRYPTED"), "ENCRYPTED private key", id="with a password"),
        pytest.param(
            KEY.replace(b"-----\nb3", b"-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nb3").replace(
                b"OPENSSH", b"RSA"
            ),
            "RSA private key",
            id="with old headers",
        ),
        pytest.param(KEY.replace(b"\n", b"\r\n"), "OPENSSH private key", id="with a carriage return"),
        pytest.param(b"\x7fELF" + KEY, "", id="the self-test of a library"),
        pytest.param(KEY.splitlines()[0] + b"\0 is how a key begins", "", id="the words alone"),
        pytest.param(KEY.replace(b"PRIVATE", b"PUBLIC"), "", id="a public key"),
    ],
)
def test_private_keys_are_told_from_words_about_them(tmp_path: Path, content: bytes, expected: str) -> None:
    assert read(tmp_path, archive(member("f", content))).files["/f"].private_key == expected


def test_a_second_member_of_a_gzip_file_is_read(tmp_path: Path) -> None:
    first, second = archive(member("a", b"1"))[:1024], archive(member("b", b"2"))
    table = read(tmp_path, gzip.compress(first) + gzip.compress(second), GZIP)
    assert {"/a", "/b"} <= set(table.files)


def test_what_follows_zero_blocks_is_read(tmp_path: Path) -> None:
    table = read(tmp_path, archive(member("a", b"1")) + archive(member("b", b"2")))
    assert {"/a", "/b"} <= set(table.files)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    info = tarfile.TarInfo("zeros")
    info.size = 2 << 30
    bomb = packer.compress(info.tobuf())
    for _ in range(256):
        bomb += packer.compress(bytes(1 << 20))
    bomb += packer.flush()
    tracemalloc.start()
    with pytest.raises(MalformedImageError, match="unpacks to more than"):
        read(tmp_path, bomb, GZIP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_huge_header_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 48 << 20
    content = gzip.compress(info.tobuf() + bytes(48 << 20))
    tracemalloc.start()
    with pytest.raises(MalformedImageError, match="larger than any real one"):
        read(tmp_path, content, GZIP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def claimed(size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        pytest.param(b"no archive at all" * 100, TAR, id="no tar"),
        pytest.param(b"no archive at all", GZIP, id="no gzip"),
        pytest.param(b"", GZIP, id="an empty blob"),
        pytest.param(gzip.compress(archive(member("a", b"1" * 9000)))[:-20], GZIP, id="gzip that breaks off"),
        pytest.param(archive(member("a", b"1" * 9000))[:4000], TAR, id="tar that breaks off"),
        pytest.param(claimed(8 << 40), TAR, id="a size that is not there"),
        pytest.param(claimed(-5), TAR, id="a size below nothing"),
        pytest.param(archive(member("../../etc/cron.d/x", b"1")), TAR, id="a path that leads out"),
        pytest.param(archive(member("x", type=tarfile.LNKTYPE, linkname="../../etc/shadow")), TAR, id="a link outside"),
        pytest.param(archive(), "application/vnd.oci.image.layer.v1.tar+zstd", id="zstd"),
        pytest.param(archive(), "text/plain", id="something else"),
    ],
)
def test_what_cannot_be_read_is_no_image(tmp_path: Path, content: bytes, media_type: str) -> None:
    with pytest.raises(MalformedImageError):
        read(tmp_path, content, media_type)


def test_names_that_are_no_text_are_kept_apart(tmp_path: Path) -> None:
    content = archive(member("ab"), kind=tarfile.GNU_FORMAT).replace(b"ab\0", b"\xff\xfe\0", 1)
    header = bytearray(content[:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    table = read(tmp_path, bytes(header) + content[512:])
    assert "/\\xff\\xfe" in table.files


def test_a_file_is_read_over_when_it_is_large(tmp_path: Path) -> None:
    bounds = Bounds(scanned=1 << 16, unpacked=64 << 20)
    content = archive(member("large", bytes(20 << 20)), member("after", b"1"))
    assert "/after" in read(tmp_path, content, bounds=bounds).files
