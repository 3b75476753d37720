"""Turns a pydantic model into a structural schema, as CustomResourceDefinitions demand it.

JSON Schema as pydantic writes it is not structural: references, `anyOf` with null, `const`, numbers as exclusive
bounds. What cannot be expressed is an error here and not a surprise on the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_COPIED = (
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
)
_BOUNDED_FORMATS = ("date-time", "date")


class NotStructuralError(Exception):
    """The model has something that a structural schema cannot say, or that is not bounded."""


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The structural schema of `model`.

    Without `defaults` none is written: in a status, one would come back whenever its owner removes the field.
    Empty strings, lists and maps are no defaults either: absent says the same and keeps stored objects short.
    Raises NotStructuralError naming the field.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(document.get("$defs", {}), defaults).convert(document, model.__name__)


class _Converter:
    def __init__(self, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, given: Schema, path: str) -> Schema:
        source = self._resolved(given, path)
        result: Schema = {}
        if text := _paragraphs(source.get("description", "")):
            result["description"] = text
        result |= {key: source[key] for key in _COPIED if key in source}
        if "const" in source:
            result["enum"] = [source["const"]]
        self._exclusive_bounds(source, result)
        self._children(source, result, path)
        if self._defaults:
            result |= _default(source, result)
        _check(result, path)
        return result

    def _resolved(self, given: Schema, path: str) -> Schema:
        """`given` with its reference inlined and its null removed; what stands beside the reference wins."""
        own = {key: value for key, value in given.items() if key not in ("$ref", "anyOf", "allOf")}
        if "$ref" in given:
            return self._definitions[given["$ref"].rpartition("/")[2]] | own
        if "anyOf" not in given and "allOf" not in given:
            return given
        alternatives = [item for item in given.get("anyOf", given.get("allOf")) or [] if item.get("type") != "null"]
        if len(alternatives) != 1:
            raise NotStructuralError(f"{path}: a union has no structural schema; use an object and a CEL rule")
        return self._resolved(alternatives[0], path) | own

    def _children(self, source: Schema, result: Schema, path: str) -> None:
        if "properties" in source:
            result["properties"] = {
                name: self.convert(schema, f"{path}.{name}") for name, schema in source["properties"].items()
            }
            if bare := [name for name, child in result["properties"].items() if "description" not in child]:
                raise NotStructuralError(
                    f"{path}: no docstring at {', '.join(bare)}; people read it in kubectl explain"
                )
            if source.get("required"):
                result["required"] = sorted(source["required"])
        elif source.get("type") == "object":
            result["additionalProperties"] = self.convert(self._values(source, path), f"{path}{{}}")
        if "items" in source:
            result["items"] = self.convert(source["items"], f"{path}[]")

    def _values(self, source: Schema, path: str) -> Schema:
        """The schema of a map's values. That of its keys has no structural form: pydantic alone checks it."""
        patterns = source.get("patternProperties", {})
        values = next(iter(patterns.values()), None) if len(patterns) == 1 else source.get("additionalProperties")
        if not isinstance(values, dict):
            raise NotStructuralError(f"{path}: a map needs a type for its values")
        return values

    @staticmethod
    def _exclusive_bounds(source: Schema, result: Schema) -> None:
        for given, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if given in source:
                result |= {bound: source[given], given: True}


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).strip()


def _default(source: Schema, result: Schema) -> Schema:
    """The default as the API server wants it: an object's is empty, since the defaults within it fill it in."""
    if source.get("default") in (None, "", [], {}):
        return {}
    if "properties" in result:
        filled = any("default" in child for child in result["properties"].values())
        return {"default": {}} if filled else {}
    return {"default": source["default"]}


def _check(schema: Schema, path: str) -> None:
    kind = schema.get("type")
    free = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
    if kind is None and not any(schema.get(key) for key in free):
        raise NotStructuralError(f"{path}: no type")
    natural = "enum" in schema or schema.get("format") in _BOUNDED_FORMATS
    if kind == "string" and not natural and "maxLength" not in schema:
        raise NotStructuralError(f"{path}: the string needs a max_length")
    if kind == "array" and "maxItems" not in schema:
        raise NotStructuralError(f"{path}: the list needs a max_length")
    if kind == "array" and "x-kubernetes-list-type" not in schema:
        raise NotStructuralError(f"{path}: the list needs a list type: atomic, set or map")
    if kind == "object" and "additionalProperties" in schema and "maxProperties" not in schema:
        raise NotStructuralError(f"{path}: the map needs a max_length")
    if kind == "integer":
        schema.setdefault("format", "int64")
