"""Parameters of a Procedure: what it declares, and whether given values may be used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from bascule_api.base import ATOMIC, ApiModel, LongText, ParameterName, ParameterValue, ShortText


class ParameterType(StrEnum):
    """Type of a parameter."""

    STRING = "string"
    """A string."""
    INTEGER = "integer"
    """An integer."""
    BOOLEAN = "boolean"
    """true or false."""
    ARRAY = "array"
    """A list of strings."""


class Parameter(ApiModel):
    """A parameter that a tenant may set. Its value reaches the container as `PARAM_<NAME>` and as a file."""

    name: ParameterName
    """Name of the parameter; `buildArgs` reaches the container as `PARAM_BUILD_ARGS`."""
    type: ParameterType = ParameterType.STRING
    """Type of the value."""
    description: LongText = ""
    """What the parameter means."""
    required: bool = False
    """Whether a resource must set it."""
    default: ParameterValue | None = Field(
        default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """Used when the resource sets none."""
    enum: Annotated[list[ShortText], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """The values allowed."""
    pattern: ShortText = ""
    """A regular expression that the whole value must match (each item's, for an array)."""


PARAMETERS_LIMIT = 64 * 1024
"""Bytes of a step's parameters as JSON, at most."""


@dataclass(frozen=True)
class ParameterProblem:
    """What is wrong with one parameter; `name` is empty when it is all of them together."""

    name: str
    message: str


def effective_parameters(
    declared: Sequence[Parameter], given: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """The parameters that a step runs with: those given, and the defaults of the others."""
    defaults = {parameter.name: parameter.default for parameter in declared}
    return {name: value for name, value in defaults.items() if value is not None} | dict(given)


def parameter_errors(declared: Sequence[Parameter], given: Mapping[str, ParameterValue]) -> list[ParameterProblem]:
    """Everything that is wrong with the given parameters, in the declarations' order; empty when they may be used."""
    by_name = {parameter.name: parameter for parameter in declared}
    known = ", ".join(by_name) or "none"
    errors = [
        ParameterProblem(name, f"is not a parameter of the Procedure; it knows: {known}")
        for name in given
        if name not in by_name
    ]
    errors += [
        ParameterProblem(name, "is required")
        for name, parameter in by_name.items()
        if parameter.required and parameter.default is None and name not in given
    ]
    for name, parameter in by_name.items():
        if name in given and (message := _value_error(parameter, given[name])):
            errors.append(ParameterProblem(name, message))
    if (size := len(json.dumps(dict(given)).encode())) > PARAMETERS_LIMIT:
        errors.append(ParameterProblem("", f"together have {size} bytes; the limit is {PARAMETERS_LIMIT}"))
    return errors


def _value_error(parameter: Parameter, value: ParameterValue) -> str:
    """Why the value may not be used, or nothing. The value itself is never in the message: it may be long."""
    if not _has_type(parameter.type, value):
        return f"must be {_TYPE_WORDS[parameter.type]}"
    items = value if isinstance(value, list) else [_as_text(value)]
    if parameter.enum and any(item not in parameter.enum for item in items):
        return f"must be one of: {', '.join(parameter.enum)}"
    try:
        fits = not parameter.pattern or all(re.fullmatch(parameter.pattern, item) for item in items)
    except re.error as error:
        return f"cannot be checked: the Procedure's pattern is no regular expression ({error})"
    return "" if fits else f"must match {parameter.pattern}"


_TYPE_WORDS = {
    ParameterType.STRING: "a string",
    ParameterType.INTEGER: "an integer",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.ARRAY: "a list of strings",
}


def _has_type(wanted: ParameterType, value: ParameterValue) -> bool:
    match wanted:
        case ParameterType.STRING:
            return isinstance(value, str)
        case ParameterType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParameterType.BOOLEAN:
            return isinstance(value, bool)
        case ParameterType.ARRAY:
            return isinstance(value, list)


def _as_text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
