"""How objects are chosen by their labels."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from bascule_api.base import (
    ATOMIC,
    ApiModel,
    LabelKey,
    LabelValue,
)


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    """Its value is one of `values`."""
    NOT_IN = "NotIn"
    """Its value is none of `values`."""
    EXISTS = "Exists"
    """It is there."""
    DOES_NOT_EXIST = "DoesNotExist"
    """It is not there."""


class SelectorRequirement(ApiModel):
    """metav1.LabelSelectorRequirement."""

    key: LabelKey
    """The label."""
    operator: SelectorOperator
    """How it is compared."""
    values: Annotated[list[LabelValue], Field(max_length=64, json_schema_extra=ATOMIC)] = []
    """Values to compare with; none for `Exists` and `DoesNotExist`."""


class LabelSelector(ApiModel):
    """metav1.LabelSelector: all of it has to hold."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels with their values."""
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """Requirements on labels."""
