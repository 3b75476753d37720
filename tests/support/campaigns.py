"""Runs of PatchCampaigns: their input, built fluently."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from bascule_api.patch_campaigns import PatchCampaignInput
from bascule_api.procedures import PinnedProcedure
from tests.support.runs import procedure


def _for(use: str, name: str = "", **spec: Any) -> PinnedProcedure:
    """A Procedure whose image says what it is for."""
    return procedure(name or use, f"PatchCampaign/{use}", template={"container": {"image": use}}, **spec)


PATCH = _for("patch", placement="OnTarget", reboot="reboot")
ROLLBACK = _for("rollback", placement="OnTarget")
REBOOT = _for("reboot", placement="OnTarget")
SMOKE = _for("verify", "smoke", placement="OnTarget")
JUDGE = _for("gate", "judge")
PROCEDURES = {pinned.name: pinned for pinned in (PATCH, ROLLBACK, REBOOT, SMOKE, JUDGE)}


def campaign(uid: str = "", number: int = 1, **changes: Any) -> PatchCampaignInput:
    """The input of a run; `changes` are top-level fields of input or spec. None takes one off."""
    spec: dict[str, Any] = {
        "targets": {"nodes": {"selector": {"matchLabels": {"role": "web"}}}},
        "patch": {"procedure": "patch"},
        "rollback": {"procedure": "rollback"},
        "waves": [{"name": "canary", "size": 1}, {"name": "fleet", "maxParallel": "50%"}],
    }
    given: dict[str, Any] = {
        "run": {
            "kind": "PatchCampaign",
            "namespace": "acme-dev",
            "name": "web-nodes",
            "uid": uid or str(uuid4()),
            "number": number,
            "revision": "1-0000000000",
            "tenant": "acme",
        },
        "tenant": {"name": "acme", "steps_namespace": "bascule-steps-acme", "service_account": "bascule-step"},
        "timeout_seconds": 7200,
        "procedures": {name: pinned.to_wire() for name, pinned in PROCEDURES.items()},
        "node_selector": {"tenant": "acme"},
    }
    for name, value in changes.items():
        if name in PatchCampaignInput.model_fields:
            given[name] = value
        else:
            spec[name] = value
    spec = {name: value for name, value in spec.items() if value is not None}
    return PatchCampaignInput.model_validate(given | {"spec": spec})
