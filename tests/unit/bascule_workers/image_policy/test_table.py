"""The table of an image's files, made from layers."""

from __future__ import annotations

import pytest

from bascule_workers.image_policy.table import Entry, FileTable, MalformedImageError, Type


def file(layer: int = 0, content: bytes = b"", mode: int = 0o644, key: str = "") -> Entry:
    return Entry(Type.FILE, mode, 0, 0, layer, content=content, private_key=key)


def folder(layer: int = 0, mode: int = 0o755) -> Entry:
    return Entry(Type.FOLDER, mode, 0, 0, layer)


def link(target: str, layer: int = 0) -> Entry:
    return Entry(Type.LINK, 0o777, 0, 0, layer, target=target)


def table(*entries: tuple[str, Entry], most: int = 1000) -> FileTable:
    made = FileTable(most)
    for name, entry in entries:
        made.add(name, entry)
    return made


def names(made: FileTable) -> list[str]:
    return sorted(path for path, entry in made.files.items() if entry.type is not Type.FOLDER)


def test_a_later_layer_wins() -> None:
    made = table(("./etc/a", file(0, b"old")), ("etc/a", file(1, b"new")))
    assert made.files["/etc/a"].content == b"new"


def test_the_root_folder_has_a_mode_too() -> None:
    assert table(("./", folder(mode=0o777))).files["/"].mode == 0o777


def test_missing_folders_are_made() -> None:
    assert table(("a/b/c", file())).files["/a/b"] == folder()


@pytest.mark.parametrize(
    ("whiteout", "left"),
    [
        pytest.param("a/.wh.b", ["/a/c"], id="a folder with all below it"),
        pytest.param("a/.wh..wh..opq", [], id="everything of a folder"),
        pytest.param(".wh..wh..opq", [], id="everything"),
        pytest.param("a/.wh.nothing", ["/a/b/x", "/a/c"], id="nothing"),
    ],
)
def test_whiteouts_take_lower_layers_away(whiteout: str, left: list[str]) -> None:
    assert names(table(("a/b/x", file()), ("a/c", file()), (whiteout, file(1)))) == left


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("whiteout", ["a/.wh.b", "a/.wh..wh..opq"])
def test_a_whiteout_leaves_what_its_own_layer_brings(whiteout: str, before: bool) -> None:
    own = [("a/b/new", file(1)), (whiteout, file(1))]
    made = table(("a/b/old", file()), *(own if before else reversed(own)))
    assert names(made) == ["/a/b/new"]


def test_a_file_in_place_of_a_folder_takes_all_below_it_away() -> None:
    assert names(table(("a/b/c", file()), ("a/b", file(1)))) == ["/a/b"]


def test_folders_merge() -> None:
    made = table(("a/b", file()), ("a", folder(1, 0o700)))
    assert names(made) == ["/a/b"]
    assert made.files["/a"].mode == 0o700


def test_a_folder_behind_a_link_is_where_the_link_points() -> None:
    made = table(("usr/bin", folder()), ("bin", link("usr/bin")), ("bin/su", file(1, mode=0o4755)))
    assert "/usr/bin/su" in made.files
    assert "/bin/su" not in made.files


def test_a_hostile_link_hides_nothing() -> None:
    made = table(("etc/shadow", file(0, b"good")), ("data", link("/x/../etc")), ("data/shadow", file(1, b"root::")))
    assert made.files["/etc/shadow"].content == b"root::"


def test_links_to_the_top_stay_within_the_image() -> None:
    made = table(("out", link("../../..")), ("out/etc/passwd", file(1)))
    assert names(made) == ["/etc/passwd", "/out"]


def test_a_hard_link_is_the_same_file() -> None:
    made = table(("bin/su", file(0, mode=0o4755)))
    made.link("tmp/innocent", "./bin/su", 1)
    assert made.files["/tmp/innocent"].mode == 0o4755


@pytest.mark.parametrize("target", ["nowhere", "", "bin", "../../etc/passwd"])
def test_a_hard_link_to_no_file_is_refused(target: str) -> None:
    made = table(("bin/su", file()))
    with pytest.raises(MalformedImageError):
        made.link("x", target, 1)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("../etc/passwd", file())], id="out of the image"),
        pytest.param([("a/../../b", file())], id="out by the middle"),
        pytest.param([("a", link("b")), ("b", link("a")), ("a/x", file())], id="links in a circle"),
        pytest.param([("a", link("a/a")), ("a/x", file())], id="a link that grows"),
        pytest.param([("a", file()), ("a/b", file())], id="a file used as a folder"),
        pytest.param([("a/" * 300 + "b", file())], id="too deep"),
        pytest.param([("a" * 5000, file())], id="too long"),
        pytest.param([(f"f{number}", file()) for number in range(1001)], id="too many"),
    ],
)
def test_what_no_runtime_takes_is_refused(entries: list[tuple[str, Entry]]) -> None:
    with pytest.raises(MalformedImageError):
        table(*entries)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(("etc/.wh.key", file(1)), id="removed"),
        pytest.param(("etc/key", file(1)), id="replaced"),
        pytest.param(("etc/.wh..wh..opq", file(1)), id="its folder emptied"),
        pytest.param(("etc", file(1)), id="its folder replaced"),
    ],
)
def test_a_key_below_is_remembered(later: tuple[str, Entry]) -> None:
    made = table(("etc/key", file(0, key="RSA private key")), later)
    assert [(path, entry.layer) for path, entry in made.hidden] == [("/etc/key", 0)]


def test_resolving_follows_links_within_the_image() -> None:
    made = table(("a", link("/b/../c")), ("c", link("d")), ("d/f", file(0, b"x")), ("b", folder()))
    found = made.resolve("/a/f")
    assert found is not None
    assert found.content == b"x"
    assert made.resolve("/a/nothing") is None
    assert table(("a", link("a"))).resolve("/a") is None
