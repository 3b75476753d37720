"""What a drill plans, keeps and tells of its environment."""

from __future__ import annotations

import base64

import pytest

from bascule_api import names
from bascule_workers.errors import ManifestsRefusedError
from bascule_workers.plans import drill_plans, drill_spaces, manifests
from bascule_workers.plans.drill_plans import Before
from bascule_workers.plans.drill_spaces import SpaceSettings
from bascule_workers.plans.kstatus import Standing
from bascule_workers.ports.drills import Counted
from tests.support.drill_environments import ADrill
from tests.support.drill_manifests import Json, config_map, deployment, files, service, spoiled

DRILL = ADrill("acme", "acme-dev", "3f1c5a8e-0000-4000-8000-000000000001")


def kept(*documents: Json, revision: str = "abc") -> Json:
    request = DRILL.plan()
    return drill_plans.copy_of(request.run, request.tenant, manifests.load(files(*documents)), revision)


def test_a_plan_counts_what_is_applied_when_and_names_the_services() -> None:
    late = spoiled(deployment(), "metadata.annotations", {names.ANNOTATION_APPLY: "AfterRestore"})
    plan = drill_plans.plan_of(kept(service("b"), service("a"), late), {}, "1-a")
    assert (plan.before, plan.after, plan.services, plan.revision) == (2, 1, ["a", "b"], "abc")


def test_the_digest_covers_manifests_procedures_and_spec_and_nothing_else() -> None:
    same = {drill_plans.plan_of(kept(config_map(), revision=revision), {"p": "1"}, "1-a").digest for revision in "ab"}
    others = {
        drill_plans.plan_of(kept(config_map(a="2")), {"p": "1"}, "1-a").digest,
        drill_plans.plan_of(kept(config_map()), {"p": "2"}, "1-a").digest,
        drill_plans.plan_of(kept(config_map()), {"p": "1"}, "1-b").digest,
    }
    assert len(same) == 1
    assert len(others | same) == 4


def test_the_copy_lies_in_the_steps_namespace_and_cannot_be_changed() -> None:
    copy = kept(config_map())
    assert copy["metadata"]["namespace"] == "bascule-steps-acme"
    assert copy["immutable"] is True
    assert copy["metadata"]["labels"][names.LABEL_RUN] == f"{DRILL.uid}.1"


def test_a_stages_objects_are_labelled_as_the_runs_and_their_pods_are_not() -> None:
    (made,) = drill_plans.stage_of(kept(deployment()), "run", "space", late=False)
    assert made["metadata"]["namespace"] == "space"
    assert made["metadata"]["labels"] == {names.LABEL_DRILL: "run"}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "web"}
    assert drill_plans.stage_of(kept(deployment()), "run", "space", late=True) == []


def test_keys_of_a_config_map_are_files() -> None:
    found = drill_plans.files_of({"data": {"a.yaml": "x"}, "binaryData": {"b.yaml": base64.b64encode(b"y").decode()}})
    assert found == {"a.yaml": b"x", "b.yaml": b"y"}
    with pytest.raises(ManifestsRefusedError, match="no base64"):
        drill_plans.files_of({"binaryData": {"b.yaml": "a"}})


def test_what_has_trouble_is_told_before_what_is_only_not_there_yet() -> None:
    standings = [
        Standing("A/1", ready=True),
        *(Standing(f"B/{number}", ready=False, message="not there yet") for number in range(5)),
        Standing("C/1", ready=False, message="0 of 1; Pod c-1: crashes"),
    ]
    told = drill_plans.unready(standings)
    assert told.startswith("1 of 7 are ready; C/1: 0 of 1; Pod c-1: crashes; B/0")
    assert "B/2" not in told


