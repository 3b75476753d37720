"""The Jobs of targets: where they run, what they may do and see, and which pods leave a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bascule_api import names
from bascule_api.fleets import Target
from bascule_api.patch_campaign_specs import Drain
from bascule_api.procedures import PinnedProcedure
from bascule_workers.errors import StepFailedError
from bascule_workers.messages import GitPin, SourcePin
from bascule_workers.patch_campaigns import TargetJobRequest
from bascule_workers.plans import patch_targets
from bascule_workers.plans.jobs import JobSettings, identity, job_name, render_job
from bascule_workers.plans.nodes import PodOnNode
from bascule_workers.plans.patch_targets import Obstacle, drainage, job_traits
from tests.support.campaigns import campaign
from tests.support.runs import procedure

SETTINGS = JobSettings("registry.example.com/bascule/worker@sha256:1", "bascule-ca")
GOLDEN = Path(__file__).parent / "golden_jobs"
UID = "3f1c5a8e-0000-4000-8000-000000000001"
HOST_TEMPLATE = {
    "container": {"image": "tools", "volumeMounts": [{"name": "host", "mountPath": "/host"}]},
    "volumes": [{"name": "host", "hostPath": "/"}, {"name": "scripts", "configMap": "bascule-node-scripts"}],
}
HOST = procedure(
    "apt-upgrade", "PatchCampaign/patch", placement="OnTarget", securityProfile="Host", template=HOST_TEMPLATE
)
PLAYBOOK = procedure("ansible-playbook", "PatchCampaign/patch")
FILES = SourcePin(revision="sha256:1", part="patch")
DB = Target(name="db-1", zone="b", address="10.0.0.7", port=2222, user="ops")


def request(pinned: PinnedProcedure = HOST, **fields: Any) -> TargetJobRequest:
    made = campaign(UID)
    given: dict[str, Any] = {
        "run": made.run,
        "tenant": made.tenant,
        "step": "wave-canary",
        "target": Target(name="node-1", zone="a"),
        "node_selector": made.node_selector,
        "procedure": pinned,
        "parameters": {},
        "timeout_seconds": 900,
        "use": "patch",
    }
    return TargetJobRequest(**(given | fields))


def rendered(of: TargetJobRequest, address: str = "") -> dict[str, Any]:
    return render_job(of, SETTINGS, job_traits(of, address))


def pod(of: TargetJobRequest, address: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = rendered(of, address)["spec"]["template"]["spec"]
    return spec


CASES = {
    "host-on-a-node": request(parameters={"scope": "Security"}),
    "playbook-for-a-host": request(PLAYBOOK, node=False, target=DB, source=FILES, ssh_login=True),
}


@pytest.mark.parametrize("name", CASES)
def test_a_job_is_rendered_as_agreed(name: str) -> None:
    """The golden file is the review: delete it and run once to write it anew."""
    text = json.dumps(rendered(CASES[name]), indent=1, sort_keys=True) + "\n"
    golden = GOLDEN / f"{name}.json"
    if not golden.exists():
        golden.write_text(text)
    assert golden.read_text() == text


def test_a_host_procedure_has_its_node_and_nothing_of_the_run() -> None:
    spec = pod(request())
    [main], [prepare] = spec["containers"], spec["initContainers"]
    assert (spec["hostPID"], spec["hostNetwork"], spec["automountServiceAccountToken"]) == (True, True, False)
    assert main["securityContext"] == {"privileged": True, "runAsUser": 0}
    assert prepare["securityContext"]["runAsNonRoot"] is True
    assert {"name": "host", "hostPath": {"path": "/"}} in spec["volumes"]
    assert not [volume for volume in spec["volumes"] if "secret" in volume or "projected" in volume]
    assert rendered(request())["metadata"]["labels"][names.LABEL_SECURITY_PROFILE] == "Host"


def test_it_runs_on_its_target_in_whatever_state_and_nowhere_else() -> None:
    spec = pod(request())
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_a_restricted_procedure_may_run_on_a_target_without_having_it() -> None:
    spec = pod(request(procedure("smoke", "PatchCampaign/verify", placement="OnTarget")))
    assert "hostPID" not in spec
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    labels = rendered(request(procedure("smoke", "PatchCampaign/verify", placement="OnTarget")))["metadata"]["labels"]
    assert names.LABEL_SECURITY_PROFILE not in labels


def test_a_host_is_told_and_its_key_is_a_file() -> None:
    [main] = pod(CASES["playbook-for-a-host"])["containers"]
    env = {entry["name"]: entry["value"] for entry in main["env"]}
    told = ("BASCULE_TARGET", "BASCULE_TARGET_ADDRESS", "BASCULE_TARGET_PORT", "BASCULE_TARGET_USER")
    assert [env[name] for name in told] == ["db-1", "10.0.0.7", "2222", "ops"]
    assert env["BASCULE_SSH_DIR"] == "/run/bascule/ssh"
    assert {"name": "bascule-ssh", "mountPath": "/run/bascule/ssh", "readOnly": True} in main["volumeMounts"]


def test_a_node_is_told_by_its_name_and_address() -> None:
    env = {entry["name"]: entry["value"] for entry in pod(request(), "10.1.0.1")["containers"][0]["env"]}
    assert (env["BASCULE_TARGET"], env["BASCULE_TARGET_ADDRESS"]) == ("node-1", "10.1.0.1")
    assert "BASCULE_TARGET_USER" not in env


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param({"source": FILES}, "no file of a tenant", id="Host with a tenant's files"),
        pytest.param(
            {"source": SourcePin(revision="c", git=GitPin(url="https://git.example.com/x", commit="c"))},
            "no file of a tenant",
            id="Host with a tenant's repository",
        ),
        pytest.param({"node": False, "target": DB}, "for nodes of the cluster", id="OnTarget for a host"),
        pytest.param(
            {"procedure": procedure("root", "PatchCampaign/patch", securityProfile="Host")},
            "needs the placement OnTarget",
            id="Host on any node",
        ),
        pytest.param(
            {
                "procedure": procedure(
                    "root",
                    "PatchCampaign/patch",
                    placement="OnTarget",
                    securityProfile="Host",
                    template={"container": {"imageFrom": "Candidate"}},
                )
            },
            "there is none yet",
            id="Host with a tenant's image",
        ),
    ],
)
def test_what_must_not_be_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(StepFailedError, match=words):
        rendered(request(**wrong))


def test_a_host_procedure_gets_no_ssh_key() -> None:
    spec = pod(request(ssh_login=True))
    assert not [volume for volume in spec["volumes"] if "projected" in volume]


def test_names_and_labels_hold_whatever_a_target_is_called() -> None:
    long = Target(name="node-" + "x" * 230 + ".example.com")
    of = request(target=long)
    job = rendered(of)
    assert len(job["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in job["metadata"]["labels"].values())
    names_of = {
        job_name(one, job_traits(one)) for one in (of, request(), request(use="verify"), request(job_attempt=2))
    }
    assert len(names_of) == 4


def test_a_repeated_step_is_the_same_job_wherever_the_node_is_by_now() -> None:
    first, second = request(), request(note="waiting", since=7)
    assert identity(first, job_traits(first, "10.1.0.1")) == identity(second, job_traits(second, "10.1.0.2"))
    other = request(target=Target(name="node-2"))
    assert identity(first, job_traits(first)) != identity(other, job_traits(other))


@pytest.mark.parametrize(
    ("facts", "allowed", "leaves"),
    [
        pytest.param({"owner_kind": "ReplicaSet"}, {}, True, id="a replica"),
        pytest.param({"owner_kind": "DaemonSet"}, {}, False, id="a DaemonSet's"),
        pytest.param({"owner_kind": "DaemonSet"}, {"force": True}, False, id="a DaemonSet's, even by force"),
        pytest.param({"mirror": True, "owner_kind": "Node"}, {"force": True}, False, id="a mirror pod"),
        pytest.param({"finished": True}, {}, False, id="one that has ended"),
        pytest.param({"terminating_since": 7}, {}, True, id="a bare one that ends already"),
        pytest.param({}, {"force": True}, True, id="a bare one by force"),
        pytest.param({"owner_kind": "Job", "empty_dir": True}, {"deleteEmptyDirData": True}, True, id="data given up"),
    ],
)
def test_which_pods_leave(facts: dict[str, Any], allowed: dict[str, Any], leaves: bool) -> None:
    one = PodOnNode("acme", "web", "uid", **facts)
    found = drainage([one], Drain.model_validate(allowed), "bascule-steps-acme")
    assert (found.leaving, found.refused) == ([one] if leaves else [], [])


def test_an_obstacle_is_recognised_in_a_note_and_keeps_its_beginning() -> None:
    first = Obstacle("acme/web", "may not be evicted", 1_700_000_000, "the budget")
    later = Obstacle("acme/web", "may not be evicted", 1_700_000_900, "the budget, in other words")
    other = Obstacle("acme/web-2", "may not be evicted", 1_700_000_900)
    assert later.told_by(str(first))
    assert not other.told_by(str(first))
    assert later.as_told(str(first)).since == first.since
    assert later.as_told("acme/web may not be evicted since yesterday").since == later.since
    assert patch_targets.stuck([PodOnNode("acme", "web", "u", terminating_since=100)], 120) is None
