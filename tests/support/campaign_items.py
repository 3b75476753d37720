"""PatchCampaigns as the command line sees them, in the states that people ask about."""

from __future__ import annotations

from typing import Any

from bascule_api import patch_campaigns
from bascule_api.conditions import ConditionType, Reason
from bascule_cli.resources import Item
from tests.support.items import condition

DIGEST = "sha256:7f6b435bf8f49f7c501e3a20127013035fc59befe403a132993980b42494293f"

SPEC: dict[str, Any] = {
    "targets": {"nodes": {"selector": {"matchLabels": {"role": "web"}}}},
    "patch": {"procedure": "apt-upgrade"},
    "rollback": {"procedure": "apt-rollback"},
    "waves": [
        {"name": "canary", "size": 1, "soak": "10m"},
        {"name": "staged", "size": "10%", "maxParallel": 2, "approval": {"required": True}},
        {"name": "fleet", "maxParallel": "10%"},
    ],
    "failurePolicy": {"maxFailures": "2%", "action": "RollbackWave"},
    "windows": [{"days": ["Mon", "Tue"], "start": "22:00", "end": "05:00", "timeZone": "Europe/Berlin"}],
}
RUN = {
    "number": 3,
    "revision": "1-9f2c61a0b4",
    "trigger": "Revision",
    "tenant": "acme",
    "startedAt": "2026-11-22T06:12:00Z",
    "url": "https://temporal.example.com/namespaces/acme/workflows/x",
}
WAVES: list[dict[str, Any]] = [
    {
        "name": "canary",
        "state": "Succeeded",
        "total": 1,
        "patched": 1,
        "startedAt": "2026-11-22T06:12:10Z",
        "finishedAt": "2026-11-22T06:15:00Z",
        "names": ["node-07"],
        "cells": "P",
    },
    {
        "name": "staged",
        "state": "Running",
        "total": 6,
        "patched": 2,
        "failed": 1,
        "startedAt": "2026-11-22T06:20:00Z",
        "names": ["node-03", "node-11", "node-29", "node-31", "node-05", "node-40"],
        "cells": "PPFdp.",
    },
    {"name": "fleet", "total": 33, "names": ["node-01", "node-02"], "cells": "." * 33},
]
TARGETS: dict[str, Any] = {
    "total": 40,
    "patched": 3,
    "failed": 1,
    "summary": "3/40, 1 failed",
    "inProgress": [
        {
            "name": "node-31",
            "phase": "Draining",
            "since": "2026-11-22T06:29:47Z",
            "message": "pod acme-dev/web-1 stays: the PodDisruptionBudget web allows no disruption",
        },
        {"name": "node-05", "phase": "Patching", "since": "2026-11-22T06:31:20Z"},
    ],
    "failures": [
        {
            "name": "node-29",
            "phase": "Patching",
            "message": "apt-upgrade ended with exit code 100: unmet dependencies",
            "rolledBack": True,
        }
    ],
}


def campaign(**status: Any) -> Item:
    """A campaign in the middle of its second wave, with other fields of the status; None takes a field away."""
    made: dict[str, Any] = {
        "observedGeneration": 1,
        "phase": "Running",
        "run": RUN,
        "plan": {"digest": DIGEST},
        "waves": WAVES,
        "targets": TARGETS,
        "conditions": [
            condition(ConditionType.READY, "Unknown", Reason.PROGRESSING, "run 3: wave staged"),
            condition(ConditionType.RECONCILING, "True", Reason.PROGRESSING, "run 3: wave staged"),
        ],
    }
    made |= status
    return Item.of(patch_campaigns.KIND, _body({key: value for key, value in made.items() if value is not None}))


def unplanned() -> Item:
    """Nothing but applied."""
    return Item.of(patch_campaigns.KIND, _body({}))


def waiting(kind: str, gate: str, **more: Any) -> Item:
    """It waits."""
    said = f"run 3 waits at gate {gate} for {kind}"
    conditions = [
        condition(ConditionType.READY, "Unknown", Reason.WAITING, said),
        condition(ConditionType.RECONCILING, "True", Reason.WAITING, said),
    ]
    waits = {"gate": gate, "kind": kind, "since": "2026-11-22T06:30:00Z"} | more
    waves = [WAVES[0], WAVES[1] | {"state": "Waiting", "patched": 0, "failed": 0, "cells": "......"}, WAVES[2]]
    targets = {"total": 40, "patched": 1, "summary": "1/40"}
    return campaign(phase="Waiting", conditions=conditions, waitingFor=waits, waves=waves, targets=targets)


def failed(kind: str, **status: Any) -> Item:
    """It is over, and failed for this reason."""
    said = f"run 3 failed: {kind}"
    conditions = [
        condition(ConditionType.READY, "False", Reason.STEP_FAILED, said),
        condition(ConditionType.STALLED, "True", Reason.STEP_FAILED, said),
    ]
    failure = {"step": "wave-staged", "type": kind, "message": "2 of 40 targets failed, 1 is allowed"}
    run = RUN | {"outcome": "Failed", "finishedAt": "2026-11-22T06:31:00Z"}
    return campaign(phase="Failed", conditions=conditions, failure=failure, run=run, **status)


def _body(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "PatchCampaign",
        "metadata": {
            "name": "web-nodes",
            "namespace": "acme-dev",
            "uid": "5b6c2a6e-54a5-4bd7-9a0c-3e5c8a3f9f10",
            "generation": 1,
            "creationTimestamp": "2026-11-22T06:11:58Z",
        },
        "spec": SPEC,
        "status": status,
    }
