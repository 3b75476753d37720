"""Reading files of manifests that a tenant wrote: safe, bounded, and as plain values.

YAML is taken event by event, so that nothing large is ever built of something small: no aliases, anchors and tags, no
deep nesting, and no key twice. Plain scalars mean what they mean to kubectl.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from bascule_workers.errors import ManifestsRefusedError

FILES_LIMIT = 200
BYTES_LIMIT = 512 * 1024
"""Of all files together."""
DOCUMENTS_LIMIT = 200
DEPTH_LIMIT = 40
VALUES_LIMIT = 100_000
"""Values of one file, at most: keys, items and scalars."""
SUFFIXES = (".yaml", ".yml", ".json")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE = re.compile(r"^(true|True|TRUE|yes|Yes|YES|on|On|ON)$")
_FALSE = re.compile(r"^(false|False|FALSE|no|No|NO|off|Off|OFF)$")
_INTEGER = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_BASED = re.compile(r"^[-+]?(0x[0-9a-fA-F]+|0o?[0-7]+|0b[01]+)$")
_FLOAT = re.compile(r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?$")
_NO_NUMBER = re.compile(r"^[-+]?\.(inf|Inf|INF|nan|NaN|NAN)$")
_INTEGER_LIMIT = 1 << 63


@dataclass(frozen=True)
class Document:
    """One manifest, and where it stands."""

    file: str
    number: int
    """In its file, from 1."""
    body: dict[str, Any]

    @property
    def place(self) -> str:
        """`app.yaml, document 2 (Deployment web)`."""
        metadata = self.body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        words = [str(word)[:80] for word in (self.body.get("kind"), name) if word]
        return f"{self.file}, document {self.number}" + (f" ({' '.join(words)})" if words else "")


def documents(files: Mapping[str, bytes]) -> list[Document]:
    """The documents of all files, ordered by the files' names, without empty ones. Raises ManifestsRefusedError."""
    chosen = {name: files[name] for name in sorted(files) if name.endswith(SUFFIXES)}
    if not chosen:
        raise ManifestsRefusedError(f"there is no file that ends with {', '.join(SUFFIXES)} among the manifests")
    if len(chosen) > FILES_LIMIT:
        raise ManifestsRefusedError(f"the manifests are {len(chosen)} files; {FILES_LIMIT} are the most")
    if (size := sum(len(content) for content in chosen.values())) > BYTES_LIMIT:
        raise ManifestsRefusedError(
            f"the manifests have {size} bytes; {BYTES_LIMIT} are the most: put large data into the backup instead"
        )
    found: list[Document] = []
    for name, content in chosen.items():
        found += _documents_of(name, content)
        if len(found) > DOCUMENTS_LIMIT:
            raise ManifestsRefusedError(f"the manifests are more than {DOCUMENTS_LIMIT} documents")
    if not found:
        raise ManifestsRefusedError("the manifests are empty: there is no document in them")
    return found


def _documents_of(name: str, content: bytes) -> list[Document]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestsRefusedError(f"{name} is no UTF-8 text") from None
    bodies = _json(name, text) if name.endswith(".json") else _yaml(name, text)
    result = []
    for number, body in bodies:
        if body is None:
            continue
        if not isinstance(body, dict):
            raise ManifestsRefusedError(f"{name}, document {number} is no object, but {_kind_of(body)}")
        result.append(Document(name, number, body))
    return result


