"""What every resource is made of: the model base, field types with their bounds, and the description of a kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

DURATION_PATTERN = r"^([0-9]+(d|h|m|s))+$"
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST = 250 * 365 * 86_400
"""Seconds: what Temporal's timers can hold, in nanoseconds, is little more."""
_TOO_LONG = "is too long: at most 9999d, 99999h, 9999999m or 999999999s"
_NOTHING = "must be longer than 0s"


class ApiModel(BaseModel):
    """Camel-cased on the wire, immutable, and blind to fields that a newer version may have added."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    def to_wire(self) -> dict[str, Any]:
        """The JSON object as the API server or Temporal sees it; what is None is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Duration(str):
    """A length of time such as `90s`, `2h30m` or `1d`. Equal when as long, however it is written."""

    __slots__ = ()

    @property
    def seconds(self) -> int:
        return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([dhms])", self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or re.fullmatch(DURATION_PATTERN, other) is None:
            return False
        return self.seconds == Duration(other).seconds

    def __ne__(self, other: object) -> bool:
        # str brings a __ne__ of its own, which would compare the texts.
        return not self == other

    def __hash__(self) -> int:
        return hash(self.seconds)

    @classmethod
    def of(cls, seconds: int) -> Self:
        """The length of time as people write it: `1d2h`, `4m12s`, `0s`."""
        parts = []
        for unit, size in _UNITS.items():
            number, seconds = divmod(seconds, size)
            parts += [f"{number}{unit}"] if number else []
        return cls("".join(parts) or "0s")

    @classmethod
    def checked(cls, text: str) -> Self:
        """The length of time. Raises ValueError when no timer could be set to it."""
        made = cls(text)
        if made.seconds > _LONGEST:
            raise ValueError(_TOO_LONG)
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls.checked,
            core_schema.str_schema(pattern=DURATION_PATTERN, max_length=32),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        bounds = rules(("!self.matches('[0-9]{5,}d|[0-9]{6,}h|[0-9]{8,}m|[0-9]{10,}s')", _TOO_LONG))
        return {"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32} | bounds


class Timeout(Duration):
    """A Duration that is longer than nothing."""

    __slots__ = ()

    @classmethod
    def checked(cls, text: str) -> Self:
        made = super().checked(text)
        if not made.seconds:
            raise ValueError(_NOTHING)
        return made

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = super().__get_pydantic_json_schema__(schema, handler)
        (longer,) = rules(("self.matches('[1-9]')", _NOTHING))["x-kubernetes-validations"]
        return made | {"x-kubernetes-validations": [*made["x-kubernetes-validations"], longer]}


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as `json_schema_extra`: pairs of a rule and the message that names the remedy."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
BY_TYPE: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
REPOSITORY = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
TAG = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
DIGEST = r"^sha256:[a-f0-9]{64}$"

DnsLabel = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=DNS_SUBDOMAIN, min_length=1, max_length=253)]
Uid = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Repository = Annotated[str, StringConstraints(pattern=REPOSITORY, max_length=255)]
Tag = Annotated[str, StringConstraints(pattern=TAG, min_length=1, max_length=128)]
Digest = Annotated[str, StringConstraints(pattern=DIGEST, max_length=71)]
ShortText = Annotated[str, StringConstraints(max_length=256)]
LongText = Annotated[str, StringConstraints(max_length=4096)]
Message = Annotated[str, StringConstraints(max_length=32_768)]

LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=316
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]

ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9]*$", max_length=63)]
ParameterValue = Annotated[
    str | int | bool | list[str],
    WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
]
"""A string, an integer, a boolean or a list of strings; the Procedure says which."""
Parameters = Annotated[dict[ParameterName, ParameterValue], Field(max_length=32)]


class SecretReference(ApiModel):
    """A Secret in the resource's own namespace, labelled `bascule.dev/use`."""

    name: ObjectName
    """Name of the Secret."""


class ObjectMeta(ApiModel):
    """The part of Kubernetes' metadata that Bascule reads."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: list[str] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Resource(ApiModel):
    """A custom resource as the API server serves it; kinds add `spec` and `status`."""

    metadata: ObjectMeta

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The resource in an API object. Raises pydantic.ValidationError naming the fields that are wrong."""
        return cls.model_validate(body)


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Kind:
    """What the CRD generator, the operator and the command line need to know of a kind."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    model: type[Resource]
    columns: tuple[Column, ...]
    namespaced: bool = True
    selectable: tuple[str, ...] = ()
