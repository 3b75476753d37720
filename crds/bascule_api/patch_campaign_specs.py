"""What a PatchCampaign asks for: which targets, what is done there, in which order, and when to stop."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from bascule_api.base import (
    ATOMIC,
    ApiModel,
    DnsLabel,
    Duration,
    ObjectName,
    Parameters,
    Timeout,
    rules,
)
from bascule_api.fleets import Inventory, NodeTargets, Share, SizeShare, Window
from bascule_api.gates import Gate, HttpCheck
from bascule_api.runs import ApprovalSpec, ConfigMapReference, RunSpec
from bascule_api.selectors import LabelSelector

MAX_TARGETS = 5_000
"""Targets of one campaign, at most."""
BATCH_LIMIT = 50
"""Targets of one child workflow, at most."""
KEPT_LIMIT = 4 * 1024
"""Bytes of `targets`, `drain` and `rollback` together as JSON, at most: the status keeps them for undoing."""


class Mode(StrEnum):
    """How far a campaign goes."""

    APPLY = "Apply"
    """The plan is carried out."""
    PLAN = "Plan"
    """The plan is made and shown; nothing is touched."""


class Targets(ApiModel):
    """What is patched: nodes of the cluster, or hosts of an inventory."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.nodes) != has(self.inventory)", "set exactly one of targets.nodes and targets.inventory")
        )
    }
    nodes: NodeTargets | None = None
    """Nodes of this cluster, within the Tenant's `spec.nodeSelector`; never those of the control plane."""
    inventory: Inventory | None = None
    """Hosts listed in a ConfigMap, reached over SSH."""


class PatchStep(ApiModel):
    """A Procedure that is carried out once per target."""

    procedure: ObjectName
    """A Procedure with the use `PatchCampaign/patch`, or `PatchCampaign/rollback`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    timeout: Timeout | None = None
    """Limit of one attempt; default: the Procedure's."""
    files: ConfigMapReference | None = None
    """A ConfigMap of the resource's namespace whose keys are files at `/bascule/source`, such as a playbook; pinned at
    the start of a run. Never for a Procedure with the securityProfile `Host`."""


class Verify(ApiModel):
    """What a target has to pass after its patch, besides being Ready."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("has(self.procedure) != has(self.http)", "set exactly one of verify.procedure and verify.http"),
        )
    }
    procedure: ObjectName | None = None
    """A Procedure with the use `PatchCampaign/verify`."""
    parameters: Parameters = {}
    """Values for the Procedure's parameters."""
    http: HttpCheck | None = None
    """A request to the target, asked from the tenant's steps namespace."""
    timeout: Timeout = Timeout("10m")
    """How long a target has to become Ready and to pass."""


class Drain(ApiModel):
    """How pods leave a node before it is patched, as `kubectl drain` does it: through the Eviction API, with
    PodDisruptionBudgets respected. Pods of DaemonSets and mirror pods stay."""

    enabled: bool = True
    """Whether nodes are drained. Hosts of an inventory never are."""
    timeout: Timeout = Timeout("15m")
    """How long a node may take before it counts as failed."""
    grace_period: Duration | None = None
    """How long pods have to end; default: each pod's own."""
    force: bool = False
    """Whether pods that no controller brings back are evicted too; else they fail the target."""
    delete_empty_dir_data: bool = False
    """Whether pods with emptyDir volumes are evicted too; else they fail the target."""
    pod_selector: LabelSelector | None = None
    """Pods to evict; default: all."""


class Wave(ApiModel):
    """A group of targets that are patched before the next group."""

    name: Annotated[DnsLabel, StringConstraints(max_length=40)]
    """Name of the wave, unique in the list; its step is `wave-<name>`, and its gate has the same name."""
    size: SizeShare | None = None
    """How many of all targets are patched once this wave is over: a number, or a percentage, rounded up. Rises from
    wave to wave. Only the last wave may leave it out: it takes the rest."""
    max_parallel: Share = 1
    """How many targets are worked on at a time: a number, or a percentage of the wave, rounded up."""
    soak: Duration = Duration("0s")
    """How long to wait after the wave before its gates are asked."""
    approval: ApprovalSpec = ApprovalSpec()
    """Whether a person has to agree before the wave begins."""


class FailureAction(StrEnum):
    """What happens to patched targets when a campaign fails. Nodes are always released."""

    HALT = "Halt"
    """They stay patched."""
    ROLLBACK_WAVE = "RollbackWave"
    """Those of the wave that failed are rolled back."""
    ROLLBACK_ALL = "RollbackAll"
    """All that this run patched are rolled back, the last first."""


class FailurePolicy(ApiModel):
    """When a campaign stops by itself, and what then happens."""

    max_failures: Share = 0
    """How many targets may fail: a number, or a percentage of all targets, rounded up. One more stops the campaign."""
    action: FailureAction = FailureAction.HALT
    """What happens to patched targets then. A target that failed is always rolled back, if there is a rollback."""


class PatchCampaignSpec(RunSpec):
    """What to patch, how, in which order, and when to stop."""

    model_config = RunSpec.model_config | {
        "json_schema_extra": rules(
            (
                "self.failurePolicy.action == 'Halt' || has(self.rollback)",
                "failurePolicy.action needs a rollback: set spec.rollback, or Halt",
            ),
            (
                "self.waves.all(w, has(w.size) || w == self.waves[size(self.waves) - 1])",
                "only the last wave may leave out its size",
            ),
            (
                "self.waves.map(w, w.name).all(n, self.waves.filter(w, w.name == n).size() == 1)",
                "the names of waves must differ",
            ),
            (
                "!has(self.drain.podSelector) || !has(self.targets.inventory)",
                "hosts of an inventory are not drained: leave out drain.podSelector",
            ),
        )
    }
    mode: Mode = Mode.APPLY
    """`Apply`, or `Plan` to see which target is in which wave before anything is touched."""
    targets: Targets
    """What is patched."""
    patch: PatchStep
    """What is done on each target."""
    rollback: PatchStep | None = None
    """What takes the patch back on a target."""
    verify: Verify | None = None
    """What a target has to pass after its patch. Nodes have to be Ready in any case."""
    drain: Drain = Drain()
    """How pods leave a node before it is patched."""
    waves: Annotated[list[Wave], Field(min_length=1, max_length=16, json_schema_extra=ATOMIC)] = [Wave(name="fleet")]
    """Groups of targets, one after the other."""
    gates: Annotated[
        list[Gate],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """What has to hold after each wave before the next one begins, and after the last before the campaign succeeds."""
    failure_policy: FailurePolicy = FailurePolicy()
    """When the campaign stops by itself, and what then happens."""
    windows: Annotated[list[Window], Field(max_length=16, json_schema_extra=ATOMIC)] = []
    """When targets may be begun; what has begun is brought to its end. None: at any time."""
