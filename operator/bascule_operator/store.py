"""What was last seen of the resources: the informer's cache. Decisions that cannot be taken back never rest on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from bascule_api.conditions import ConditionStatus, ConditionType, Reason
from bascule_api.procedures import Procedure
from bascule_api.tenants import Tenant
from bascule_operator.decisions.tags import Published, published_of

Json = dict[str, Any]

PLATFORM = ("Tenant", "Procedure")
"""Kinds that decide whether others may start."""


class Key(NamedTuple):
    """One object: its kind, namespace (empty for cluster-scoped ones) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


def key_of(kind: str, body: Json) -> Key:
    return Key(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"])


def slim(body: Json) -> Json:
    """The object without what only the API server needs; managed fields are half of it."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


def _version(body: Json) -> int:
    return int(body["metadata"].get("resourceVersion") or 0)


class LiveRun(NamedTuple):
    """An unfinished run, or the workflow that undoes a finished one, as the feed needs to know it."""

    key: Key
    uid: str
    number: int
    tenant: str
    temporal_namespace: str
    workflow_id: str


def _live(key: Key, uid: str, status: Json) -> LiveRun | None:
    run, workflow_id = status.get("run") or {}, live_workflow(status)
    if workflow_id is None:
        return None
    tenant, namespace = str(run.get("tenant", "")), str(run.get("temporalNamespace", ""))
    return LiveRun(key, uid, int(run.get("number", 0)), tenant, namespace, workflow_id)


def live_workflow(status: Json) -> str | None:
    """Id of what goes on for a resource in Temporal, or is about to; None when nothing does."""
    run, undo = status.get("run") or {}, status.get("compensation") or {}
    if run and not run.get("outcome"):
        return str(run.get("workflowId", ""))
    return str(undo["workflowId"]) if undo.get("state") == "Running" and undo.get("workflowId") else None


def due_at(body: Json) -> datetime | None:
    """When the resource's schedule is due, or has been since; None where there is none, or where it is held."""
    found = ((body.get("status") or {}).get("schedule") or {}).get("next")
    if not found or (body.get("spec") or {}).get("suspend"):
        return None
    due = datetime.fromisoformat(str(found))
    return due if due.tzinfo else due.replace(tzinfo=UTC)


def _blocked(status: Json) -> bool:
    """Whether something keeps a run from starting now, or would when it is due."""
    said = status.get("conditions") or []
    held = any(
        item["type"] == _SCHEDULED and item["status"] == _FALSE and item["reason"] != _SUSPENDED for item in said
    )
    return held or bool(status.get("blocked"))


_SCHEDULED, _FALSE, _SUSPENDED = ConditionType.SCHEDULED, ConditionStatus.FALSE, Reason.SUSPENDED


@dataclass(frozen=True)
class Entry:
    """A resource as last seen, with what is asked of it often."""

    text: bytes = field(repr=False)
    """The object as JSON: a quarter of the memory that it takes as Python objects."""
    version: int
    uid: str
    live: LiveRun | None = None
    blocked: bool = False
    due: datetime | None = None
    """When its schedule is due."""
    deleting: bool = False
    tenant: str = ""
    tags: frozenset[tuple[str, str]] = frozenset()
    """Repository and name of each tag that it published."""
    published: Published | None = None
    """What it published, if a run of it succeeded."""

    @property
    def body(self) -> Json:
        """The object, made anew with each call."""
        found: Json = from_json(self.text)
        return found

    @classmethod
    def of(cls, key: Key, body: Json) -> Entry:
        body = slim(body)
        metadata, status = body["metadata"], body.get("status") or {}
        run, published = status.get("run") or {}, status.get("published") or {}
        return cls(
            text=to_json(body),
            version=_version(body),
            uid=str(metadata.get("uid", "")),
            live=_live(key, str(metadata.get("uid", "")), status),
            blocked=_blocked(status),
            due=due_at(body),
            deleting="deletionTimestamp" in metadata,
            tenant=str(run.get("tenant", "")),
            tags=frozenset((published.get("repository", ""), tag["name"]) for tag in published.get("tags", [])),
            published=published_of(f"{key.namespace}/{key.name}", status),
        )  # fmt: skip


class Store:
    """Resources, Tenants and Procedures as last seen. `platform_changed` is told of every change of the latter two,
    `due` when a resource's schedule is due, or that it has none (any more)."""

    def __init__(
        self,
        platform_changed: Callable[[], None] = lambda: None,
        due: Callable[[Key, datetime | None], None] = lambda *_: None,
    ) -> None:
        self._platform_changed = platform_changed
        self._due = due
        self._entries: dict[Key, Entry] = {}
        self._blocked: set[Key] = set()
        self._tenants: dict[str, Tenant] = {}
        self._procedures: dict[str, Procedure] = {}
        self._by_tag: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)
        self._live: defaultdict[str, dict[str, LiveRun]] = defaultdict(dict)

    def put(self, key: Key, body: Json) -> bool:
        """Remember the object unless a newer one is known. Whether it is news."""
        known = self._entries.get(key)
        if known and known.uid == body["metadata"].get("uid", "") and known.version >= _version(body):
            return False
        entry = Entry.of(key, body)
        self._forget(key)
        self._entries[key] = entry
        self._due(key, entry.due)
        for tag in entry.tags:
            self._by_tag[tag].add(key)
        if entry.live:
            self._live[entry.live.temporal_namespace][entry.live.workflow_id] = entry.live
        if entry.blocked:
            self._blocked.add(key)
        self._parse(key, body)
        if key.kind in PLATFORM:
            self._platform_changed()
        return True

    def _parse(self, key: Key, body: Json) -> None:
        try:
            if key.kind == "Tenant":
                self._tenants[key.name] = Tenant.parse(body)
            elif key.kind == "Procedure":
                self._procedures[key.name] = Procedure.parse(body)
        except ValidationError:
            # Written past an older schema; it counts as not there, which is what its users are told.
            self._tenants.pop(key.name, None) if key.kind == "Tenant" else self._procedures.pop(key.name, None)

    def remove(self, key: Key, uid: str = "") -> None:
        """Forget the object; with `uid` only that one, and not what has the same name since."""
        entry = self._entries.get(key)
        if entry is not None and uid in ("", entry.uid):
            self._forget(key)
            self._due(key, None)

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._blocked.discard(key)
        for tag in entry.tags:
            self._by_tag[tag].discard(key)
            if not self._by_tag[tag]:
                del self._by_tag[tag]
        if entry.live:
            runs = self._live[entry.live.temporal_namespace]
            runs.pop(entry.live.workflow_id, None)
            if not runs:
                del self._live[entry.live.temporal_namespace]
        if key.kind == "Tenant":
            self._tenants.pop(key.name, None)
        elif key.kind == "Procedure":
            self._procedures.pop(key.name, None)

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def keys(self, kind: str) -> list[Key]:
        return [key for key in self._entries if key.kind == kind]

    @property
    def blocked(self) -> list[Key]:
        """Resources that something keeps from starting."""
        return list(self._blocked)

    @property
    def tenants(self) -> dict[str, Tenant]:
        return self._tenants

    @property
    def procedures(self) -> dict[str, Procedure]:
        return self._procedures

    def live_runs(self) -> dict[str, dict[str, LiveRun]]:
        """Unfinished runs: Temporal namespace to workflow id to run."""
        return {namespace: dict(runs) for namespace, runs in self._live.items()}

    def sharing_tags(self, tags: Iterable[tuple[str, str]], but: Key) -> set[Key]:
        """Resources that published one of these tags, too."""
        found: set[Key] = set()
        for tag in tags:
            found |= self._by_tag.get(tag, set())
        return found - {but}
