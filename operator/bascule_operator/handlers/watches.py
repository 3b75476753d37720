"""Registrations: which kinds are watched, and that every event goes to one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import kopf

from bascule_api import names
from bascule_api.base import Kind
from bascule_operator.connections.kube import Kube
from bascule_operator.store import Key, key_of

Seen = Callable[[Key, dict[str, Any], bool], None]
"""(key, object, whether it is gone) -> None"""


def registry(kinds: tuple[Kind, ...], seen: Seen, kube: Kube) -> kopf.OperatorRegistry:
    """The watches of these kinds, with the credentials of `kube`."""
    watched = kopf.OperatorRegistry()
    kopf.on.login(registry=watched, id="login")(_login(kube))
    for kind in kinds:
        kopf.on.event(names.GROUP, names.VERSION, kind.plural, registry=watched, id=kind.kind)(_handler(kind, seen))
    return watched


def _handler(kind: Kind, seen: Seen) -> Any:
    async def handle(event: Any, **_: Any) -> None:
        body = dict(event["object"])
        seen(key_of(kind.kind, body), body, event["type"] == "DELETED")

    return handle


def _login(kube: Kube) -> Any:
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**dataclasses.asdict(await kube.credentials()))

    return login


class _NoDifferences(kopf.AnnotationsDiffBaseStorage):
    """kopf compares every event with the one before, for handlers of a kind that we have none of: two deep copies."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None


def watch_settings(kinds: tuple[Kind, ...], selector: str) -> kopf.OperatorSettings:
    """kopf as a watch and nothing more: it writes nothing, and its streams never hang for ever."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    # kopf holds the last page of its first list, parsed, for as long as it watches: 30 KiB an object.
    settings.watching.chunk_size = 100
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.queueing.idle_timeout = 2
    settings.process.ultimate_exiting_timeout = 20
    settings.persistence.diffbase_storage = _NoDifferences()
    if selector:
        for kind in kinds:
            # In one string, kopf would take the version for a part of the group, and match nothing.
            settings.watching.label_selectors[names.GROUP, names.VERSION, kind.plural] = selector
    return settings
