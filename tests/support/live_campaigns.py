"""PatchCampaigns on the nodes of a real cluster: built fluently, and what tests ask of them and of the nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import PatchCampaignSpec
from bascule_workers.plans.patch_campaigns import order
from bascule_workers.plans.waves import ordered
from hack import installation
from hack.cluster.addresses import NODES
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Applied, Body

ZONE = "topology.kubernetes.io/zone"
TENANT_LABEL = "bascule.example.com/tenant"
"""On nodes: the tenant that may patch them."""
PACED, UNPACED, CHECKED = "paced-patch", "paced-rollback", "paced-verify"
_PACED = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
where = os.environ["BASCULE_TARGET"]
print("at", where, flush=True)
if where in os.environ["PARAM_HOLD_AT"].split(","):
    signal.sigtimedwait({signal.SIGUSR1}, 3600)
time.sleep(int(os.environ["PARAM_SECONDS"]))
sys.exit(7 if where in os.environ["PARAM_FAIL_AT"].split(",") else 0)
"""


def procedure(cluster: Cluster, name: str, use: str) -> Body:
    """A Procedure on the target without any right there: it takes its time, and fails, or stays until SIGUSR1, where it
    is told to."""
    names = {"type": "string", "default": "", "pattern": "[-a-z0-9,]*"}
    return {
        "apiVersion": "bascule.dev/v1alpha1",
        "kind": "Procedure",
        "metadata": {"name": name},
        "spec": {
            "uses": [f"PatchCampaign/{use}"],
            "placement": "OnTarget",
            "parameters": [
                {"name": "seconds", "type": "integer", "default": 0},
                {"name": "holdAt"} | names,
                {"name": "failAt"} | names,
            ],
            "timeout": "10m",
            "retry": {"attempts": 1},
            "template": {"container": {"image": cluster.images["worker"], "command": ["python3", "-c", _PACED]}},
        },
    }


def make_procedures(cluster: Cluster) -> None:
    uses = ((PACED, "patch"), (UNPACED, "rollback"), (CHECKED, "verify"))
    installation.apply(cluster, *(procedure(cluster, name, use) for name, use in uses))


def give_nodes(cluster: Cluster, tenant: TenantHandle) -> None:
    """All nodes become the tenant's."""
    cluster.kubectl("label", "--overwrite", "nodes", *NODES, f"{TENANT_LABEL}={tenant.name}")
    patch = {"spec": {"nodeSelector": {TENANT_LABEL: tenant.name}}}
    cluster.kubectl("patch", "tenant", tenant.name, "--type=merge", "-p", json.dumps(patch))


@contextmanager
def owning_nodes(cluster: Cluster, tenant: TenantHandle) -> Iterator[Callable[[str], CampaignBuilder]]:
    """Campaigns of a tenant that may patch every node. However a test ends, no node may stay held."""
    make_procedures(cluster)
    give_nodes(cluster, tenant)
    yield lambda name: CampaignBuilder(name, cluster, tenant)
    cluster.kubectl("delete", "patchcampaigns", "--all", "-n", tenant.namespace, "--timeout=240s")
    cluster.kubectl("label", "nodes", *NODES, f"{TENANT_LABEL}-")
    assert held_nodes(cluster) == {}
    assert held_leases(cluster, tenant) == []


def held_nodes(cluster: Cluster) -> dict[str, Body]:
    """Nodes that are cordoned, or carry a mark of a run: what is on them."""
    found = {}
    for node in json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]:
        metadata = node["metadata"]
        marks = {**metadata.get("labels", {}), **metadata.get("annotations", {})}
        ours = {key: value for key, value in marks.items() if key.startswith("bascule.dev/")}
        if ours or node["spec"].get("unschedulable"):
            found[metadata["name"]] = ours | {"unschedulable": node["spec"].get("unschedulable", False)}
    return found


def held_leases(cluster: Cluster, tenant: TenantHandle) -> list[str]:
    """Targets' Leases among the tenant's steps that somebody holds."""
    listed = json.loads(cluster.kubectl("get", "leases", "-n", tenant.steps_namespace, "-o", "json"))["items"]
    return [item["metadata"]["name"] for item in listed if item["spec"].get("holderIdentity")]


