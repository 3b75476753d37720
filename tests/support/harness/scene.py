"""One case: a resource of its own in a shard, what people do to it, and what it looks like."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bascule_operator.connections.kube import MERGE_PATCH
from bascule_operator.errors import ConflictError, GoneError
from hack import installation
from tests.support.harness.shard import LABEL, Shard

PATIENCE = 150.0
"""Seconds until a life must have come where it goes: a dead worker's activity is missed after ten, and busy machines
make everything longer."""
Json = dict[str, Any]


class LifeStuckError(AssertionError):
    """Something never happened."""


@dataclass
class Scene:
    """What people do, past every proxy."""

    shard: Shard
    name: str
    body: Json = field(default_factory=dict)
    """The resource as last read."""
    edits: int = 0

    @property
    def path(self) -> str:
        return f"/apis/bascule.dev/v1alpha1/namespaces/{self.shard.namespace}/imagebuilds/{self.name}"

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def repository(self) -> str:
        """Within the registry."""
        return f"{self.shard.name}/{self.name}"

    async def apply(self, behaviour: str, **changes: Any) -> None:
        spec = {
            "source": {"configMap": {"name": "source"}},
            "build": {"procedure": "no-op-build"},
            "tests": [{"name": "try", "procedure": "no-op-test", "parameters": {"behaviour": behaviour}}],
            "sign": {"keySecretRef": {"name": "signing-key"}},
            "publish": {"repository": f"{self.shard.registry_host}/{self.repository}", "tags": ["v1"]},
        }
        document = installation.image_build(
            self.shard.namespace, self.name, spec | changes, labels={LABEL: self.shard.name}
        )
        self.body = await self.shard.plane.apply(self.path, document)

    async def edit(self) -> None:
        """Change what is wanted: another revision. Gone or going, nothing can be wanted."""
        self.edits += 1
        change = {"spec": {"build": {"parameters": {"mark": f"edit-{self.edits}"}}}}
        with suppress(GoneError, ConflictError):
            await self._request("PATCH", body=change, content_type=MERGE_PATCH)

    async def delete(self) -> None:
        with suppress(GoneError):
            await self._request("DELETE")

    async def let_go(self) -> None:
        """Take every finalizer off, which nobody but a test may do."""
        with suppress(GoneError):
            await self._request("PATCH", body={"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)

    async def get(self) -> Json | None:
        try:
            self.body = await self._request("GET")
        except GoneError:
            return None
        return self.body

    async def _request(self, method: str, **arguments: Any) -> Json:
        return await self.shard.plane.kube.request(method, self.path, resource="test", **arguments)

    async def until(self, holds: Callable[[Json], bool], what: str) -> Json:
        """Wait until the resource looks so. Raises LifeStuckError with what it looks like instead."""
        return await self._wait(lambda body: body is not None and holds(body), what)

    async def until_gone(self) -> None:
        await self._wait(lambda body: body is None, "gone")

    async def _wait(self, holds: Callable[[Json | None], bool], what: str) -> Json:
        deadline = time.monotonic() + PATIENCE
        while True:
            body = await self.get()
            if holds(body):
                return self.body
            if time.monotonic() > deadline:
                raise LifeStuckError(f"never {what}: {json.dumps((body or {}).get('status'))}")
            await asyncio.sleep(0.15)

    async def until_settled(self) -> Json:
        """Wait until the status speaks of the spec as it is, and says that a run is over and taken back."""
        return await self.until(settled, "settled")


def status_of(body: Json) -> Json:
    status: Json = body.get("status") or {}
    return status


def settled(body: Json) -> bool:
    status = status_of(body)
    run = status.get("run") or {}
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    over = status.get("phase") in ("Succeeded", "Failed", "Cancelled", "Rejected") and bool(run.get("outcome"))
    return current and over and bool(status.get("compensation"))


def step_state(body: Json, name: str) -> str:
    return next((step["state"] for step in status_of(body).get("steps", []) if step["name"] == name), "")
