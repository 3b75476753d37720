"""Success conditions of gates, in CEL: checked before a run needs them, evaluated where gates are measured.

Checking parses, which is bounded by the length of the expression. Evaluating is not bounded, so it is done only in a
process that can be killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import cel

HTTP_NAMES = ("status", "body", "json")
PROMETHEUS_NAMES = ("result", "results")
DEFAULT_HTTP = "status >= 200 && status < 300"
FUNCTIONS = frozenset(
    ("size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "type")
)
"""That a condition may call, besides the operators and has, all, exists, exists_one, filter and map."""

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_OPERATOR = re.compile(r"^[_@!-]")
_TEXT_LIMIT = 200


class ConditionError(Exception):
    """The condition cannot be evaluated. The message is for people."""


def problem(expression: str, names: tuple[str, ...]) -> str:
    """What is wrong with a condition over these names, as the end of a sentence; empty: nothing."""
    try:
        program = cel.compile(expression)
    except (ValueError, RuntimeError) as error:
        return f"is no CEL expression: {_short(error, expression)}"
    bound = set(_BOUND.findall(expression))
    if unknown := [name for name in program.variables() if name not in names and name not in bound]:
        return f"names {', '.join(unknown)}; there are {', '.join(names)}"
    called = [name for name in program.functions() if not _OPERATOR.match(name)]
    if unknown := [name for name in called if name not in FUNCTIONS]:
        return f"calls {', '.join(unknown)}; there are {', '.join(sorted(FUNCTIONS))}"
    return ""


def names_of(expression: str) -> list[str]:
    """The names that a condition speaks of. Raises ConditionError."""
    try:
        return list(cel.compile(expression).variables())
    except (ValueError, RuntimeError) as error:
        raise ConditionError(f"the condition is no CEL expression: {_short(error, expression)}") from None


def holds(expression: str, values: Mapping[str, Any]) -> bool:
    """Whether the condition is true of the values. Raises ConditionError."""
    try:
        found = cel.evaluate(expression, dict(values))
    except Exception as error:  # noqa: BLE001 - the library raises a dozen types for what an expression can meet
        raise ConditionError(f"the condition cannot be evaluated: {_short(error, expression)}") from None
    if not isinstance(found, bool):
        raise ConditionError(f"the condition is neither true nor false: {_short(found, expression)}")
    return found


def _short(said: object, expression: str) -> str:
    """The first sentence, without the expression that people know."""
    text = str(said).replace(f"Failed to parse expression '{expression}': ", "").replace("ERROR: <input>:", "").strip()
    line = text.splitlines()[0] if text else type(said).__name__
    return line if len(line) <= _TEXT_LIMIT else f"{line[:_TEXT_LIMIT]}…"
