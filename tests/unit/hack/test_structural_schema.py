"""What pydantic writes becomes what a CustomResourceDefinition demands, or is refused while generating."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, StringConstraints

from bascule_api.base import ATOMIC, ApiModel
from hack.structural_schema import NotStructuralError, Schema, structural

Text = Annotated[str, StringConstraints(max_length=8)]


class Colour(StrEnum):
    """A colour."""

    RED = "Red"
    BLUE = "Blue"


class Inner(ApiModel):
    """Something within."""

    size: Annotated[int, Field(gt=0, lt=10)] = 3
    """How large."""


class Bare(ApiModel):
    """Nothing that has a default."""

    word: Text = ""
    """A word."""


def field(annotation: Any, **options: Any) -> Schema:
    """The schema of one field of that type, as a model with a docstring has it."""
    namespace = {
        "__annotations__": {"it": Annotated[annotation, Field(description="It.")]},
        "__module__": __name__,
        **options,
    }
    model = type("Model", (ApiModel,), namespace)
    result: Schema = structural(model)["properties"]["it"]
    return result


@pytest.mark.parametrize(
    ("annotation", "options", "expected"),
    [
        pytest.param(Text, {}, {"type": "string", "maxLength": 8}, id="a bounded string"),
        pytest.param(Text | None, {"it": None}, {"type": "string", "maxLength": 8}, id="null is left out"),
        pytest.param(Text, {"it": ""}, {"type": "string", "maxLength": 8}, id="an empty default is none"),
        pytest.param(Text, {"it": "a"}, {"type": "string", "maxLength": 8, "default": "a"}, id="a default"),
        pytest.param(bool, {"it": False}, {"type": "boolean", "default": False}, id="false is a default"),
        pytest.param(datetime, {}, {"type": "string", "format": "date-time"}, id="times are bounded by their form"),
        pytest.param(Literal["A"], {}, {"type": "string", "enum": ["A"]}, id="a constant is an enum of one"),
        pytest.param(Colour, {}, {"type": "string", "enum": ["Red", "Blue"]}, id="an enum by reference"),
        pytest.param(
            Annotated[dict[str, Text], Field(max_length=2)],
            {},
            {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string", "maxLength": 8}},
            id="a map",
        ),
        pytest.param(
            Annotated[list[Text], Field(max_length=2, json_schema_extra=ATOMIC)],
            {},
            {
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "string", "maxLength": 8},
            },
            id="a list",
        ),
    ],
)
def test_a_field_becomes(annotation: Any, options: dict[str, Any], expected: Schema) -> None:
    assert field(annotation, **options) == {"description": "It."} | expected


def test_exclusive_bounds_are_flags_and_integers_are_long() -> None:
    assert structural(Inner)["properties"]["size"] == {
        "description": "How large.",
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 10,
        "exclusiveMaximum": True,
        "default": 3,
    }


def test_the_default_of_an_object_is_empty_since_its_fields_fill_it() -> None:
    assert field(Inner, it=Inner())["default"] == {}


def test_an_object_without_defaults_within_has_none_itself() -> None:
    assert "default" not in field(Bare, it=Bare())


def test_a_status_has_no_defaults() -> None:
    assert "default" not in structural(Inner, defaults=False)["properties"]["size"]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        pytest.param(str, "Model.it: the string needs a max_length", id="an unbounded string"),
        pytest.param(list[Text], "Model.it: the list needs a max_length", id="an unbounded list"),
        pytest.param(
            Annotated[list[Text], Field(max_length=2)], "Model.it: the list needs a list type", id="no list type"
        ),
        pytest.param(dict[str, Text], "Model.it: the map needs a max_length", id="an unbounded map"),
        pytest.param(
            Annotated[dict[str, Any], Field(max_length=2)], "Model.it: a map needs a type", id="a map of anything"
        ),
        pytest.param(Text | int, "Model.it: a union", id="a union"),
        pytest.param(Any, "Model.it: no type", id="anything"),
    ],
)
def test_what_cannot_be_said_or_is_unbounded_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(NotStructuralError, match=message.replace("[", r"\[")):
        field(annotation)


def test_a_field_without_a_docstring_is_refused() -> None:
    class Silent(ApiModel):
        word: Text

    with pytest.raises(NotStructuralError, match="Silent: no docstring at word"):
        structural(Silent)