def test_a_teardown_proves_what_there_was_and_is() -> None:
    before = Before.of(Before({"Namespace": 1, "Pod": 3}, ["ConfigMap/x: y"]).to_text(7))
    assert before == Before({"Namespace": 1, "Pod": 3}, ["ConfigMap/x: y"], 7)
    torn = drill_plans.torn_down(
        before, Counted({"Namespace": 0, "Pod": 0, "PersistentVolume": 1}, (), ("pv-1",)), 7, 9
    )
    assert [(item.kind, item.before, item.after) for item in torn.searched] == [
        ("Namespace", 1, 0),
        ("Pod", 3, 0),
        ("PersistentVolume", 0, 1),
    ]
    assert (torn.items, torn.started, torn.finished) == (["PersistentVolume/pv-1"], 7, 9)


def test_a_held_namespace_names_the_object_first() -> None:
    told = drill_plans.held("space", ["finalizers remaining"], ["ConfigMap/x: example.com/hold"])
    assert told == "the namespace space is held by ConfigMap/x: example.com/hold: finalizers remaining"
    assert drill_plans.held("space", [], []) == "waiting for the namespace space to be gone"


# The namespace


def made(**changes: object) -> dict[str, Json]:
    request = DRILL.provision(**changes)
    objects = drill_spaces.objects(request, SpaceSettings("bascule-system", "bascule-ca"), {"ca-bundle.crt": "pem"})
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in objects}


def test_a_tenants_labels_never_stand_in_for_the_platforms() -> None:
    labels = {names.LABEL_TENANT: "other", "pod-security.kubernetes.io/enforce": "privileged", "team": "db"}
    found = made(namespace_labels=labels)[f"Namespace/{DRILL.space}"]["metadata"]["labels"]
    assert found[names.LABEL_TENANT] == found[names.LABEL_DRILL_OF] == "acme"
    assert found["pod-security.kubernetes.io/enforce"] == "baseline"
    assert found["team"] == "db"


def test_the_worker_binds_itself_to_one_role() -> None:
    binding = made()["RoleBinding/bascule-drill"]
    assert binding["roleRef"]["name"] == "bascule-drill"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "bascule-worker", "namespace": "bascule-system"}]


def test_services_that_reach_out_are_never_within_the_quota() -> None:
    quota = made(quota={"pods": "5", "services.nodeports": "9"})["ResourceQuota/bascule-drill"]["spec"]["hard"]
    assert quota == {"pods": "5", "services.nodeports": "0", "services.loadbalancers": "0"}


def test_what_a_quota_counts_has_a_default() -> None:
    assert "default" not in made()["LimitRange/bascule-drill"]["spec"]["limits"][0]
    limited = made(quota={"limits.memory": "4Gi"})["LimitRange/bascule-drill"]["spec"]["limits"][0]
    assert list(limited["default"]) == ["memory"]


def test_without_isolation_pods_reach_out_and_still_nobody_reaches_in() -> None:
    found = {name for name in made(isolation="None") if name.startswith("NetworkPolicy")}
    assert found == {"NetworkPolicy/bascule-ingress"}
    assert {name for name in made() if name.startswith("NetworkPolicy")} == {
        "NetworkPolicy/bascule-ingress",
        "NetworkPolicy/bascule-egress",
        "NetworkPolicy/bascule-restore",
    }


def test_only_the_restores_pod_may_reach_out() -> None:
    policies = {name: item["spec"] for name, item in made().items() if item["kind"] == "NetworkPolicy"}
    open_ones = {name for name, spec in policies.items() if {} in spec.get("egress", [])}
    assert open_ones == {"NetworkPolicy/bascule-restore"}
    selector = policies["NetworkPolicy/bascule-restore"]["podSelector"]
    assert selector == {"matchLabels": {names.LABEL_EGRESS: names.EGRESS_RESTORE}}


def test_the_platforms_names_are_not_for_manifests() -> None:
    assert drill_spaces.reserved_names(SpaceSettings("s", "our-ca")) == ["our-ca"]
    assert drill_spaces.reserved_names(SpaceSettings("s")) == []
