"""The meaning of a StrEnum's members, from the docstrings below them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_GROUP = re.compile(r"^\s*# (.+?)\s*$")


@dataclass(frozen=True)
class Member:
    value: str
    meaning: str
    group: str
    """The comment that heads the members around it."""


def members(enum: type[StrEnum]) -> list[Member]:
    """The members in the order of the source."""
    source = textwrap.dedent(inspect.getsource(enum))
    groups = _groups(source)
    found: list[Member] = []
    for name, following in _pairs(ast.parse(source)):
        group = next((text for line, text in reversed(groups) if line < name.lineno), "")
        found.append(Member(enum[name.id].value, _docstring(following), group))
    return found


def _groups(source: str) -> list[tuple[int, str]]:
    lines = enumerate(source.splitlines(), start=1)
    return [(number, match[1]) for number, line in lines if (match := _GROUP.match(line))]


def _pairs(module: ast.Module) -> Iterator[tuple[ast.Name, ast.stmt | None]]:
    """The name of each member, with the statement that follows it."""
    body = next(node for node in module.body if isinstance(node, ast.ClassDef)).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0], following


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""