@dataclass(frozen=True)
class CampaignBuilder:
    """Builds the object: one wave per node, no drain, unless the test says otherwise."""

    name: str
    cluster: Cluster
    tenant: TenantHandle
    spec: Body = field(default_factory=dict)
    metadata: Body = field(default_factory=dict)

    def with_spec(self, **fields: Any) -> CampaignBuilder:
        return replace(self, spec=self.spec | fields)

    def paced(self, **parameters: Any) -> CampaignBuilder:
        """What its patch is told: seconds, holdAt, failAt."""
        return self.with_spec(patch={"procedure": PACED, "parameters": parameters})

    def beginning_at(self, node: str) -> CampaignBuilder:
        """The same with a patch that takes some seconds, as many as have the plan begin at that node."""
        patch = {"procedure": PACED, "parameters": {}} | self.spec.get("patch", {})
        tried = (
            self.with_spec(patch=patch | {"parameters": patch["parameters"] | {"seconds": seconds}})
            for seconds in range(2, 22)
        )
        return next(made for made in tried if made.order[0] == node)

    @property
    def order(self) -> list[str]:
        """The nodes in the order in which the campaign will patch them."""
        nodes = json.loads(self.cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        targets = [
            Target(name=node["metadata"]["name"], zone=node["metadata"]["labels"].get(ZONE, "")) for node in nodes
        ]
        spec = PatchCampaignSpec.model_validate(self.body["spec"])
        return [target.name for target in ordered(targets, order(spec))]

    def gated(self, wave: str) -> CampaignBuilder:
        """A person has to agree before that wave."""
        required = {"approval": {"required": True}}
        waves = [item | (required if item["name"] == wave else {}) for item in self.body["spec"]["waves"]]
        return self.with_spec(waves=waves)

    @property
    def body(self) -> Body:
        defaults: Body = {
            "targets": {"nodes": {"selector": {"matchLabels": {TENANT_LABEL: self.tenant.name}}}},
            "patch": {"procedure": PACED},
            "rollback": {"procedure": UNPACED},
            "drain": {"enabled": False},
            "waves": [{"name": "canary", "size": 1}, {"name": "fleet"}],
        }
        return {
            "apiVersion": "bascule.dev/v1alpha1",
            "kind": "PatchCampaign",
            "metadata": {"name": self.name, "namespace": self.tenant.namespace} | self.metadata,
            "spec": {name: value for name, value in (defaults | self.spec).items() if value is not None},
        }

    def apply(self) -> Campaign:
        installation.apply(self.cluster, self.body)
        return Campaign(self)


@dataclass(frozen=True)
class Campaign(Applied):
    """An applied PatchCampaign."""

    made: CampaignBuilder

    @property
    def cluster(self) -> Cluster:
        return self.made.cluster

    @property
    def arguments(self) -> list[str]:
        return ["patchcampaign", self.made.name, "-n", self.made.tenant.namespace]

    def until_at_work(self, phase: str) -> tuple[str, Body]:
        """The name of the first target that is in this phase, and the object."""
        body = self.until(lambda found: phase in _phases(found).values(), f"at a target in {phase}")
        return next(name for name, found in _phases(body).items() if found == phase), body

    def runs(self) -> list[str]:
        """Ids of all runs that Temporal knows of it."""
        body = self.get()
        assert body is not None
        listed = self.cluster.exec(
            ["temporal", "workflow", "list", "--address", self.cluster.temporal_address, "--output", "json"]
            + ["--namespace", self.made.tenant.name, "--query", f"BasculeUid = '{body['metadata']['uid']}'"],
            check=True,
        ).stdout
        return sorted({item["execution"]["workflowId"] for item in json.loads(listed or "[]")})


def _phases(body: Body) -> dict[str, str]:
    targets = body.get("status", {}).get("targets", {})
    return {item["name"]: item["phase"] for item in targets.get("inProgress", [])}


def counts(body: Body) -> dict[str, int]:
    """What the status counts, without what is 0."""
    targets = body.get("status", {}).get("targets", {})
    known = ("total", "patched", "failed", "skipped", "rolledBack")
    return {name: targets[name] for name in known if targets.get(name)}


def bascule_verb(made: Campaign, *words: str, check: bool = True) -> str:
    """What the command prints. `explain` of what does not go on by itself ends with another code than 0."""
    command = [".venv/bin/bascule", *words, "-n", made.made.tenant.namespace]
    return made.cluster.exec(command, check=check).stdout
