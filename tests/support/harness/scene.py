"""One case: a resource of its own in a shard, what people do to it, and what it looks like."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from temporalio.service import RPCError, RPCStatusCode

from bascule_api import names
from bascule_operator.connections.kube import MERGE_PATCH
from bascule_operator.errors import ConflictError, GoneError
from tests.support.harness.gate import Kind
from tests.support.harness.shard import LABEL, Shard

PATIENCE = 300.0
"""Seconds until a stage must have come where it goes: a dead worker's activity is missed after ten, a cosign that is
never answered is ended after 120, and busy machines make everything longer."""
Json = dict[str, Any]


class LifeStuckError(AssertionError):
    """Something never happened."""


@dataclass
class Scene:
    """What people do with an ImageBuild, past every proxy."""

    kind: ClassVar[str] = "ImageBuild"

    shard: Shard
    name: str
    body: Json = field(default_factory=dict)
    """The resource as last read."""
    edits: int = 0
    edited_behaviour: str = ""
    """What the test, or the patch, does after an edit; empty: the same as before."""
    deleted: bool = False
    approving: bool = True
    """Whether somebody approves what waits for it."""
    _there: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _approved: set[int] = field(default_factory=set)

    @property
    def path(self) -> str:
        return f"/apis/bascule.dev/v1alpha1/namespaces/{self.shard.namespace}/{self.kind.lower()}s/{self.name}"

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def repository(self) -> str:
        """Within the registry."""
        return f"{self.shard.name}/{self.name}"

    async def apply(self, behaviour: str, *, approval: bool = False, **changes: Any) -> None:
        spec = {
            "source": {"configMap": {"name": "source"}},
            "build": {"procedure": "no-op-build"},
            "tests": [_test(behaviour)],
            "sign": {"keySecretRef": {"name": "signing-key"}},
            "publish": {
                "repository": f"{self.shard.registry_host}/{self.repository}",
                "tags": ["v1"],
                "approval": {"required": approval},
            },
        }
        await self.applied(spec | changes)

    async def applied(self, spec: Json) -> None:
        """Create it with this spec."""
        metadata = {"name": self.name, "namespace": self.shard.namespace, "labels": {LABEL: self.shard.name}}
        document = {"apiVersion": names.API_VERSION, "kind": self.kind, "metadata": metadata, "spec": spec}
        self.body = await self.shard.plane.apply(self.path, document)
        self._there.set()

    async def clear(self) -> None:
        """Take away what it needed besides."""

    async def interfere(self, kind: Kind) -> None:
        """What a person does at the wrong moment, if only the resource is there."""
        async with self._busy:
            await self._there.wait()
            await (self.delete() if kind is Kind.DELETE else self.edit())

    async def left_alone(self) -> None:
        """Wait until nobody is about to do something to it."""
        async with self._busy:
            return

    async def edit(self) -> None:
        """Change what is wanted: another revision. Gone or going, nothing can be wanted."""
        self.edits += 1
        with suppress(GoneError, ConflictError):
            await self._request("PATCH", body={"spec": self.edited()}, content_type=MERGE_PATCH)

    def edited(self) -> Json:
        """What an edit changes of the spec."""
        changed: Json = {"build": {"parameters": {"mark": f"edit-{self.edits}"}}}
        if self.edited_behaviour:
            changed["tests"] = [_test(self.edited_behaviour)]
        return changed

    async def approve(self, body: Json) -> None:
        """Approve what the resource waits for, as a person who looks at it again and again: once for each run."""
        waits, run = status_of(body).get("waitingFor") or {}, status_of(body).get("run") or {}
        if not self.approving or waits.get("kind") != "Approval" or run["number"] in self._approved:
            return
        about = {"kind": self.kind, "name": self.name, "uid": self.uid}
        spec = {
            "for": about, "run": run["number"], "gate": waits["gate"], "subject": waits["subject"],
            "decision": "Approve", "approver": "admin",
        }  # fmt: skip
        name = f"{self.name}-{run['number']}"
        metadata = {"name": name, "labels": {LABEL: self.shard.name}}
        document = {"apiVersion": names.API_VERSION, "kind": "Approval", "metadata": metadata, "spec": spec}
        await self.shard.plane.apply(f"{self.path.rsplit('/', 2)[0]}/approvals/{name}", document)
        self._approved.add(run["number"])

    def release(self) -> None:
        """Let go on what is held of it."""
        self.shard.plane.kubelet.release(self.uid)

    async def terminate(self) -> None:
        """End its run as a person with Temporal's own interface can, unless it is over."""
        client = await self.shard.client()
        try:
            await client.get_workflow_handle(status_of(self.body)["run"]["workflowId"]).terminate("by hand")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def delete(self) -> None:
        self.deleted = True
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
        """Wait until the resource looks so, or until it is gone when somebody deleted it.

        Raises LifeStuckError with what it looks like instead.
        """
        return await self._wait(lambda body: self.deleted if body is None else holds(body), what)

    async def until_gone(self) -> None:
        await self._wait(lambda body: body is None, "gone")

    async def _wait(self, holds: Callable[[Json | None], bool], what: str) -> Json:
        deadline, chronicle = time.monotonic() + PATIENCE, self.shard.plane.chronicle
        while True:
            known = len(chronicle.of(self.uid))
            body = await self.get()
            if holds(body):
                return self.body
            if body is not None:
                await self.approve(body)
            if time.monotonic() > deadline:
                raise LifeStuckError(f"never {what}: {json.dumps((body or {}).get('status'))}")
            await chronicle.longer_than(self.uid, known, 1.0)

    async def until_settled(self) -> Json:
        """Wait until the status speaks of the spec as it is, and says that a run is over and taken back."""
        return await self.until(settled, "settled")


def _test(behaviour: str) -> Json:
    return {"name": "try", "procedure": "no-op-test", "parameters": {"behaviour": behaviour}}


def status_of(body: Json) -> Json:
    status: Json = body.get("status") or {}
    return status


def settled(body: Json) -> bool:
    status = status_of(body)
    run = status.get("run") or {}
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    over = status.get("phase") in ("Succeeded", "Failed", "Cancelled", "Rejected") and bool(run.get("outcome"))
    compensation = (status.get("compensation") or {}).get("state")
    return current and over and compensation in ("Succeeded", "NothingToDo", "Failed", "Forced")


def step_state(body: Json, name: str) -> str:
    return next((step["state"] for step in status_of(body).get("steps", []) if step["name"] == name), "")
