"""Following resources: one list and one watch per kind, whatever their number."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bascule_api.base import Kind
from bascule_cli import terminal
from bascule_cli.cluster import Cluster, Json
from bascule_cli.errors import CliError, ExitCode, NotFoundError
from bascule_cli.resources import Item

_PAUSE_SECONDS = 2.0
_WATCH_SECONDS = 240
_GATHER_SECONDS = 0.1
"""Changes that come together are shown together."""


@dataclass(frozen=True)
class Scope:
    """What is followed; no `names` mean all, an empty namespace means every one."""

    kinds: tuple[Kind, ...]
    namespace: str
    names: frozenset[tuple[str, str]] = frozenset()
    """Pairs of kind and name."""

    def includes(self, item: Item) -> bool:
        return not self.names or (item.kind.kind, item.name) in self.names

    @property
    def name(self) -> str:
        """The only name, so that the API server need not send others."""
        return next(iter(self.names))[1] if len(self.names) == 1 else ""


@dataclass(frozen=True)
class Change:
    """A resource as it is now, or as it was last."""

    item: Item
    gone: bool = False


class Mirror:
    """The resources of a scope, kept up to date by watches; for so many seconds at most."""

    def __init__(self, cluster: Cluster, scope: Scope, seconds: int | None = None) -> None:
        self._cluster = cluster
        self._scope = scope
        self._seconds = seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._changes: queue.SimpleQueue[Change | CliError] = queue.SimpleQueue()

    def changes(self) -> Iterator[Change]:
        """Every change, first of all each resource as it is. Ends when all that were named are gone.

        Raises ForbiddenError and the like, and CliError TIMED_OUT.
        """
        self._start()
        gone: set[tuple[str, str]] = set()
        while not self._scope.names or gone != self._scope.names:
            change = self._next(None)
            named = (change.item.kind.kind, change.item.name)
            gone = gone | {named} if change.gone else gone - {named}
            yield change

    def views(self, seconds: float) -> Iterator[list[Change]]:
        """All resources after each change, and at least so often: times go on without changes.

        Those that were named stay in it when they are gone; it ends when all of them are.
        """
        self._start()
        seen: dict[tuple[str, str, str], Change] = {}
        while not self._all_gone(seen):
            try:
                self._take(seen, self._next(seconds))
                until = time.monotonic() + _GATHER_SECONDS
                while (left := until - time.monotonic()) > 0:
                    self._take(seen, self._next(left))
            except queue.Empty:
                pass
            yield list(seen.values())

    def _all_gone(self, seen: dict[tuple[str, str, str], Change]) -> bool:
        return len(seen) >= len(self._scope.names) > 0 and all(change.gone for change in seen.values())

    def _take(self, seen: dict[tuple[str, str, str], Change], change: Change) -> None:
        item = change.item
        place = (item.kind.kind, item.namespace, item.name)
        if change.gone and not self._scope.names:
            seen.pop(place, None)
        else:
            seen[place] = change

    def _next(self, seconds: float | None) -> Change:
        """The next change. Raises queue.Empty after so many seconds, CliError TIMED_OUT when all time is up."""
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise self._timed_out()
        waited = min((limit for limit in (seconds, left) if limit is not None), default=None)
        try:
            change = self._changes.get(timeout=waited)
        except queue.Empty:
            raise (self._timed_out() if seconds is None else queue.Empty) from None
        if isinstance(change, CliError):
            raise change
        return change

    def _timed_out(self) -> CliError:
        named = ", ".join(f"{kind} {name}" for kind, name in sorted(self._scope.names)) or "nothing ended"
        return CliError(ExitCode.TIMED_OUT, f"{named}: not within {self._seconds} s")

    def _start(self) -> None:
        for kind in self._scope.kinds:
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()

    def _follow(self, kind: Kind) -> None:
        """List and watch a kind for ever; what breaks off is begun anew."""
        known: dict[str, Item] = {}
        while True:
            try:
                version = self._listed(kind, known)
                while version:
                    begun = time.monotonic()
                    version = self._watched(kind, known, version)
                    _rest(begun)
            except CliError as error:
                if error.code is not ExitCode.UNREACHABLE:
                    self._changes.put(error)
                    return
                terminal.note(f"{error.message}; trying again")
            time.sleep(_PAUSE_SECONDS)

    def _listed(self, kind: Kind, known: dict[str, Item]) -> str:
        query = {"fieldSelector": f"metadata.name={self._scope.name}"} if self._scope.name else {}
        listed = self._cluster.list(kind, self._scope.namespace, query)
        items = [Item.of(kind, body) for body in listed["items"]]
        there = {item.meta.uid for item in items}
        for uid in [uid for uid in known if uid not in there]:
            self._changes.put(Change(known.pop(uid), gone=True))
        for item in items:
            self._put(known, item)
        return str(listed["metadata"]["resourceVersion"])

    def _watched(self, kind: Kind, known: dict[str, Item], version: str) -> str:
        """One watch to its end. Returns where the next one begins; empty: at a new list."""
        for event in self._cluster.watch(kind, self._scope.namespace, version, name=self._scope.name):
            if event["type"] == "ERROR":
                return ""
            body: Json = event["object"]
            version = str(body["metadata"]["resourceVersion"])
            if event["type"] == "BOOKMARK":
                continue
            item = Item.of(kind, body)
            if event["type"] == "DELETED":
                known.pop(item.meta.uid, None)
                if self._scope.includes(item):
                    self._changes.put(Change(item, gone=True))
            else:
                self._put(known, item)
        return version

    def _put(self, known: dict[str, Item], item: Item) -> None:
        if self._scope.includes(item):
            known[item.meta.uid] = item
            self._changes.put(Change(item))


def until(cluster: Cluster, kind: Kind, body: Json, over: Callable[[Json], bool], seconds: int) -> Json | None:
    """Watch one object until it is `over`, from how it is now. None when it was deleted before.

    Raises CliError TIMED_OUT after so many seconds, ForbiddenError where the user may not look.
    """
    metadata = body["metadata"]
    namespace, name, version = metadata["namespace"], metadata["name"], metadata["resourceVersion"]
    deadline = time.monotonic() + seconds
    while not over(body):
        begun = time.monotonic()
        left = int(deadline - time.monotonic())
        if left <= 0:
            raise CliError(ExitCode.TIMED_OUT, f"{kind.kind} {name}: not within {seconds} s")
        for event in cluster.watch(kind, namespace, version, min(left, _WATCH_SECONDS), name):
            if event["type"] in ("ERROR", "DELETED"):
                version = ""
                break
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK" and over(body := event["object"]):
                return body
        if not version:
            try:
                body = cluster.get(kind, namespace, name)
            except NotFoundError:
                return None
            if body["metadata"]["uid"] != metadata["uid"]:
                return None
            version = body["metadata"]["resourceVersion"]
        _rest(begun)
    return body


def _rest(begun: float) -> None:
    """A server that ends every watch at once is not asked as fast as it answers."""
    if time.monotonic() - begun < 1:
        time.sleep(1)
