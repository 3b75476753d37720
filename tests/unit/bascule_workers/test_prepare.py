"""The container that prepares a step: bytes stay bytes, nothing is executed, nothing leads outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule_workers import prepare
from bascule_workers.prepare import Places, PrepareError, check_tree, write_parameters

HOSTILE = ["$(id)", "`id`", "{{ .Values }}", "--flag", "quo'te\"s", "two\nlines\n", "", " ", "$$", "\u2028", "né"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_written_byte_for_byte(tmp_path: Path, value: str) -> None:
    write_parameters({"text": value, "list": [value, value]}, tmp_path / "params")
    assert (tmp_path / "params/text").read_bytes() == value.encode()
    assert (tmp_path / "params/list/1").read_bytes() == value.encode()


@given(st.text())
def test_any_text_survives_the_way_through_json_and_file(value: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        step = json.loads(json.dumps({"parameters": {"a": value}}, ensure_ascii=False))
        prepare.prepare(step, Places(shared=Path(folder)))
        assert Path(folder, "params/a").read_bytes() == value.encode()


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "/etc/passwd", "-rf", "a\0b"])
def test_a_parameter_cannot_be_written_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(PrepareError, match="no name for a parameter"):
        write_parameters({name: "x"}, tmp_path / "params")


def test_lists_numbers_and_booleans_are_files_too(tmp_path: Path) -> None:
    write_parameters({"words": ["a", "b"], "none": [], "count": 3, "strict": True}, tmp_path / "params")
    found = {
        str(path.relative_to(tmp_path / "params")): path.read_text()
        for path in (tmp_path / "params").rglob("*")
        if path.is_file()
    }
    assert found == {"words/0": "a", "words/1": "b", "count": "3", "strict": "true"}
    assert (tmp_path / "params/none").is_dir()


def test_a_restarted_container_begins_anew(tmp_path: Path) -> None:
    places = Places(shared=tmp_path)
    prepare.prepare({"parameters": {"old": "1"}, "source": None}, places)
    (tmp_path / "source/leftover").write_text("x")
    prepare.prepare({"parameters": {"new": "1"}, "source": None}, places)
    assert sorted(path.name for path in (tmp_path / "params").iterdir()) == ["new"]
    assert list((tmp_path / "source").iterdir()) == []


def test_a_config_map_is_copied_as_files_and_not_as_links(tmp_path: Path) -> None:
    mounted = tmp_path / "input"
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..2026/Containerfile").write_bytes(b"FROM scratch\n\xff")
    (mounted / "..data").symlink_to("..2026")
    (mounted / "Containerfile").symlink_to("..data/Containerfile")
    prepare.prepare({"parameters": {}, "source": {"configMap": str(mounted)}}, Places(shared=tmp_path))
    [copied] = (tmp_path / "source").iterdir()
    assert not copied.is_symlink()
    assert copied.read_bytes() == b"FROM scratch\n\xff"


def test_a_link_within_the_source_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b").symlink_to("../a")
    check_tree(tmp_path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "sub/../../outside"])
def test_a_link_that_points_outside_is_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/link").symlink_to(target)
    if target == "sub/../../outside":
        (root / "sub/link").unlink()
        (root / "link").symlink_to(target)
    with pytest.raises(PrepareError, match="points outside"):
        check_tree(root)


def test_a_chain_of_links_that_ends_outside_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("../..")
    with pytest.raises(PrepareError, match="points outside"):
        check_tree(root)


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PrepareError, match="neither file nor folder"):
        check_tree(tmp_path)


@pytest.mark.parametrize("path", ["..", "../x", "/etc", "sub/../../x"])
def test_a_path_cannot_lead_out_of_the_repository(tmp_path: Path, path: str) -> None:
    (tmp_path / "repo/sub").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    with pytest.raises(PrepareError, match=r"leads out|no folder"):
        prepare._subfolder(tmp_path / "repo", path)


def test_a_commit_that_is_none_is_refused_before_git_sees_it(tmp_path: Path) -> None:
    source = {"git": {"url": "https://git.example.com/a.git", "commit": "--upload-pack=touch /tmp/x"}}
    with pytest.raises(PrepareError, match="is no commit"):
        prepare.prepare({"parameters": {}, "source": source}, Places(shared=tmp_path))
