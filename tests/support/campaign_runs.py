"""Runs of PatchCampaigns against a test server, at nodes in memory: started, and read back from their histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bascule_api import names
from bascule_api.patch_campaign_status import PatchCampaignEffects, WaveState
from bascule_api.patch_campaigns import PatchCampaignInput, PatchCampaignResult, PatchCampaignUndoInput
from bascule_workers.plans.nodes import Node
from bascule_workers.plans.outcomes import Outcome, Running, Succeeded
from tests.support.campaigns import PATCH, PROCEDURES, ROLLBACK
from tests.support.fake_nodes import FakeNodes
from tests.support.fake_world import FakeSteps, World, secret
from tests.support.kind_runs import KindRuns, KindStory
from tests.support.runs import Runs

LABELS = {"tenant": "acme", "role": "web"}
HOSTS = """
- {name: db-1, address: 10.0.0.1, user: admin}
- {name: db-2, address: 10.0.0.2}
- {name: db-3}
"""


@dataclass
class TargetSteps(FakeSteps):
    """Jobs at targets, whose effects show: what is patched where, and which node was rebooted.

    Scripts and troubles go by `patch`, or by `patch/node-000` for one target only.
    """

    nodes: FakeNodes = field(default_factory=FakeNodes)
    done: list[tuple[str, str]] = field(default_factory=list)
    """What was done, and where, in its order."""
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """What the Jobs of a use report."""
    reboots: set[str] = field(default_factory=lambda: {"reboot"})
    """Uses whose Jobs have the node rebooted."""

    async def run(self, job: Mapping[str, Any], *, known_note: str, limit_seconds: float) -> Outcome:
        name, use, target = job["metadata"]["name"], _use(job), _target(job)
        if name not in self.jobs:
            self.finished.pop(name, None)
        self.jobs.setdefault(name, job)
        self.every.setdefault(name, job)
        async with self.troubles.around(use), self.troubles.around(f"{use}/{target}"):
            if name in self.finished:
                return self.finished[name]
            script = self.script[f"{use}/{target}"] or self.script[use]
            outcome = script.pop(0) if script else Succeeded(self.results.get(use, {}), pod="pod")
            if not isinstance(outcome, Running):
                self.finished[name] = outcome
            if isinstance(outcome, Succeeded):
                self._effect(use, target)
            return outcome

    def _effect(self, use: str, target: str) -> None:
        self.done.append((use, target))
        node = self.nodes.nodes.get(target)
        if use in self.reboots and node is not None:
            self.nodes.put(replace(node, boot_id=str(int(node.boot_id) + 1)))

    def targets(self, use: str) -> list[str]:
        """Where it was done."""
        return [target for what, target in self.done if what == use]

    @property
    def patched(self) -> set[str]:
        """Targets whose patch stands."""
        standing: dict[str, bool] = {}
        for use, target in self.done:
            if use in ("patch", "rollback"):
                standing[target] = use == "patch"
        return {target for target, stands in standing.items() if stands}


def _use(job: Mapping[str, Any]) -> str:
    return str(job["spec"]["template"]["spec"]["containers"][0]["image"])


def _target(job: Mapping[str, Any]) -> str:
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return next((str(variable["value"]) for variable in env if variable["name"] == "BASCULE_TARGET"), "")


class Fleet(World):
    """A world whose tenant has nodes to patch."""

    steps: TargetSteps

    def __init__(self, count: int = 0, zones: str = "abc") -> None:
        super().__init__()
        self.steps = TargetSteps(self.registry, self.troubles, nodes=self.nodes)
        for index in range(count):
            zone = {"topology.kubernetes.io/zone": zones[index % len(zones)]}
            node = Node(f"node-{index:03}", labels={**LABELS, **zone}, ready=True, boot_id="1", addresses=("10.0.0.1",))
            self.nodes.put(node)

    def with_hosts(self) -> dict[str, Any]:
        """Have an inventory of three hosts, and a key for them. Returns what a campaign over them differs in."""
        metadata = {"name": "hosts", "namespace": "acme-dev"}
        self.objects.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"hosts.yaml": HOSTS}})
        self.objects.add(secret("key", "ssh", {"ssh-privatekey": "canary-secret", "known_hosts": "* ssh-ed25519 x"}))
        anywhere = {
            pinned.name: pinned.model_copy(update={"spec": pinned.spec.model_copy(update={"placement": "Anywhere"})})
            for pinned in (PATCH, ROLLBACK)
        }
        targets = {"inventory": {"configMap": {"name": "hosts"}, "secretRef": {"name": "key"}}}
        return {"targets": targets, "procedures": PROCEDURES | anywhere}

    def assert_free(self, cordoned: tuple[str, ...] = ()) -> None:
        """No node carries a mark or is cordoned by us, no Lease is held, no Job runs, and no copy is left."""
        nodes = self.nodes.nodes.values()
        assert {node.name: dict(node.labels) for node in nodes if node.run or node.cordoned_by} == {}
        assert sorted(node.name for node in nodes if node.unschedulable) == sorted(cordoned)
        assert self.target_leases.holders == {}
        assert [name for name in self.steps.jobs if name not in self.steps.finished] == []
        assert self.objects.of_run(self.steps_namespace) == []


@dataclass(frozen=True)
class Story(KindStory[PatchCampaignResult]):
    """How a campaign went."""

    @property
    def waves(self) -> dict[str, WaveState]:
        return {wave.name: wave.state for wave in self.result.waves}

    @property
    def cells(self) -> list[str]:
        return [wave.cells for wave in self.result.waves]

    @property
    def patched(self) -> str | None:
        """The last record of what was patched."""
        records = [memo[names.MEMO_PATCHED] for memo in self.told.memos if names.MEMO_PATCHED in memo]
        return records[-1] if records else None


class Campaigns(KindRuns[PatchCampaignResult, Story]):
    """Starts campaigns and waits for them."""

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs, "PatchCampaign", PatchCampaignResult, Story)


def undo_of(campaign: PatchCampaignInput, **changes: Any) -> PatchCampaignUndoInput:
    """The input of an undo of a run, as the operator makes it; `changes` are fields of it or of its effects."""
    spec = campaign.spec
    effects: dict[str, Any] = {
        "rollback": spec.rollback,
        "targets": spec.targets,
        "drain": spec.drain,
        "node_selector": campaign.node_selector,
    }
    given: dict[str, Any] = {
        "run": campaign.run,
        "tenant": campaign.tenant,
        "attempt": 1,
        "timeout_seconds": 1800,
        "workflow_id": names.workflow_id("PatchCampaign", campaign.run.uid, campaign.run.number),
        "node_selector": campaign.node_selector,
        "procedures": campaign.procedures,
    }
    for name, value in changes.items():
        (effects if name in PatchCampaignEffects.model_fields else given)[name] = value
    return PatchCampaignUndoInput(**given, effects=PatchCampaignEffects(**effects))