def _kind_of(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"


# JSON


def _json(name: str, text: str) -> Iterable[tuple[int, Any]]:
    def refuse(reason: str) -> NoReturn:
        raise ManifestsRefusedError(f"{name}: {reason}")

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                refuse(f"the key {key[:80]!r} stands twice in one object")
            found[key] = value
        return found

    def no_number(word: str) -> NoReturn:
        refuse(f"{word} is no number that JSON knows")

    if not text.strip():
        return []
    try:
        body = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except RecursionError:
        refuse(f"it is nested more than {DEPTH_LIMIT} levels deep")
    except ValueError as error:
        refuse(f"it is no JSON: {str(error)[:200]}")
    _check_values(name, body)
    return [(1, body)]


def _check_values(name: str, body: Any) -> None:
    """What the YAML reader sees to by itself."""
    waiting, seen = [(body, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > DEPTH_LIMIT:
            raise ManifestsRefusedError(f"{name}: it is nested more than {DEPTH_LIMIT} levels deep")
        if seen > VALUES_LIMIT:
            raise ManifestsRefusedError(f"{name}: it has more than {VALUES_LIMIT} values")
        if isinstance(value, dict):
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
        else:
            _check_scalar(name, value)


def _check_scalar(where: str, value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise ManifestsRefusedError(f"{where}: it holds a NUL character")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ManifestsRefusedError(f"{where}: it holds half of a character")
    elif isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise ManifestsRefusedError(f"{where}: it holds an integer of more than 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ManifestsRefusedError(f"{where}: it holds a number that is none")


# YAML


def _yaml(name: str, text: str) -> Iterable[tuple[int, Any]]:
    try:
        return _Reader(name).read(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        mark = getattr(error, "problem_mark", None)
        line = f"{name}, line {mark.line + 1}" if mark else name
        raise ManifestsRefusedError(f"{line}: no YAML: {str(problem)[:200]}") from None


@dataclass
class _Open:
    """A mapping or list that is being read."""

    value: dict[str, Any] | list[Any]
    key: str | None = None
    """The key whose value comes next."""


@dataclass
class _Reader:
    """Builds plain values out of one file's events."""

    name: str
    _found: list[tuple[int, Any]] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _root: Any = None
    _values: int = 0

    def read(self, events: Iterable[Any]) -> list[tuple[int, Any]]:
        number = 0
        for event in events:
            self._check(event)
            match event:
                case yaml.DocumentStartEvent():
                    number, self._root = number + 1, None
                case yaml.DocumentEndEvent():
                    self._found.append((number, self._root))
                    if len(self._found) > DOCUMENTS_LIMIT + 1:
                        self._refuse(event, f"there are more than {DOCUMENTS_LIMIT} documents")
                case yaml.ScalarEvent():
                    self._take_scalar(event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._begin(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._open.pop()
        return self._found

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        raise ManifestsRefusedError(f"{self.name}, line {event.start_mark.line + 1}: {reason}")

    def _check(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"the alias *{str(event.anchor)[:40]}: write out what is meant")
        if getattr(event, "anchor", None):
            self._refuse(event, f"the anchor &{str(event.anchor)[:40]}: write out what is meant, without aliases")
        if getattr(event, "tag", None):
            self._refuse(event, f"the tag {str(event.tag)[:80]}: leave it out")

    def _begin(self, event: Any) -> None:
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            self._refuse(event, "a key that is no text")
        self._put(event, value)
        self._open.append(_Open(value))
        if len(self._open) > DEPTH_LIMIT:
            self._refuse(event, f"nested more than {DEPTH_LIMIT} levels deep")

    def _take_scalar(self, event: Any) -> None:
        _check_scalar(f"{self.name}, line {event.start_mark.line + 1}", event.value)
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            if event.value in self._open[-1].value:
                self._refuse(event, f"the key {event.value[:80]!r} stands twice in one object")
            self._open[-1].key = event.value
            self._count(event)
            return
        # A quoted scalar is text, whatever it looks like.
        value = self._plain(event) if event.implicit[0] else event.value
        self._put(event, value)

    def _plain(self, event: Any) -> Any:
        try:
            value = scalar(event.value)
        except ValueError as error:
            self._refuse(event, str(error))
        _check_scalar(f"{self.name}, line {event.start_mark.line + 1}", value)
        return value

    def _put(self, event: Any, value: Any) -> None:
        self._count(event)
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key or ""] = value
            top.key = None

    def _count(self, event: Any) -> None:
        self._values += 1
        if self._values > VALUES_LIMIT:
            self._refuse(event, f"there are more than {VALUES_LIMIT} values")


def scalar(text: str) -> Any:
    """What an unquoted scalar means to kubectl: null, a truth value, a number, or text. Raises ValueError."""
    if text in _NULLS:
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return bool(_TRUE.match(text))
    if _INTEGER.match(text) or _BASED.match(text):
        if len(text) > 66:
            raise ValueError("an integer of more than 64 bits")
        return _integer(text)
    if _NO_NUMBER.match(text):
        raise ValueError(f"{text} is no number that JSON knows: quote it where it is meant as text")
    return float(text) if _FLOAT.match(text) else text


def _integer(text: str) -> int:
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        base = {"x": 16, "b": 2, "o": 8}.get(digits[1], 8)
        return sign * int(digits[2:] if digits[1] in "xbo" else digits, base)
    return sign * int(digits)
