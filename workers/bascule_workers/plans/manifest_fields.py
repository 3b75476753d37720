"""What manifests of a drill may say, field by field: the tools with which it is checked, and what all objects share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names

_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
AFTER_RESTORE = "AfterRestore"
PROBLEMS_SHOWN = 5

_HARMLESS_ANNOTATIONS = (
    "kubectl.kubernetes.io",
    "app.kubernetes.io",
    "meta.helm.sh",
    "helm.sh",
    "prometheus.io",
    "checksum",
    "kompose.io",
)
"""Prefixes of annotations that tell something and make nobody act. Others are read by controllers, some of which reach
out of the namespace: a name in the DNS, a copy of another namespace's Secret, a claim made of another one."""

METADATA = {
    "name": "",
    "labels": "",
    "annotations": "",
    "creationTimestamp": "",
}
_METADATA_REFUSED = {
    "namespace": "leave it out: everything goes into the drill's own namespace",
    "generateName": "write a metadata.name: what is applied must be found again",
    "finalizers": "leave them out: they would hold the drill's namespace",
    "ownerReferences": "leave them out: what owns it is not there",
}
RUNTIME = "leave it out: the API server sets it"


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass
class Findings:
    """What is wrong with one manifest."""

    place: str
    problems: list[str] = field(default_factory=list)

    def add(self, path: str, problem: str) -> None:
        self.problems.append(f"{self.place}: {path}: {problem}" if path else f"{self.place}: {problem}")

    def only(self, path: str, value: Any, allowed: Iterable[str], refused: Mapping[str, str] | None = None) -> bool:
        """Whether the value is an object; its fields must be among the allowed ones. Those refused say why."""
        if not isinstance(value, dict):
            self.add(path, "must be an object")
            return False
        known, told = set(allowed), refused or {}
        for name in value:
            if name not in known:
                where = f"{path}.{name[:80]}" if path else name[:80]
                self.add(where, told.get(name, "is not allowed in a drill, or no field of this kind: leave it out"))
        return True

    def object(self, path: str, value: Any) -> dict[str, Any]:
        """The object that may be there, or an empty one; something else is a problem."""
        if value is None or isinstance(value, dict):
            return value or {}
        self.add(path, "must be an object")
        return {}

    def objects(self, path: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a list with their paths; what is no list of objects is a problem."""
        if value is None:
            return
        if not isinstance(value, list):
            self.add(path, "must be a list")
            return
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield f"{path}[{index}]", item
            else:
                self.add(f"{path}[{index}]", "must be an object")

    def texts(self, path: str, value: Any) -> dict[str, str]:
        """An object of texts; what is none is a problem."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.add(path, "must be an object")
            return {}
        for key, item in value.items():
            if not isinstance(item, str):
                self.add(f"{path}.{key[:80]}", "must be text: quote it")
        return {key: item for key, item in value.items() if isinstance(item, str)}


def is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 253 and bool(_NAME.match(value))


def check_metadata(found: Findings, metadata: Any, reserved: frozenset[str]) -> None:
    """Name, labels and annotations of an object, and nothing else."""
    if not found.only("metadata", metadata, METADATA, _METADATA_REFUSED | dict.fromkeys(_RUNTIME, RUNTIME)):
        return
    name = metadata.get("name")
    if not is_name(name):
        found.add("metadata.name", "is required: lower-case letters, digits, - and .")
    elif name in reserved or name.startswith("bascule-"):
        found.add("metadata.name", f"{name} is the platform's in a drill's namespace: choose another one")
    if metadata.get("creationTimestamp") is not None:
        found.add("metadata.creationTimestamp", RUNTIME)
    check_labels(found, "metadata.labels", metadata.get("labels"))
    for key, value in found.texts("metadata.annotations", metadata.get("annotations")).items():
        _check_annotation(found, key, value)


_RUNTIME = ("uid", "resourceVersion", "generation", "managedFields", "selfLink", "deletionTimestamp")


def check_labels(found: Findings, path: str, labels: Any) -> None:
    for key in found.texts(path, labels):
        where = f"{path}.{key[:80]}"
        if is_ours(key):
            found.add(where, "labels of bascule.dev are the platform's: leave it out")
        elif not _LABEL_KEY.match(key):
            found.add(where, "is no label")


def _check_annotation(found: Findings, key: str, value: str) -> None:
    where = f"metadata.annotations.{key[:80]}"
    if key == names.ANNOTATION_APPLY:
        if value != AFTER_RESTORE:
            found.add(where, f"can be {AFTER_RESTORE} only; without it the object is applied before the restore")
    elif is_ours(key):
        found.add(where, f"of annotations of bascule.dev, {names.ANNOTATION_APPLY} only may be here")
    elif "/" in key and not _is_harmless(key.partition("/")[0]):
        found.add(where, "it may make a controller act outside of the drill's namespace: leave it out")


def _is_harmless(prefix: str) -> bool:
    return any(prefix == known or prefix.endswith(f".{known}") for known in _HARMLESS_ANNOTATIONS)


def is_ours(key: str) -> bool:
    """Whether a label or annotation is Bascule's own."""
    prefix = key.partition("/")[0].lower()
    return prefix == names.GROUP or prefix.endswith(f".{names.GROUP}")
