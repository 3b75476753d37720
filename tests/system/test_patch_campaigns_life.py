"""A campaign's life with the real operator, workers and nodes: approval, cancellation, deletion, suspension, re-runs.

The patch is a pod on the node that takes its time, and changes nothing there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.cluster.addresses import NODES
from hack.cluster.handle import Cluster
from hack.installation import TenantHandle
from tests.support.builds import Body, condition, phase_of, step_objects
from tests.support.live_campaigns import (
    UNPACED,
    CampaignBuilder,
    bascule_verb,
    counts,
    held_leases,
    held_nodes,
    owning_nodes,
)
from tests.support.requests import as_user, creation, refusal, warnings

# Each test has the nodes for itself: they run in one process.
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]
Builder = Callable[[str], CampaignBuilder]
CANARY, OTHER = NODES


@pytest.fixture
def campaign(bascule: Cluster, tenant: TenantHandle) -> Iterator[Builder]:
    """Campaigns of a tenant that may patch every node. However a test ends, no node may stay held."""
    with owning_nodes(bascule, tenant) as made:
        yield made


def test_a_campaign_patches_every_node_one_wave_after_the_other_and_lets_them_go(
    campaign: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    made = campaign("all").apply()
    body = made.until_phase("Succeeded")
    assert counts(body) == {"total": len(NODES), "patched": len(NODES)}
    assert [wave["state"] for wave in body["status"]["waves"]] == ["Succeeded", "Succeeded"]
    assert condition(body, "Ready")["message"] == f"{len(NODES)} of {len(NODES)} targets patched, in 2 waves"
    assert condition(body, "Verified")["reason"] == "TargetsVerified"
    assert held_nodes(bascule) == {}
    assert step_objects(bascule, tenant, body["metadata"]["uid"], "jobs,secrets,configmaps") == []


def test_a_plan_touches_nothing_and_is_what_apply_carries_out(campaign: Builder, bascule: Cluster) -> None:
    made = campaign("planned").with_spec(mode="Plan").apply()
    body = made.until_phase("Succeeded")
    plan = body["status"]["plan"]["digest"]
    assert counts(body) == {"total": len(NODES)}
    assert f"(plan {plan}); nothing was touched" in condition(body, "Ready")["message"]
    assert held_nodes(bascule) == {}
    campaign("planned").apply()
    done = made.until(lambda found: len(found["status"].get("history", [])) == 2, "carried out")
    assert (phase_of(done), done["status"]["plan"]["digest"]) == ("Succeeded", plan)
    assert counts(done)["patched"] == len(NODES)


def test_a_wave_waits_for_an_approval_of_the_plan(campaign: Builder, bascule: Cluster, tmp_path: Path) -> None:
    made = campaign("gated").gated("fleet").apply()
    body = made.until_phase("Waiting")
    waits = body["status"]["waitingFor"]
    assert (waits["gate"], waits["kind"], waits["subject"]) == ("fleet", "Approval", body["status"]["plan"]["digest"])
    assert counts(body)["patched"] == 1
    assert held_nodes(bascule) == {}
    assert "Waiting" in bascule_verb(made, "get", "pcamp/gated")
    shown = [".venv/bin/bascule", "campaign", "show", "gated", "-n", made.made.tenant.namespace]
    late = bascule.exec([*shown, "--watch", "--timeout", "3", "--svg", str(tmp_path / "late.svg")])
    assert (late.returncode, "PatchCampaign gated: not within 3 s" in late.stderr) == (5, True), late
    assert "fleet" in (tmp_path / "late.svg").read_text()
    bascule_verb(made, "approve", "pcamp/gated", "--yes")
    assert counts(made.until_phase("Succeeded"))["patched"] == len(NODES)


def test_a_rejection_halts_and_a_rerun_goes_on_behind_what_is_patched(campaign: Builder, bascule: Cluster) -> None:
    made = campaign("refused").gated("fleet").apply()
    made.until_phase("Waiting")
    bascule_verb(made, "reject", "pcamp/refused", "--yes", "--reason", "not this week")
    body = made.until_phase("Failed")
    assert body["status"]["failure"]["type"] == "ApprovalRejected"
    assert counts(body)["patched"] == 1
    assert body["status"]["effects"]["standing"][0]["count"] == 1
    bascule_verb(made, "rerun", "pcamp/refused")
    made.until(lambda found: found["status"]["run"]["number"] == 2, "run again")
    made.until_phase("Waiting")
    bascule_verb(made, "approve", "pcamp/refused", "--yes")
    done = made.until_phase("Succeeded")
    assert counts(done) == {"total": len(NODES), "patched": len(NODES) - 1, "skipped": 1}


def test_a_target_that_fails_stops_the_campaign_and_a_rerun_leaves_out_what_is_patched(
    campaign: Builder, bascule: Cluster
) -> None:
    made = campaign("failing").paced(failAt=OTHER).beginning_at(CANARY).apply()
    body = made.until_phase("Failed")
    assert body["status"]["waves"][0]["names"] == [CANARY]
    assert body["status"]["failure"]["type"] == "TooManyFailures"
    failed = body["status"]["targets"]["failures"]
    assert [(target["name"], target["phase"]) for target in failed] == [(OTHER, "Patching")]
    assert counts(body)["patched"] == 1
    assert f"1 failed ({OTHER}: Patching)" in condition(body, "Ready")["message"]
    assert held_nodes(bascule) == {}
    made.annotate(requested_at="again")
    again = made.until(lambda found: len(found["status"]["history"]) == 2, "over again")
    assert counts(again)["skipped"] == 1, "the canary is patched already"
    assert [patched["run"] for patched in again["status"]["effects"]["standing"]] == [1], "run 2 patched nothing"
    assert f"failed ({OTHER}: Patching)" in bascule_verb(made, "explain", "pcamp/failing", check=False)
    assert len(bascule_verb(made, "history", "pcamp/failing").splitlines()) == 3


def test_a_request_after_a_success_patches_everything_again(campaign: Builder) -> None:
    made = campaign("monthly").apply()
    made.until_phase("Succeeded")
    made.annotate(requested_at="december")
    body = made.until(lambda found: len(found["status"]["history"]) == 2, "run again")
    assert counts(body) == {"total": len(NODES), "patched": len(NODES)}


def test_cancelling_takes_back_what_is_in_flight_and_keeps_what_is_done(campaign: Builder, bascule: Cluster) -> None:
    made = campaign("stopped").paced(holdAt=OTHER).beginning_at(CANARY).apply()
    made.until(lambda found: counts(found).get("patched") == 1, "done with its canary")
    made.until_at_work("Patching")
    assert list(held_nodes(bascule)) == [OTHER]
    assert f"at {OTHER}" in bascule_verb(made, "logs", "pcamp/stopped", "wave-fleet", "--target", OTHER)
    bascule_verb(made, "cancel", "pcamp/stopped", "--reason", "wrong window")
    body = made.until_phase("Cancelled")
    assert held_nodes(bascule) == {}
    assert counts(body)["patched"] == 1
    assert body["status"]["effects"]["standing"][0]["count"] == 1
    assert "wrong window" in condition(body, "Ready")["message"]


def test_deletion_in_mid_run_releases_every_node_before_the_resource_goes(
    campaign: Builder, bascule: Cluster, tenant: TenantHandle
) -> None:
    made = campaign("doomed").with_spec(waves=[{"name": "all", "maxParallel": len(NODES)}])
    made = made.paced(holdAt=",".join(NODES)).apply()
    _, body = made.until_at_work("Patching")
    made.delete()
    made.until_gone()
    assert held_nodes(bascule) == {}
    assert held_leases(bascule, tenant) == []
    assert step_objects(bascule, tenant, body["metadata"]["uid"], "jobs") == []


def test_a_finished_campaign_is_rolled_back_where_deletion_says_so(campaign: Builder, bascule: Cluster) -> None:
    slow = {"procedure": UNPACED, "parameters": {"seconds": 10}}
    made = campaign("undone").with_spec(compensation={"onDelete": "Always"}, rollback=slow).apply()
    body = made.until_phase("Succeeded")
    assert [patched["count"] for patched in body["status"]["effects"]["standing"]] == [len(NODES)]
    made.delete()
    held = set[str]()

    def rolled_back_everywhere(_: Body) -> bool:
        held.update(held_nodes(bascule))
        return held == set(NODES)

    made.until(rolled_back_everywhere, "held every node once more")
    made.until_gone()
    assert held_nodes(bascule) == {}


def test_a_node_that_a_person_had_cordoned_stays_cordoned(campaign: Builder, bascule: Cluster) -> None:
    bascule.kubectl("cordon", CANARY)
    try:
        campaign("polite").apply().until_phase("Succeeded")
        assert held_nodes(bascule) == {CANARY: {"unschedulable": True}}
    finally:
        bascule.kubectl("uncordon", CANARY)


def test_a_suspended_campaign_finishes_what_is_in_flight_and_begins_no_more(
    campaign: Builder, bascule: Cluster
) -> None:
    made = campaign("paused").paced(seconds=20).apply()
    node, _ = made.until_at_work("Patching")
    bascule_verb(made, "suspend", "pcamp/paused")
    body = made.until_phase("Suspended")
    assert counts(body)["patched"] == 1
    assert held_nodes(bascule) == {}
    bascule_verb(made, "resume", "pcamp/paused")
    done = made.until_phase("Succeeded")
    assert counts(done)["patched"] == len(NODES)
    assert len(made.runs()) == 1, node


def test_a_run_that_somebody_terminates_gives_every_node_back(campaign: Builder, bascule: Cluster) -> None:
    made = campaign("lost").paced(holdAt=",".join(NODES)).apply()
    node, body = made.until_at_work("Patching")
    assert list(held_nodes(bascule)) == [node]
    run = body["status"]["run"]
    bascule.exec(
        ["temporal", "workflow", "terminate", "--address", bascule.temporal_address, "--reason", "by hand"]
        + ["--namespace", run["temporalNamespace"], "--workflow-id", run["workflowId"]],
        check=True,
    )
    lost = made.until(lambda found: condition(found, "Ready").get("reason") == "RunLost", "undone")
    assert held_nodes(bascule) == {}
    assert condition(lost, "Compensated")["status"] == "True"


class TestAdmission:
    """What the API server refuses, and warns of."""

    def test_nobody_takes_the_finalizer_off_or_writes_the_status(self, campaign: Builder, bascule: Cluster) -> None:
        made = campaign("guarded").with_spec(mode="Plan").apply()
        made.until_phase("Succeeded")
        off = ["patch", *made.arguments, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": []}})]
        assert "only Bascule's operator removes its finalizers" in refusal(bascule, *off)
        status = ["patch", *made.arguments, "--subresource=status", "--type=merge", "-p", '{"status":{"plan":null}}']
        assert "only Bascule's operator writes the status" in refusal(bascule, *status)

    def test_letting_go_by_force_needs_its_own_right(
        self, campaign: Builder, bascule: Cluster, tenant: TenantHandle
    ) -> None:
        made, alice, space = campaign("forced").with_spec(suspend=True).apply(), as_user("alice"), tenant.namespace
        bascule.kubectl("create", "rolebinding", "edit", "-n", space, "--clusterrole=edit", "--user=alice")
        words = ["annotate", *made.arguments, "bascule.dev/force-delete=nobody can take it back"]
        assert "needs the verb force on patchcampaigns" in refusal(bascule, *alice, *words)
        bascule.kubectl("create", "rolebinding", "force", "-n", space, "--clusterrole=bascule-force", "--user=alice")
        assert refusal(bascule, *alice, *words) == ""

    def test_deletion_that_rolls_back_is_warned_of(self, campaign: Builder, bascule: Cluster) -> None:
        body = campaign("always").with_spec(compensation={"onDelete": "Always"}).body
        told = warnings(bascule, "create", "--dry-run=server", "-f", "-", document=body)
        assert "rolls back what its finished runs patched" in " ".join(told.split())

    REFUSED = (
        ({"failurePolicy": {"action": "RollbackAll"}, "rollback": None}, "failurePolicy.action needs a rollback"),
        ({"targets": {"nodes": {"selector": {}}}}, "an empty selector means every node"),
        ({"waves": [{"name": "a"}, {"name": "b"}]}, "only the last wave may leave out its size"),
        ({"waves": [{"name": "a", "size": 0}]}, "must be more than nothing"),
        ({"waves": [{"name": "a", "size": "101%"}]}, "must be a number, or a percentage from 0% to 100%"),
        ({"waves": [{"name": "a", "size": 1}, {"name": "a"}]}, "the names of waves must differ"),
        ({"windows": [{"start": "22:00", "end": "22:00"}]}, "start and end must differ"),
    )

    @pytest.mark.parametrize(("changes", "words"), [pytest.param(*case, id=case[1]) for case in REFUSED])
    def test_what_cannot_work_is_refused_with_the_remedy(
        self, campaign: Builder, bascule: Cluster, changes: dict[str, object], words: str
    ) -> None:
        assert words in creation(bascule, campaign("bad").with_spec(**changes).body)
