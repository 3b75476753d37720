"""DRDrills as the command line sees them."""

from __future__ import annotations

from typing import Any

from bascule_api import dr_drills
from bascule_api.conditions import ConditionType, Reason
from bascule_cli.resources import Item
from tests.support.drill_subjects import figures, missed, spec
from tests.support.items import condition

UID = "2f0c4c1e-0000-4000-8000-000000000003"
HELD = [
    figures(number=3, finishedAt="2026-11-22T06:30:00Z", rtoGrossSeconds=1152),
    missed(number=2, finishedAt="2026-11-21T04:32:00Z"),
    figures(
        number=1, finishedAt="2026-11-20T06:32:00Z", verdict="Inconclusive", reason="RecoveryPointUnknown", rpo="",
        rpoSeconds=None, recoveryPoint=None, report=None,
    ),
]  # fmt: skip
"""Three drills, newest first."""


def drill(name: str = "shop", drills: list[dict[str, Any]] | None = None, **status: Any) -> Item:
    """A DRDrill whose last drill is over."""
    past = HELD if drills is None else drills
    last = {key: value for key, value in past[0].items() if key not in ("number", "finishedAt")} if past else None
    run = {
        "number": 3, "revision": "1-abc", "trigger": "Schedule", "tenant": "acme", "temporalNamespace": "acme",
        "workflowId": f"drdrill/{UID}/3", "outcome": "Succeeded", "startedAt": "2026-11-22T06:20:00Z",
        "finishedAt": "2026-11-22T06:30:00Z",
    }  # fmt: skip
    told = {"observedGeneration": 1, "phase": "Succeeded", "run": run, "drill": last, "drills": past} | status
    return Item.of(
        dr_drills.KIND,
        {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "DRDrill",
            "metadata": {"name": name, "namespace": "acme-dev", "uid": UID, "generation": 1},
            "spec": spec(),
            "status": {key: value for key, value in told.items() if value is not None},
        },
    )


def saying(reason: Reason, kind: ConditionType = ConditionType.STALLED, **status: Any) -> Item:
    """One whose Ready has this reason."""
    ready = "False" if kind is ConditionType.STALLED else "Unknown"
    said = [condition(ConditionType.READY, ready, reason), condition(kind, "True", reason)]
    return drill(conditions=said, **status)
