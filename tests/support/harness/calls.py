"""Names for the calls that operator and worker make, such that the same life makes calls of the same names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BLOB = re.compile(r"/v2/(?P<repository>.+?)/(?P<rest>(blobs|manifests|tags|referrers)/.*)$")


@dataclass(frozen=True, order=True)
class Point:
    """The `number`-th call of this name in one stage of a life."""

    stage: str
    """What the resource was on its way to."""
    who: str
    """operator or worker"""
    bank: str
    """kubernetes, temporal or registry"""
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.stage}:{self.kind}#{self.number}"

    @property
    def kind(self) -> str:
        """Without stage and number."""
        return f"{self.who}/{self.bank}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """The inverse of `str`. Raises ValueError."""
        rest, _, number = text.rpartition("#")
        stage, _, rest = rest.partition(":")
        who, bank, name = rest.split("/", 2)
        return cls(stage, who, bank, name, int(number))


@dataclass(frozen=True)
class Call:
    """One request as a proxy sees it."""

    who: str
    bank: str
    name: str
    writes: bool
    about: str
    """What it is about, for filters: the path, or the workflow's id."""


def kubernetes(who: str, method: str, path: str, query: Mapping[str, str]) -> Call:
    """`patch imagebuilds/status`, `list jobs`, `watch tenants`."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    resource, named = (parts[0] if parts else path), len(parts) > 1
    if len(parts) > 2:
        resource += f"/{parts[2]}"
    verb = _VERBS.get(method, "get" if named else "list")
    if query.get("watch") in ("true", "1"):
        verb = "watch"
    # One run's objects, not those that a watch begins with.
    whose = " of a run" if verb == "list" and "=" in query.get("labelSelector", "") else ""
    if "spec.nodeName=" in query.get("fieldSelector", ""):
        whose = " of a node"
    return Call(who, "kubernetes", f"{verb} {resource}{whose}", method != "GET", path)


def registry(who: str, method: str, path: str) -> Call:
    """`PUT manifests`, `HEAD blobs`, with `(candidates)` where that is the repository."""
    found = _BLOB.match(path)
    what = path if found is None else found["rest"].split("/")[0]
    if found is not None and found["rest"].startswith("blobs/uploads"):
        what = "uploads"
    if found is not None and found["repository"].endswith("-candidates"):
        what += " (candidates)"
    return Call(who, "registry", f"{method} {what}", method not in ("GET", "HEAD"), path)
