"""Builders of PatchCampaigns as decisions see them: a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bascule_api import names
from bascule_api.conditions import CompensationState, Phase
from bascule_api.failures import Failure
from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_api.patch_campaign_status import PatchCampaignStatus
from bascule_api.patch_campaigns import REVISION_FIELDS, PatchCampaignResult
from bascule_api.procedures import PinnedProcedure, Procedure
from bascule_api.runs import CompensationStatus
from bascule_api.tenants import Tenant
from bascule_operator.decisions.subjects import Subject, parse
from bascule_operator.decisions.views import Closed, Grounds, RunState, RunView
from tests.support.bodies import a_body
from tests.support.run_subjects import AResourceWithRuns
from tests.support.subjects import NOW, tenant

Json = dict[str, Any]
UID = "2f0c4c1e-0000-4000-8000-000000000002"
PLAN = "sha256:" + "c" * 64


def spec(**changes: Any) -> Json:
    """Two waves over the tenant's web nodes."""
    return {
        "targets": {"nodes": {"selector": {"matchLabels": {"pool": "web"}}}},
        "patch": {"procedure": "apt-upgrade"},
        "rollback": {"procedure": "apt-rollback"},
        "waves": [{"name": "canary", "size": 1}, {"name": "fleet"}],
    } | changes


def inventory(**changes: Any) -> Json:
    """The same over the hosts of a ConfigMap."""
    return spec(targets={"inventory": {"configMap": {"name": "hosts"}, "secretRef": {"name": "ssh"}}}) | changes


def parsed(body: Json) -> Subject:
    return parse("PatchCampaign", body, PatchCampaignSpec, PatchCampaignStatus, REVISION_FIELDS)


def revision_of(body_spec: Json) -> str:
    return parsed({"metadata": {"name": "web"}, "spec": body_spec}).revision


def a_spec(**changes: Any) -> PatchCampaignSpec:
    return PatchCampaignSpec.model_validate(spec(**changes))


def procedure(
    name: str, *uses: str, profile: str = "Restricted", placement: str = "Anywhere", **more: Any
) -> Procedure:
    return Procedure.parse(
        {
            "metadata": {"name": name, "generation": 1},
            "spec": {
                "uses": [f"PatchCampaign/{use}" for use in uses],
                "securityProfile": profile,
                "placement": placement,
                "template": {"container": {"image": "example.com/step:1"}},
            }
            | more,
        }
    )


HOST = {"profile": "Host", "placement": "OnTarget"}
PROCEDURES: Mapping[str, Procedure] = {
    made.metadata.name: made
    for made in (
        procedure("apt-upgrade", "patch", **HOST),
        procedure("apt-rollback", "rollback", **HOST),
        procedure("playbook", "patch", "rollback", "verify"),
        procedure("check-host", "verify", **HOST),
        procedure("check", "gate"),
        procedure("restarting-playbook", "patch", reboot="restart"),
        procedure("restart", "reboot", **HOST),
        procedure("check-node", "gate", placement="OnTarget"),
    )
}


def with_nodes(of: Tenant | None = None, **labels: str) -> Tenant:
    """A ready Tenant that may patch nodes with these labels."""
    made = of or tenant()
    return made.model_copy(update={"spec": made.spec.model_copy(update={"node_selector": labels})})


def grounds(of: Tenant | None = None) -> Grounds:
    pinned = {name: PinnedProcedure.of(found) for name, found in PROCEDURES.items()}
    return Grounds(of or with_nodes(pool="web"), pinned)


@dataclass(frozen=True)
class ACampaign(AResourceWithRuns):
    """A PatchCampaign under construction; every method returns another one."""

    kind: ClassVar[str] = "PatchCampaign"
    compensated: ClassVar[str] = "NothingToDo"
    body: Json = field(default_factory=lambda: a_body(UID, spec()))

    def recording(self, *standing: int, **changes: Any) -> ACampaign:
        """What undoing works from: numbers of runs that patched ten targets each, the latest first."""
        patched = [
            {"run": number, "workflowId": names.workflow_id("PatchCampaign", UID, number), "runId": f"run-{number}",
             "count": 10} for number in standing
        ]  # fmt: skip
        of_spec = {name: self.body["spec"][name] for name in ("rollback", "targets") if name in self.body["spec"]}
        effects = of_spec | {"nodeSelector": {"pool": "web"}, "standing": patched}
        return self.saying(effects=effects | changes)

    @property
    def subject(self) -> Subject:
        return parsed(self.body)

    @property
    def status(self) -> PatchCampaignStatus:
        status = self.subject.status
        assert isinstance(status, PatchCampaignStatus)
        return status


def campaign(**changes: Any) -> ACampaign:
    return ACampaign().with_spec(**changes)


def result(phase: Phase = Phase.SUCCEEDED, failure: Failure | None = None, **facts: Any) -> RunView:
    """A closed run with its result: facts by the names of the result's fields."""
    told = PatchCampaignResult.model_validate(
        {"phase": phase, "progressNumber": 9, "compensation": CompensationStatus(state=CompensationState.NOTHING_TO_DO)}
        | {"failure": failure}
        | facts
    )
    return RunView(
        RunState.CLOSED, described=True, run_id="run-1", closed=Closed.COMPLETED, result=told, closed_at=NOW
    )  # fmt: skip


def targets(total: int = 3, **changes: Any) -> Json:
    return {"total": total, "patched": total, "summary": f"{total}/{total}"} | changes


def waves(*names_of: str, state: str = "Succeeded") -> list[Json]:
    return [{"name": name, "state": state, "total": 1, "patched": 1} for name in names_of or ("canary", "fleet")]
