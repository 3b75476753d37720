"""Files of manifests are read safely: nothing large is built of something small, and nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule_workers.errors import ManifestsRefusedError
from bascule_workers.plans import manifest_files, manifests
from bascule_workers.plans.manifest_files import documents
from tests.support.drill_manifests import config_map, files


def read(text: str | bytes, name: str = "a.yaml") -> list[Any]:
    content = text.encode() if isinstance(text, str) else text
    return [document.body for document in documents({name: content})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("1", 1, id="an integer"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0644", 420, id="octal"),
        pytest.param("0o644", 420, id="octal as YAML 1.2 has it"),
        pytest.param("-5", -5, id="negative"),
        pytest.param("1.5", 1.5, id="a fraction"),
        pytest.param("22:22", "22:22", id="no number of base sixty"),
        pytest.param("2026-11-22", "2026-11-22", id="no date"),
        pytest.param("yes", True, id="yes is true, as to kubectl"),
        pytest.param("off", False, id="off is false"),
        pytest.param("y", "y", id="a letter"),
        pytest.param("'yes'", "yes", id="quoted yes is text"),
        pytest.param("'1'", "1", id="a quoted number is text"),
        pytest.param("~", None, id="null"),
        pytest.param("", None, id="nothing"),
        pytest.param("<<", "<<", id="no merge"),
        pytest.param("1.2.3", "1.2.3", id="a version"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubectl(text: str, value: object) -> None:
    assert read(f"a: {text}\n") == [{"a": value}]


def test_files_are_read_by_name_and_documents_by_number() -> None:
    found = documents({"b.yaml": b"a: 2", "a.yml": b"a: 1\n---\n# nothing\n---\na: 3\n", "README.md": b"!!x"})
    assert [(item.file, item.number, item.body) for item in found] == [
        ("a.yml", 1, {"a": 1}),
        ("a.yml", 3, {"a": 3}),
        ("b.yaml", 1, {"a": 2}),
    ]


LAUGHS = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(LAUGHS, "anchor", id="a billion laughs"),
        pytest.param("a: *x", "alias", id="an alias"),
        pytest.param("a: &x 1", "anchor", id="an anchor"),
        pytest.param("a: !!python/object/apply:os.system [id]", "tag", id="a tag of Python's"),
        pytest.param("a: !!binary aGk=", "tag", id="a binary"),
        pytest.param("a: !x 1", "tag", id="a tag of its own"),
        pytest.param("a: " + "[" * 100_000, "nested", id="deep lists"),
        pytest.param("a: " + "{a: " * 5_000, "nested", id="deep objects"),
        pytest.param("a: 1\na: 2", "stands twice", id="a key twice"),
        pytest.param("{a: {b: 1, b: 2}}", "stands twice", id="a key twice inside"),
        pytest.param("? [a]\n: 1", "no text", id="a key that is a list"),
        pytest.param("[a]", "no object", id="a list"),
        pytest.param("text", "no object", id="text"),
        pytest.param("a: 'x", "no YAML", id="an open quote"),
        pytest.param("a: b: c", "no YAML", id="a colon too many"),
        pytest.param("\x00", "no YAML", id="a NUL"),
        pytest.param('a: "\\0"', "NUL", id="an escaped NUL"),
        pytest.param('"\\0": 1', "NUL", id="a NUL in a key"),
        pytest.param("a: 99999999999999999999", "64 bits", id="a huge integer"),
        pytest.param("a: " + "9" * 100_000, "64 bits", id="an integer of a hundred thousand digits"),
        pytest.param("a: .inf", "no number", id="infinity"),
        pytest.param("a: .nan", "no number", id="no number"),
        pytest.param("a: 1e999", "none", id="a float beyond all"),
        pytest.param(b"a: \xff\xfe", "UTF-8", id="no UTF-8"),
        pytest.param("a: [" + "1," * 150_000 + "]", "values", id="too many values"),
        pytest.param("---\na: 1\n" * 300, "documents", id="too many documents"),
        pytest.param("a: " + "x" * 600_000, "bytes", id="half a megabyte and more"),
        pytest.param("# nothing\n", "empty", id="nothing"),
    ],
)
def test_what_is_no_safe_yaml_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(ManifestsRefusedError, match=words):
        read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('{"a": 1, "a": 2}', "stands twice", id="a key twice"),
        pytest.param("[" * 100_000, "nested|no JSON", id="deep lists"),
        pytest.param('{"a": ' * 50 + "1" + "}" * 50, "nested", id="objects deeper than the limit"),
        pytest.param('{"a": NaN}', "no number", id="no number"),
        pytest.param('{"a": 1e999}', "none", id="a float beyond all"),
        pytest.param('{"a": 99999999999999999999}', "64 bits", id="a huge integer"),
        pytest.param('{"a": ' + "9" * 10_000 + "}", "no JSON|64 bits", id="ten thousand digits"),
        pytest.param('{"a": "\\u0000"}', "NUL", id="a NUL"),
        pytest.param('{"a": "\\ud800"}', "half of a character", id="half of a character"),
        pytest.param("{", "no JSON", id="no JSON"),
        pytest.param("[1]", "no object", id="a list"),
    ],
)
def test_what_is_no_safe_json_is_refused(text: str, words: str) -> None:
    with pytest.raises(ManifestsRefusedError, match=words):
        read(text, "a.json")


def test_no_file_of_manifests_and_too_many_of_them_are_refused() -> None:
    with pytest.raises(ManifestsRefusedError, match="no file that ends with"):
        documents({"README.md": b"a: 1"})
    with pytest.raises(ManifestsRefusedError, match="201 files"):
        documents({f"{number}.yaml": b"a: 1" for number in range(201)})


WRITTEN = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


def outcome(name: str, content: bytes) -> str:
    """`taken`, or what is said against it; anything else is a bug of ours."""
    try:
        manifests.load({name: content})
    except ManifestsRefusedError as error:
        return str(error)
    return "taken"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for name in ("a.yaml", "a.json"):
        assert outcome(name, content)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(manifests.KINDS)), st.dictionaries(st.text(max_size=12), JSON_VALUES, max_size=5), st.data()
)
def test_any_object_of_an_allowed_kind_is_taken_or_refused(
    kind: str, spec: dict[str, Any], data: st.DataObject
) -> None:
    pod = data.draw(JSON_VALUES)
    body = {
        "apiVersion": manifests.KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": "x", "labels": data.draw(JSON_VALUES)},
        "spec": {**spec, "template": {"spec": pod}, "volumeClaimTemplates": data.draw(JSON_VALUES)},
        "data": data.draw(JSON_VALUES),
    }
    text = json.dumps(body, allow_nan=True).encode("utf-8", errors="replace")
    assert outcome("a.json", text)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.text(WRITTEN, max_size=40)
    )
)
def test_what_yaml_writes_is_read_back(data: dict[str, str]) -> None:
    manifest = config_map() | {"data": data}
    # Quoted: PyYAML leaves `0E0` plain, which is a number for Kubernetes, and for us.
    written = yaml.safe_dump(manifest, default_style='"').encode()
    (loaded,) = manifests.load({"a.yaml": written})
    assert loaded["data"] == manifest["data"]


def test_reading_stops_at_its_limits_and_not_after_them() -> None:
    """A file below the limit in bytes cannot make more values than the limit."""
    assert manifest_files.VALUES_LIMIT < manifest_files.BYTES_LIMIT
    assert len(manifests.load(files(config_map("a"), config_map("b")))) == 2
