"""Resources as the command line sees them: recorded from a cluster, and changed where a test says so."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule_api import image_builds, tenants
from bascule_api.conditions import ConditionType, Reason
from bascule_cli.resources import Item

RECORDED = Path(__file__).parent.parent / "unit" / "bascule_cli" / "statuses"
NOW = datetime(2026, 11, 22, 6, 32, 0, tzinfo=UTC)
"""Shortly after the statuses were recorded."""


def body(name: str) -> dict[str, Any]:
    """A recorded object: cancelled, failed, pending, running, succeeded or waiting."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def recorded(name: str, **status: Any) -> Item:
    """A recorded ImageBuild, with other fields of the status; None takes a field away."""
    made = copy.deepcopy(body(name))
    made["status"] = {key: value for key, value in (made["status"] | status).items() if value is not None}
    return Item.of(image_builds.KIND, made)


def with_spec(item: Item, **spec: Any) -> Item:
    return Item.of(item.kind, item.body | {"spec": item.spec | spec})


def with_metadata(item: Item, **metadata: Any) -> Item:
    return Item.of(item.kind, item.body | {"metadata": item.body["metadata"] | metadata})


def saying(reason: Reason, *, stalled: bool = False, done: bool = False, **status: Any) -> Item:
    """A waiting build whose Ready has this reason: working on it, or stalled, or done."""
    ready = "True" if done else "False" if stalled else "Unknown"
    conditions = [condition(ConditionType.READY, ready, reason)]
    if not done:
        kind = ConditionType.STALLED if stalled else ConditionType.RECONCILING
        conditions.append(condition(kind, "True", reason))
    return recorded("waiting", conditions=conditions, **status)


def condition(kind: ConditionType, status: str, reason: Reason, message: str = "so it is") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-22T06:30:00Z",
    }


def tenant(reason: Reason, **spec: Any) -> Item:
    """A Tenant that is not Ready for this reason."""
    conditions = [condition(kind, "False", reason) for kind in (ConditionType.READY,)]
    conditions.append(condition(ConditionType.STALLED, "True", reason))
    made = {
        "metadata": {"name": "acme", "uid": "0f1e", "generation": 1},
        "spec": {"namespaces": ["acme-dev", "acme-prod"]} | spec,
        "status": {"observedGeneration": 1, "conditions": conditions},
    }
    return Item.of(tenants.KIND, made)
