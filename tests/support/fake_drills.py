"""Drills' namespaces in memory. What it promises, tests/ports/test_drills.py holds it to, beside the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bascule_api import names
from bascule_workers.errors import DrillNamespaceTakenError, EnvironmentFailedError
from bascule_workers.plans.kstatus import Standing, standing_of
from bascule_workers.ports.drills import Counted, Ending, Ensured, Objects

NOW = 1_800_000_000
STAMP = "2027-01-15T08:00:00Z"


@dataclass
class FakeSpace:
    """One namespace."""

    labels: dict[str, str]
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    finalizers: dict[str, str] = field(default_factory=dict)
    """By object (`ConfigMap/x`): what holds it."""
    terminating: bool = False


class FakeDrillSpaces:
    """The port `DrillSpaces`."""

    def __init__(self) -> None:
        self.spaces: dict[str, FakeSpace] = {}
        self._changed = asyncio.Event()

    # What tests do

    def foreign(self, namespace: str, **labels: str) -> None:
        """A namespace of somebody else."""
        self.spaces[namespace] = FakeSpace(labels)

    def status(self, namespace: str, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """What a controller says of an object."""
        self.spaces[namespace].objects[kind, name]["status"] = dict(status)
        self._changed.set()

    def hold(self, namespace: str, kind: str, name: str, finalizer: str) -> None:
        self.spaces[namespace].finalizers[f"{kind}/{name}"] = finalizer

    def let_go(self, namespace: str) -> None:
        self.spaces[namespace].finalizers.clear()

    # The port

    async def ensure(self, namespace: str, objects: Objects, run: str) -> Ensured:
        space, *furniture = objects
        found = self.spaces.setdefault(namespace, FakeSpace(dict(space["metadata"]["labels"])))
        if found.labels.get(names.LABEL_RUN) != run:
            raise DrillNamespaceTakenError(f"there is a namespace {namespace} that is not this run's")
        if found.terminating:
            raise DrillNamespaceTakenError(f"the namespace {namespace} is being deleted")
        self._put(found, furniture)
        return Ensured(at=NOW)

    async def apply(self, namespace: str, objects: Objects) -> None:
        space = self.spaces[namespace]
        for item in objects:
            name = item["metadata"]["name"]
            if unknown := set(item.get("spec") or {}) & {"bogus"}:
                raise EnvironmentFailedError(f"the API server refuses {item['kind']}/{name}: unknown field {unknown}")
        self._put(space, objects)

    def _put(self, space: FakeSpace, objects: Objects) -> None:
        for item in objects:
            key = (item["kind"], item["metadata"]["name"])
            before = space.objects.get(key, {})
            metadata = {**item["metadata"], "generation": 1, "creationTimestamp": STAMP}
            space.objects[key] = {**item, "metadata": metadata, "status": before.get("status", {})}

    async def standing(self, namespace: str, objects: Objects) -> list[Standing]:
        self._changed.clear()
        known = self.spaces[namespace].objects
        return [standing_of(item, known.get((item["kind"], item["metadata"]["name"])), ()) for item in objects]

    async def until_changed(self, namespace: str, limit_seconds: float) -> None:
        try:
            async with asyncio.timeout(limit_seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def count(self, namespace: str, run: str) -> Counted:
        space = self.spaces.get(namespace)
        if space is None or space.labels.get(names.LABEL_RUN) != run:
            return Counted({"Namespace": 0, "ConfigMap": 0, "PersistentVolume": 0})
        kinds = {"Namespace": 1, "ConfigMap": 0, "PersistentVolume": 0}
        for kind, _ in space.objects:
            kinds[kind] = kinds.get(kind, 0) + 1
        return Counted(kinds, tuple(f"{what}: {finalizer}" for what, finalizer in space.finalizers.items()))

    async def of_run(self, run: str) -> list[str]:
        return sorted(name for name, space in self.spaces.items() if space.labels.get(names.LABEL_RUN) == run)

    async def delete(self, namespace: str, run: str) -> Ending:
        space = self.spaces.get(namespace)
        if space is None or space.labels.get(names.LABEL_RUN) != run:
            return Ending(gone=True)
        space.terminating = True
        if space.finalizers:
            held = ", ".join(space.finalizers.values())
            told = f"Some content in the namespace has finalizers remaining: {held} in 1 resource instances"
            return Ending(gone=False, held_by=(told,), deleted=NOW)
        del self.spaces[namespace]
        return Ending(gone=True, deleted=NOW)
