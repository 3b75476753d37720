"""What is shown before a decision, and the Approval that comes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from bascule_api import approvals, names
from bascule_api.approvals import Decision
from bascule_api.runs import WaitingFor
from bascule_cli.resources import Item
from bascule_cli.terminal import clean, columns
from bascule_cli.views import details
from bascule_cli.views.wording import moment

_GROUPS = 64
_GROUP_LENGTH = 256
_NAME_LENGTH = 40
_REJECTED = {
    "ImageBuild": "fails and takes back what it did",
    "PatchCampaign": "ends, and what its earlier waves patched is kept or rolled back as spec.failurePolicy says",
    "DRDrill": "ends, and nothing is provisioned",
}
"""What a rejection means to a run of each kind."""


@dataclass(frozen=True)
class Approver:
    """Who decides, as the API server knows them."""

    name: str
    groups: tuple[str, ...] = ()


def question(item: Item, waits: WaitingFor, decision: Decision, approver: Approver, now: datetime) -> list[Text]:
    """What is to be decided, as lines."""
    run = item.status.run
    facts = [
        ("run", f"{run.number} of revision {run.revision}" if run else ""),
        ("gate", waits.gate),
        ("subject", waits.subject),
        ("detail", waits.detail if waits.subject not in waits.detail else ""),
        *details.facts(item, now),
        ("since", moment(waits.since, now)),
        ("until", moment(waits.until, now)),
        ("you", approver.name),
    ]
    then = "goes on" if decision is Decision.APPROVE else _REJECTED.get(item.kind.kind, "fails")
    return [
        Text(f"{clean(item.kind.kind)}/{clean(item.name)} in {clean(item.namespace)}", "bold"),
        *columns([Text(f"  {label}", "dim"), Text(clean(value))] for label, value in facts if value),
        Text(f"  {decision}: the run {then}."),
    ]


def approval_of(item: Item, waits: WaitingFor, decision: Decision, approver: Approver, reason: str) -> dict[str, Any]:
    """The Approval, bound to this resource, run, gate and subject, and deleted with the resource."""
    assert item.status.run is not None  # noqa: S101 - what waits has a run
    number = item.status.run.number
    owner = {"apiVersion": names.API_VERSION, "kind": item.kind.kind, "name": item.name, "uid": item.meta.uid}
    spec: dict[str, Any] = {
        "for": {"kind": item.kind.kind, "name": item.name, "uid": item.meta.uid},
        "run": number,
        "gate": waits.gate,
        "subject": waits.subject,
        "decision": str(decision),
        "approver": approver.name,
        "groups": _groups(approver),
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": approvals.KIND.kind,
        "metadata": {
            "generateName": f"{item.name[:_NAME_LENGTH].rstrip('.-')}-run-{number}-",
            "namespace": item.namespace,
            "ownerReferences": [owner],
        },
        "spec": spec | ({"reason": reason} if reason else {}),
    }


def _groups(approver: Approver) -> list[str]:
    """As many groups as an Approval holds: those of an organisation before those that everybody has."""
    fitting = [group for group in approver.groups if len(group) <= _GROUP_LENGTH]
    return sorted(fitting, key=lambda group: group.startswith("system:"))[:_GROUPS]
