"""The Procedure `files-restore` with real archives in a real registry."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bascule_workers.in_step.contract import ExitCode
from tests.support.drill_procedures import FILES, POINT, DrillStep, archive, entry, pushed, zstd
from tests.support.registry import LoopbackRegistry
from tests.support.steps import Ended


@pytest.fixture
def run(tmp_path: Path, loopback_registry: LoopbackRegistry) -> DrillStep:
    return DrillStep(tmp_path, loopback_registry)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restored_files(run: DrillStep, target: Path, content: bytes, folder: Path, point: str = POINT) -> Ended:
    run.extra["BASCULE_TARGET_DIR"] = str(target)
    return run.run("files_restore", claim="data", artifact=pushed(run.images, folder, content, point))


@pytest.mark.parametrize("packing", [bytes, gzip.compress, zstd], ids=["as it is", "gzip", "zstd"])
def test_files_take_the_place_of_what_was_there(
    run: DrillStep, tmp_path: Path, packing: Callable[[bytes], bytes]
) -> None:
    target = tmp_path / "claim"
    (target / "lost+found").mkdir(parents=True)
    (target / "old").mkdir()
    (target / "old" / "x").write_text("old")
    (target / ".bascule-partial").mkdir()
    (target / ".bascule-partial" / "half").write_text("of an attempt that died")

    for _ in range(2):
        ended = restored_files(run, target, packing(FILES), tmp_path)
        assert ended.code == 0, ended.message
    assert contents(target) == {"a.txt": b"hello", "sub/b.bin": bytes(70_000)}
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "lost+found", "sub"]
    assert ended.results["recoveryPoint"] == POINT


SPARSE = entry("s", tarfile.GNUTYPE_SPARSE)
HOSTILE = {
    "parent": (archive(("../x", b"x")), "leads out of its folder"),
    "deep parent": (archive(("a/../../x", b"x")), "leads out of its folder"),
    "absolute": (archive(("/etc/x", b"x")), "leads out of its folder"),
    "ours": (archive((".bascule-partial/x", b"x")), "leads out of its folder"),
    "symbolic link": (archive(("l", entry("l", tarfile.SYMTYPE, "/etc"))), "holds a link"),
    "hard link": (archive(("l", entry("l", tarfile.LNKTYPE, "/etc/passwd"))), "holds a link"),
    "device": (archive(("d", entry("d", tarfile.CHRTYPE))), "holds no file"),
    "pipe": (archive(("p", entry("p", tarfile.FIFOTYPE))), "holds no file"),
    "empty": (archive(), "is empty"),
    "no archive": (b"hello" * 1000, "truncated or damaged"),
    "cut off in a file": (FILES[:20_000], "truncated"),
    "cut off between files": (FILES[:1536], "is truncated: it has no end"),
    "gzip, cut off": (gzip.compress(FILES)[:-20], "truncated or damaged"),
    "zstd, cut off": (zstd(FILES)[:-20], "truncated"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_or_damaged_archive_changes_nothing(
    run: DrillStep, tmp_path: Path, content: bytes, told: str
) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    (target / "old").write_text("old")

    ended = restored_files(run, target, content, tmp_path)

    assert (ended.code, run.failure) == (ExitCode.INVALID, "BackupNotFound"), ended.message
    assert told in ended.message
    assert {name: text for name, text in contents(target).items() if not name.startswith(".bascule")} == {"old": b"old"}
    assert not (tmp_path / "x").exists()


def test_a_base_backup_tells_itself_when_it_began(run: DrillStep, tmp_path: Path) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    label = b"START WAL LOCATION: 0/2000028\nSTART TIME: 2026-11-22 13:05:41 UTC\nLABEL: nightly\n"
    ended = restored_files(run, target, archive(("backup_label", label)), tmp_path, point="")
    assert ended.results["recoveryPoint"] == POINT


def test_more_than_the_claim_holds_is_told_before_it_is_full(run: DrillStep, tmp_path: Path) -> None:
    target = tmp_path / "claim"
    target.mkdir()
    huge = tarfile.TarInfo("huge")
    huge.size = 1 << 50
    content = huge.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
    ended = restored_files(run, target, content, tmp_path)
    assert (ended.code, "the claim is too small" in ended.message) == (ExitCode.INVALID, True)
