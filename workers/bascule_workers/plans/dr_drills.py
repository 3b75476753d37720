"""Pure planning of a DRDrill: its steps and requests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bascule_api import names
from bascule_api.dr_drill_specs import Isolation, Probe
from bascule_api.dr_drills import DRDrillInput
from bascule_api.failures import Failure
from bascule_api.progress import ApprovalMessage, RunInput, UndoInput
from bascule_workers.dr_drills import (
    ApplyRequest,
    ApplyStage,
    IsolationRequest,
    PlanDrillRequest,
    ProbeRequest,
    ProvisionRequest,
    RemoveVeleroRequest,
    RestoreRequest,
    TeardownRequest,
    VeleroRequest,
)
from bascule_workers.messages import ReleaseRequest, SecretUse, StopJobsRequest
from bascule_workers.plans.progress import StepRecord

PLAN, PROVISION, ISOLATE, APPLY, RESTORE = "plan", "provision", "isolate", "apply", "restore"
APPLY_AFTER = "apply-after"
TEARDOWN, REPORT = "teardown", "report"
DECLARE, KEEP = "declare", "keep"
"""Gates: where people agree to a drill, and where it waits for them to look at what it left."""
KEEP_SECONDS = 3600
"""How long a finished Job stays after the run may have ended: its namespace goes before, as a rule."""
VELERO_SECONDS = 3600
"""How long a restore by Velero may take where the spec does not say."""
LATEST = 253_402_300_799
"""The last second of the year 9999: no time that is told may be later."""
STOP_SECONDS = 300
"""How long it is tried to stop a drill's Jobs before its namespace is kept for people."""
REPORT_SECONDS = 300
"""How long the report is tried: it changes nothing of what was measured."""


def steps(drill: DRDrillInput) -> list[str]:
    """The names of the run's steps, in the order in which they begin; what is applied after the restore comes later."""
    probes = (probe_step(probe) for probe in drill.spec.probes)
    return [PLAN, PROVISION, ISOLATE, APPLY, RESTORE, *probes, TEARDOWN, REPORT]


def with_step(steps: Mapping[str, StepRecord], step: StepRecord, *, after: str) -> dict[str, StepRecord]:
    """The steps, with one more behind another."""
    added: dict[str, StepRecord] = {}
    for name, record in steps.items():
        added[name] = record
        if name == after:
            added[step.name] = step
    return added


def probe_step(probe: Probe) -> str:
    return f"probe-{probe.name}"


def common(given: RunInput | UndoInput, step: str) -> dict[str, Any]:
    """What every request of a drill begins with."""
    namespace = names.drill_namespace(given.run.uid, given.run.number)
    return {"run": given.run, "tenant": given.tenant, "step": step, "namespace": namespace}


def declared_at(drill: DRDrillInput) -> int:
    """When the spec says that the disaster was, in epoch seconds; 0: it does not say."""
    declared = drill.spec.disaster.declared_at
    if declared is None:
        return 0
    aware = declared if declared.tzinfo else declared.replace(tzinfo=UTC)
    return max(1, min(LATEST, int(aware.timestamp())))


def secret_uses(drill: DRDrillInput) -> list[SecretUse]:
    """The Secrets that the spec names, and where their content would be sent."""
    manifests, restore = drill.spec.environment.manifests, drill.spec.restore
    git = manifests.git if manifests else None
    uses = []
    if git and git.secret_ref:
        field = "spec.environment.manifests.git.secretRef"
        uses.append(SecretUse(field=field, name=git.secret_ref.name, use="git", hosts=[git.host]))
    if restore.secret_ref:
        uses.append(SecretUse(field="spec.restore.secretRef", name=restore.secret_ref.name, use="backup"))
    return uses


def plan_request(drill: DRDrillInput) -> PlanDrillRequest:
    return PlanDrillRequest(
        **common(drill, PLAN),
        manifests=drill.spec.environment.manifests,
        procedures=hashes(drill),
        order=drill.run.revision,
        probes=drill.spec.probes,
    )


def hashes(drill: DRDrillInput) -> dict[str, str]:
    """Name to hash of the pinned Procedures."""
    return {name: pinned.hash for name, pinned in sorted(drill.procedures.items())}


def provision_request(drill: DRDrillInput) -> ProvisionRequest:
    environment = drill.spec.environment
    return ProvisionRequest(
        **common(drill, PROVISION),
        isolation=environment.isolation,
        namespace_labels=environment.namespace_labels,
        quota=drill.quota,
    )


def isolation_request(drill: DRDrillInput) -> IsolationRequest | None:
    """None where the drill is not to be isolated."""
    isolated = drill.spec.environment.isolation == Isolation.DENY_EGRESS
    return IsolationRequest(**common(drill, ISOLATE)) if isolated else None


def apply_request(drill: DRDrillInput, stage: ApplyStage, since: int) -> ApplyRequest:
    step = APPLY if stage == ApplyStage.BEFORE_RESTORE else APPLY_AFTER
    timeout = drill.spec.environment.timeout.seconds
    return ApplyRequest(**common(drill, step), stage=stage, since=since, timeout_seconds=timeout)


def restore_request(drill: DRDrillInput) -> RestoreRequest:
    """A restore by a Procedure."""
    restore = drill.spec.restore
    procedure = drill.procedures[restore.procedure or ""]
    return RestoreRequest(
        **common(drill, RESTORE),
        procedure=procedure,
        parameters=restore.parameters,
        timeout_seconds=(restore.timeout or procedure.spec.timeout).seconds,
        keep_seconds=KEEP_SECONDS + drill.timeout_seconds,
        secret=restore.secret_ref is not None,
        environment_secret=restore.environment_secret or "",
    )


def velero_request(drill: DRDrillInput, since: int) -> VeleroRequest | None:
    """None where a Procedure restores."""
    restore = drill.spec.restore
    if restore.velero is None:
        return None
    return VeleroRequest(
        **common(drill, RESTORE),
        velero=restore.velero,
        tenant_namespaces=drill.tenant_namespaces,
        since=since,
        timeout_seconds=restore.timeout.seconds if restore.timeout else VELERO_SECONDS,
    )


def probe_request(drill: DRDrillInput, probe: Probe, recovery_point: int, since: int) -> ProbeRequest:
    return ProbeRequest(
        **common(drill, probe_step(probe)),
        probe=probe,
        procedure=drill.procedures[probe.procedure.name] if probe.procedure else None,
        recovery_point=recovery_point,
        since=since,
    )


# The end


def stop_request(drill: DRDrillInput) -> StopJobsRequest:
    """The run's own Jobs, not those of the manifests."""
    return StopJobsRequest(**common(drill, KEEP), compensating=True)


def teardown_request(given: RunInput | UndoInput) -> TeardownRequest:
    return TeardownRequest(**common(given, TEARDOWN))


def remove_velero_request(given: RunInput | UndoInput) -> RemoveVeleroRequest:
    return RemoveVeleroRequest(**common(given, RESTORE))


def release_request(given: RunInput | UndoInput) -> ReleaseRequest:
    """A drill's copies serve nobody after it."""
    return ReleaseRequest(**common(given, PLAN))


def told(failure: Failure) -> str:
    """A failure in a line."""
    where = f" in {failure.step}" if failure.step else ""
    return f"{failure.type}{where}: {failure.message}"


def approved(message: ApprovalMessage, at: int) -> str:
    """An approval in a line, for the report alone."""
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{message.approver} approved {message.subject} at the gate {message.gate}, {when}"
