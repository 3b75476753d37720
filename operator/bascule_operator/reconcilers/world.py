"""What reconcilers work with: the two banks, what was last seen, and where to leave word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bascule_api.tenants import Tenant
from bascule_operator.connections.kube import Kube
from bascule_operator.connections.temporal import Place, Temporal
from bascule_operator.decisions.views import RunView
from bascule_operator.events import Recorder
from bascule_operator.queue import Queue
from bascule_operator.store import Key, Store


@dataclass(frozen=True)
class News:
    """What came with a key: a run as the feed saw it. None: look for yourself."""

    workflow_id: str
    view: RunView


def newer(older: News, later: News) -> News:
    """The news that count when a key got two before its turn."""
    if older.workflow_id != later.workflow_id:
        return later
    if later.view.closed is not None or (older.view.closed is None and _number(later) >= _number(older)):
        return later
    return older


def _number(news: News) -> int:
    return news.view.progress.number if news.view.progress else 0


def place_of(tenant: Tenant, temporal_namespace: str = "") -> Place:
    """Where a tenant's runs are, and what opens it. `temporal_namespace`: where it was the tenant's before."""
    temporal = tenant.spec.temporal
    return Place(temporal_namespace or tenant.temporal_namespace, temporal.address, temporal.access)


@dataclass(frozen=True)
class World:
    """Everything outside of a reconciler. The clock's readings have no microseconds, as Kubernetes' have none."""

    kube: Kube
    temporal: Temporal
    store: Store
    queue: Queue[Key, News]
    recorder: Recorder
    clock: Callable[[], datetime]
    ui_url: str = ""

    def place(self, tenant: str, temporal_namespace: str) -> Place:
        """Where a tenant's runs are: its Temporal namespace, at its own address if it has one."""
        known = self.store.tenants.get(tenant)
        return place_of(known, temporal_namespace) if known else Place(temporal_namespace)
