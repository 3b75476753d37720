"""Fleets: which nodes and hosts a campaign is about, shares of them, what goes on at one of them, and windows."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.json_schema import WithJsonSchema

from bascule_api.base import ApiModel, ObjectName, SecretReference, rules
from bascule_api.selectors import LabelSelector

PERCENTAGE = r"^(100|[1-9]?[0-9])%$"


def _share(value: int | str) -> int | str:
    """Raises ValueError for what is neither a count nor a percentage."""
    if isinstance(value, int):
        if value < 0:
            raise ValueError("must not be negative")
        return value
    number = value.removesuffix("%")
    if number == value or not number.isdecimal() or int(number) > 100 or str(int(number)) != number:
        raise ValueError("must be a number, or a percentage from 0% to 100%")
    return value


def _positive(value: int | str) -> int | str:
    if _share(value) in (0, "0%"):
        raise ValueError("must be more than nothing")
    return value


_INT_OR_STRING = {"x-kubernetes-int-or-string": True}
_SHARE_RULE = (
    f"type(self) == int ? self >= 0 : self.matches('{PERCENTAGE}')",
    "must be a number, or a percentage from 0% to 100%",
)
_POSITIVE_RULE = ("type(self) == int ? self > 0 : self != '0%'", "must be more than nothing")

Share = Annotated[
    int | str,
    AfterValidator(_share),
    WithJsonSchema(_INT_OR_STRING | {"maxLength": 4} | rules(_SHARE_RULE)),
]
"""A number, or a percentage such as `5%`."""
SizeShare = Annotated[
    int | str,
    AfterValidator(_positive),
    WithJsonSchema(_INT_OR_STRING | {"maxLength": 4} | rules(_SHARE_RULE, _POSITIVE_RULE)),
]
"""A number, or a percentage such as `5%`, of more than nothing."""


def count_of(share: int | str, total: int) -> int:
    """How many of `total` a share is: a percentage is rounded up. Not more than the number itself, whatever `total`."""
    if isinstance(share, int):
        return share
    return -(-int(share.removesuffix("%")) * total // 100)


class NodeTargets(ApiModel):
    """Nodes of the cluster."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "(has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || "
                "(has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)",
                "an empty selector means every node: name the labels of those to patch",
            )
        )
    }
    selector: LabelSelector
    """Labels of the nodes, within those that the Tenant may patch."""


class InventoryReference(ApiModel):
    """A key of a ConfigMap in the resource's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "hosts.yaml"
    """Its key."""


class Inventory(ApiModel):
    """Hosts that are listed in a ConfigMap, as YAML: a list of `{name, address, port, user, zone}`."""

    config_map: InventoryReference
    """Where the list is."""
    secret_ref: SecretReference | None = None
    """Secret labelled `bascule.dev/use: ssh` with the keys `ssh-privatekey` and `known_hosts`."""


class Target(ApiModel):
    """A node or host of a campaign."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the node, or of the host in its inventory."""
    zone: str = ""
    """The node's `topology.kubernetes.io/zone`, or the host's."""
    address: str = ""
    """Of a host: where SSH finds it; empty for a node."""
    port: int = 22
    user: str = ""


class TargetPhase(StrEnum):
    """What goes on at a target."""

    PENDING = "Pending"
    """Not begun."""
    ACQUIRING = "Acquiring"
    """Waits for its Lease, which another campaign may hold."""
    CORDONING = "Cordoning"
    """Is being taken out of scheduling."""
    DRAINING = "Draining"
    """Its pods are being evicted."""
    PATCHING = "Patching"
    """The Procedure is at work."""
    REBOOTING = "Rebooting"
    """Waits for a new boot id."""
    VERIFYING = "Verifying"
    """Has to be Ready and to pass what `verify` asks."""
    RELEASING = "Releasing"
    """Is being given back to scheduling."""
    ROLLING_BACK = "RollingBack"
    """Its patch is being taken back."""
    PATCHED = "Patched"
    """Done."""
    FAILED = "Failed"
    """It could not be patched."""
    SKIPPED = "Skipped"
    """It needs nothing, or is gone."""
    ROLLED_BACK = "RolledBack"
    """Its patch was taken back."""


CELLS: dict[str, TargetPhase] = {
    ".": TargetPhase.PENDING,
    "a": TargetPhase.ACQUIRING,
    "c": TargetPhase.CORDONING,
    "d": TargetPhase.DRAINING,
    "p": TargetPhase.PATCHING,
    "b": TargetPhase.REBOOTING,
    "v": TargetPhase.VERIFYING,
    "l": TargetPhase.RELEASING,
    "r": TargetPhase.ROLLING_BACK,
    "P": TargetPhase.PATCHED,
    "F": TargetPhase.FAILED,
    "S": TargetPhase.SKIPPED,
    "R": TargetPhase.ROLLED_BACK,
}
"""How a wave's picture shows a target."""


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "Mon"
    """Monday."""
    TUESDAY = "Tue"
    """Tuesday."""
    WEDNESDAY = "Wed"
    """Wednesday."""
    THURSDAY = "Thu"
    """Thursday."""
    FRIDAY = "Fri"
    """Friday."""
    SATURDAY = "Sat"
    """Saturday."""
    SUNDAY = "Sun"
    """Sunday."""


TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", max_length=5)]


class Window(ApiModel):
    """A maintenance window, as people of one place see it on their clocks."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("self.start != self.end", "start and end must differ; a whole day is 00:00 to 23:59")
        )
    }
    days: Annotated[list[Day], Field(max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"})] = []
    """Days on which the window opens; none: every day."""
    start: TimeOfDay
    """When it opens, such as `22:00`."""
    end: TimeOfDay
    """When it closes; not after `start`: on the next day."""
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "Etc/UTC"
    """IANA name of the time zone."""
